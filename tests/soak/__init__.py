"""A long disturbance of real processes on a seeded schedule, and what must hold of everything that happened.

`schedule` says what is done when, `stage` holds the processes and folders, `refining` and `submitting` are the users,
`deeds` are what befalls them, `probing` looks, `history` remembers, `invariants` judge, `report` tells.
"""

"""What counts as in time, as flat, and as much: every number that an invariant goes by."""

from __future__ import annotations

HEALTH_S = 10.0
"""An answer to `status`, while nobody keeps the daemon from it: well before a hook takes it for dead (15 s), on two
cores that others use as well."""
CALL_S = 90.0
"""One call of RELION: silence (15 s), the partner's time and a fallback after each other, on busy cores."""
QUEUED_S = 240.0
"""The same behind calls of other refinements: a dozen at once, each of seconds, on cores that others use as well."""
JOB_S = 240.0
"""A small job, from the last disturbance or from the end of a job before it, whichever is later: a worker that was
killed often starts again after up to a minute."""
RESTART_S = 15.0
"""From a daemon's end until its next one answers."""

MOST_MB = {"daemon": 400.0, "worker": 2500.0}
MOST_DESCRIPTORS = {"daemon": 1500, "worker": 600}
MB_PER_MINUTE = {"daemon": 2.0, "worker": 25.0}
"""Lives of a worker are short while deeds fall, and its memory goes up and down by 75 MB with what it was given last:
no less can be told from chance within ten minutes. What is kept of a round in the calm is judged by `KEPT_MB`."""
DESCRIPTORS_PER_MINUTE = {"daemon": 2.0, "worker": 2.0}
WARMING_S = {"daemon": 90.0, "worker": 240.0}
"""A process grows at first, until it has done every kind of work once; it is followed from then on."""
THIRD_S = 40.0
"""A life is followed if a third of it is so long, or longer; what deeds open is mostly closed again within it."""
FOLLOWED_S = 240.0
"""So much life of processes of a role together, before a slope is judged."""

ROUNDS = 24
"""Rounds of the calm: a refinement and a job of each flavour, from start to end, while nothing disturbs."""
WARMING_ROUNDS = 10
"""What is done for the first time is done by then, and as many networks are given up as come: a worker keeps eight at
most, and here each for half a minute."""
JUDGED_ROUNDS = 10
"""So many of a process's rounds after those, before what it keeps is judged."""
KEPT_MB = {"daemon": 0.2, "worker": 1.0}
KEPT_DESCRIPTORS = {"daemon": 0.2, "worker": 0.2}
"""What may stay in a process of one round."""

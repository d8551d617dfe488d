"""Kill daemon and workers at random instants, many times, under load, and have a checker judge what clients saw.

`supervisor` keeps the socket and starts the daemon again as systemd does, `place` holds a run's folders, `calling` and
`submitting` are the clients, `disturbing` kills, `journal` is what was seen, `checker` judges it together with the
database that is left, `run` puts them together and `report` tells. `worker` is a quick worker without torch.
"""

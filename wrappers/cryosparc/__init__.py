"""CryoSPARC: external jobs that are done by a cryobridge daemon.

A process of its own, an ordinary client of the daemon; nothing here imports torch, and `cryosparc-tools` is imported
only where a server is spoken to. Its modules are imported by name (`importlib`): an environment holds version 4 or 5 of
them, or none, so no type checker could know both.
"""

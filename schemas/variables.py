"""Environment variables that mean something to one of our programs."""

from __future__ import annotations

from .config import PREFIX, DaemonConfig
from .describe import fields_of
from .relion import ENVIRONMENT

PROGRAM_VARIABLES = {
    "CRYOBRIDGE_SOCKET": "the daemon's socket, for hook, commands and the daemon itself; no other is tried",
    "CRYOBRIDGE_CONFIG": "the daemon's configuration file, where `--config` is not given",
    "CRYOBRIDGE_SPAWN": "`0`: the hook starts no daemon where none runs, and takes the standard map",
    "CRYOBRIDGE_SILENCE_S": "seconds after which the hook takes a silent daemon for dead (15)",
}
"""Variables that are no key of any model."""


def known_variables() -> set[str]:
    """Every environment variable that means something to us."""
    daemon = {variable(field.key) for field in fields_of(DaemonConfig)}
    return {*PROGRAM_VARIABLES, *ENVIRONMENT, *daemon}


def variable(key: str) -> str:
    """The environment variable of a daemon's setting."""
    return PREFIX + key.upper().replace(".", "__")

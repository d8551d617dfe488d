"""What the hook itself must know of the user's wishes, from `cryobridge.yaml`, the environment and its options.

The file and the variables travel verbatim to the daemon, which reads all of them with a real YAML parser.
This reads four flat keys only, because a YAML library would cost more than the whole hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryobridge.schemas import wire

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_KEYS = ("strict", "keep_volumes", "deadline_s", "correction")
FILE_NAME = "cryobridge.yaml"
LARGEST_FILE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """The hook's own settings.

    Attributes
    ----------
    strict
        Exit 1 when the standard map had to be returned because something failed.
    keep_volumes
        Leave RELION's padded input volumes on disk.
    deadline_s
        Longest time for the whole call before the standard map is taken; None for no limit of our own.
    correction
        False: the standard map always, never wait for the other half.
    silence_s
        A daemon or partner that shows no life for this long is taken for dead.
    """

    strict: bool = False
    keep_volumes: bool = False
    deadline_s: float | None = None
    correction: bool = True
    silence_s: float = wire.SILENCE_LIMIT_S


def flat_values(text: str) -> dict[str, str]:
    """The hook's keys that stand at the left margin of a YAML file, as unquoted text."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, rest = line.partition(":")
        if not colon or key.strip("\"'") not in _KEYS:
            continue
        values[key.strip("\"'")] = _unquoted(rest.strip())
    return values


def _unquoted(value: str) -> str:
    """A YAML scalar without its quotes or the comment behind it."""
    if value[:1] in {'"', "'"}:
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()


def flag(text: str, default: bool) -> bool:
    """Read yes/no words; anything else leaves the default."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else default


def seconds(text: str) -> float | None:
    """Read a positive number of seconds; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def read(text: str | None, environment: Mapping[str, str]) -> Settings:
    """Merge `CRYOBRIDGE_*` variables with the file's text; the file wins, as in the daemon."""
    values = {key: environment.get(f"CRYOBRIDGE_{key.upper()}", "") for key in _KEYS} | flat_values(text or "")
    return Settings(
        strict=flag(values.get("strict", ""), default=False),
        keep_volumes=flag(values.get("keep_volumes", ""), default=False),
        deadline_s=seconds(values.get("deadline_s", "")),
        correction=flag(values.get("correction", ""), default=True),
        silence_s=max(1.0, seconds(environment.get("CRYOBRIDGE_SILENCE_S", "")) or wire.SILENCE_LIMIT_S),
    )

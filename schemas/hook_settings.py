"""The four settings that RELION's hook itself obeys: their names, defaults, and a reader that costs no time.

They stand in the job folder's `cryobridge.yaml` or in `CRYOBRIDGE_*` variables; the file wins. The hook starts once
per half and iteration, and a YAML library would cost more than all of it, so this reads `key: value` lines at the left
margin, and `is_plain` says whether such lines are all that there is. A file that is not plain is read by a process of
its own (`wrappers/relion/settings.py`), in the words of `schemas.relion`, whose are all other keys. The hook sends what
it read with the call, so that hook and daemon never differ.

Standard library only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from .values import FixedValues

FILE_NAME = "cryobridge.yaml"
MAX_FILE_BYTES = 64 * 1024
TOO_LARGE = f"{FILE_NAME}: larger than {MAX_FILE_BYTES} bytes; it should be a few lines"
KEYS = ("strict", "keep_volumes", "deadline_s", "correction")
VARIABLES = {key: f"CRYOBRIDGE_{key.upper()}" for key in KEYS}

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_LONGEST_S = 1e9
_COMMENT = r"( +#.*| *)"
_WORD = r"[A-Za-z0-9.+_-]+"
_VALUE = rf"{_WORD}|'[A-Za-z0-9 .+_-]*'|\"[A-Za-z0-9 .+_-]*\"|[\[{{][A-Za-z0-9 .,:+_-]*[\]}}]"
_KEY = r"(?P<quote>['\"]?)(?P<key>[A-Za-z][A-Za-z0-9_]*)(?P=quote)"
_EMPTY_LINE = r" *(#.*)?"
_SETTING = rf"(?P<margin> *){_KEY}:( +(?P<value>{_VALUE}))?{_COMMENT}"
_TIME = r"[1-9][0-9]{0,8}(\.[0-9]{1,9})?"


class HookSettings(FixedValues):
    """What the user wants of a call as a whole.

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
    """

    strict: bool = False
    keep_volumes: bool = False
    deadline_s: float | None = None
    correction: bool = True


DEFAULTS = HookSettings()


def read(text: str | None, environment: Mapping[str, str]) -> HookSettings:
    """Merge the variables with the lines of the settings file; the file wins.

    What is not understood is the default, except that volumes are kept then: deleting cannot be undone.

    Parameters
    ----------
    text
        Of the settings file; None where there is none that can be used.
    environment
        Of the caller of the hook.
    """
    words = {key: environment.get(variable, "") for key, variable in VARIABLES.items()} | in_file(text or "")
    strict, keep_volumes, correction = (flag(words[key]) for key in ("strict", "keep_volumes", "correction"))
    return HookSettings(
        strict=DEFAULTS.strict if strict is None else strict,
        keep_volumes=_says_something(words["keep_volumes"]) if keep_volumes is None else keep_volumes,
        deadline_s=seconds(words["deadline_s"]),
        correction=DEFAULTS.correction if correction is None else correction,
    )


def is_plain(text: str) -> bool:
    """Whether `read` certainly reads a file as YAML does: known forms of lines only, and the hook's keys in them once.

    Anything else may be as good YAML; it takes a YAML parser to tell. A file that no parser reads may be plain too:
    then the worker refuses it.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if said_twice(text) or not all(character.isprintable() or character == "\n" for character in text):
        return False
    below: str | None = None
    """The key whose table the indented lines are."""
    for line in text.split("\n"):
        if re.fullmatch(_EMPTY_LINE, line):
            continue
        setting = re.fullmatch(_SETTING, line)
        if setting is None or (setting["margin"] and below is None):
            return False
        if setting["margin"]:
            continue
        key, value = setting["key"], setting["value"] or ""
        if key in KEYS and not _is_plain_value(key, value):
            return False
        below = key if not value and key not in KEYS else None
    return True


def in_file(text: str) -> dict[str, str]:
    """The keys that stand at the left margin of a line, each with the text behind it, without quotes or comment."""
    return {key: _unquoted(rest.strip()) for key, rest in _lines(text)}


def said_twice(text: str) -> set[str]:
    """The keys that stand on more than one line, of which nobody can say which one is meant."""
    return {key for key, times in Counter(key for key, _ in _lines(text)).items() if times > 1}


def flag(text: str) -> bool | None:
    """Read true/yes/on/1 and false/no/off/0; None for anything else."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def seconds(text: str) -> float | None:
    """Read a positive number of seconds; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < _LONGEST_S else None


def _is_plain_value(key: str, value: str) -> bool:
    if key == "deadline_s":
        return value in {"", "null"} or re.fullmatch(_TIME, value) is not None
    return flag(_unquoted(value)) is not None


def _says_something(word: str) -> bool:
    return word.strip() not in {"", "None"}


def _lines(text: str) -> list[tuple[str, str]]:
    found = []
    for one in text.removeprefix("\ufeff").splitlines():
        key, colon, rest = one.partition(":")
        if colon and key.strip("\"'") in KEYS:
            found.append((key.strip("\"'"), rest))
    return found


def _unquoted(value: str) -> str:
    """A YAML scalar without its quotes or the comment behind it."""
    if value[:1] in {'"', "'"}:
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()

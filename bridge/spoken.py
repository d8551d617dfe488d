"""What the keys of a job are called at the door that it came through: flags, where it was a command.

Messages are written in the words of job files, since that is what every job is. Here they are said again for somebody
who has typed a command and has never seen a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from cryobridge.schemas.bounds import MAX_JOB_FILE_BYTES
from cryobridge.schemas.plain_file import read_plain

NAMES_NAME = "names.json"
"""Beside a job file that a command has made: its keys (`options.limit_resolution_A`) and what was typed for them."""


def as_typed(text: str, names: Mapping[str, str]) -> str:
    """A message with keys, with flags instead.

    Keys that are English words, such as `mask`, are replaced only where they can be nothing else: in quotes or
    brackets, behind their section, before their value.

    Parameters
    ----------
    text
        The message.
    names
        Section and key, joined by a dot, and what to call them.
    """
    if names:
        text = re.sub(r"^'?(job|options|inputs|run)'?: ", "", text)
    for place, name in names.items():
        key = re.escape(place.partition(".")[2] or place)
        section = re.escape(place.partition(".")[0])
        whole = re.escape(place)
        text = re.sub(rf"set '{key}: true' under '{section}'", f"give {name}", text)
        text = re.sub(rf"'{key}' in '{section}'", name, text)
        text = re.sub(rf"'{key}: ([^']*)'", rf"{name} \1", text)
        # Not within a path or a longer word.
        text = re.sub(rf"(?<![\w./-])('?){whole}\1(?![\w/-]|\.\w)", name, text)
        text = re.sub(rf"'{key}'|(?<=\(){key}(?=\))", name, text)
        if "_" in key:
            text = re.sub(rf"(?<![\w./-]){key}(?![\w/-]|\.\w)", name, text)
        else:
            text = re.sub(rf"(?<![\w./-]){key}(?= \d)", name, text)
    return text


def names_beside(job_file: Path) -> dict[str, str]:
    """What a command calls the keys of the job file that it made; nothing where a user has written it."""
    try:
        names = json.loads(read_plain(job_file.with_name(NAMES_NAME), MAX_JOB_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return names if isinstance(names, dict) else {}

"""An operator's sbatch script with `{{ placeholders }}`, and its filling.

Every value becomes one word, quoted as the shell and sbatch read it, so that nothing in it is evaluated. Only the
operator's own lines (`environment`) stay as they are.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

DEFAULT_NAME = "default.sbatch"
MAX_TEMPLATE_BYTES = 256 * 1024
WORDS = ("name", "log", "partition", "account", "time_min", "gpus", "cpus", "memory_MB", "threads", "job_id", "kind",
         "python", "job_file", "folder")  # fmt: skip
"""Placeholders that stand for one word each."""
LISTS = ("extra", "command")
"""Placeholders that stand for several words."""
LINES = ("environment",)
KNOWN = (*WORDS, *LISTS, *LINES)

_PLACE = re.compile(r"\{\{(.*?)\}\}")
_DIRECTIVE = re.compile(r"\s*#SBATCH\b")


def read_template(path: Path | None) -> str:
    """The text of a template; of the one that comes with the program where no other is named.

    Raises
    ------
    InputInvalid
        If it cannot be read, has a placeholder that there is not, or never starts the job.
    """
    path = path or Path(__file__).with_name(DEFAULT_NAME)
    text = read_bounded(path, MAX_TEMPLATE_BYTES, is_a="a template is a script of some lines")
    check(text, str(path))
    return text


def check(text: str, name: str) -> None:
    """Look at every placeholder of a template.

    Parameters
    ----------
    text
        The template.
    name
        What it is called in a message.

    Raises
    ------
    InputInvalid
        If there is no such placeholder (names the nearest), or none that starts the job.
    """
    if not text.startswith("#!"):
        raise InputInvalid(f"{name}: sbatch wants a script; begin it with #!/bin/bash")
    used: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        for found in () if _is_comment(line) else _PLACE.finditer(line):
            word = found[1].strip()
            if word not in KNOWN:
                near = difflib.get_close_matches(word, KNOWN, n=1, cutoff=0.5)
                there = f"did you mean {{{{ {near[0]} }}}}?" if near else f"there are {', '.join(KNOWN)}"
                raise InputInvalid(f"{name}: line {number}: there is no placeholder {{{{ {word[:60]} }}}}; {there}")
            used.add(word)
    if "command" not in used and not {"python", "job_file"} <= used:
        raise InputInvalid(f"{name}: never starts the job; add a line: exec {{{{ command }}}}")


def fill(text: str, words: Mapping[str, str | None], lists: Mapping[str, Sequence[str]], environment: str) -> str:
    """The script of one job.

    Parameters
    ----------
    text
        A template that was checked.
    words
        A value for each of `WORDS`; None where nobody asked for one.
    lists
        Words for each of `LISTS`.
    environment
        Lines of the shell, as they are.
    """
    shown: dict[str, str | None] = {key: None if value is None else shlex.quote(value) for key, value in words.items()}
    shown |= {key: " ".join(map(shlex.quote, value)) or None for key, value in lists.items()}
    shown["environment"] = environment
    lines = []
    for line in text.rstrip("\n").split("\n"):
        if _is_comment(line):
            lines.append(line)
            continue
        places = [found[1].strip() for found in _PLACE.finditer(line)]
        if _DIRECTIVE.match(line) and any(shown[place] is None for place in places):
            continue
        lines.append(_PLACE.sub(lambda found: _shown(shown[found[1].strip()]), line))
    return "\n".join(lines) + "\n"


def _shown(value: str | None) -> str:
    return "''" if value is None else value


def _is_comment(line: str) -> bool:
    """Whether a line only speaks to people: its placeholders are names, and nothing is put in their place."""
    return line.lstrip().startswith("#") and not _DIRECTIVE.match(line)

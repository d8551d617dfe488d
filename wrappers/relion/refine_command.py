"""A command line with relion_refine in it, as far as somebody who starts it must know: will it call us, and from where.

Reads words, starts nothing. What runs inside a script cannot be seen, and is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PROGRAM = "relion_refine"
EXTERNAL, BLUSH = "--external_reconstruct", "--blush"
_HOST_LISTS = ("--host", "-host", "-H", "-hosts", "--hosts")
_HOST_FILES = ("--hostfile", "-hostfile", "--machinefile", "-machinefile", "--default-hostfile")
_HERE = ("localhost", "127.0.0.1")
_CONTINUED = re.compile(r"_it(\d{3,})_optimiser\.star$")
_NODE_COUNTS = ("SLURM_JOB_NUM_NODES", "SLURM_NNODES")


@dataclass(frozen=True)
class RefineCommand:
    """What the words of a command say.

    Attributes
    ----------
    refines
        Whether relion_refine is among them.
    external, blush
        Whether it is given `--external_reconstruct`, and `--blush`, which wins over it.
    root
        `--o`: the folder and first part of the names of its files; None where it is not told.
    first_iteration
        The first that it does, by `--continue`.
    """

    refines: bool
    external: bool
    blush: bool
    root: Path | None
    first_iteration: int


def read_command(words: Sequence[str]) -> RefineCommand:
    """Read the words of a command."""
    at = next((number for number, word in enumerate(words) if Path(word).name.startswith(PROGRAM)), None)
    if at is None:
        return RefineCommand(False, False, False, None, 1)
    own = words[at + 1 :]
    root, continued = _after(own, "--o"), _CONTINUED.search(_after(own, "--continue") or "")
    return RefineCommand(
        refines=True,
        external=EXTERNAL in own,
        blush=BLUSH in own,
        root=Path(root) if root else None,
        first_iteration=int(continued[1]) + 1 if continued else 1,
    )


def complaint(command: RefineCommand) -> str | None:
    """Why this refinement would never call us, and what to do; None where nothing stands against it."""
    if not command.refines:
        return None
    if not command.external:
        return f"{PROGRAM} is not given {EXTERNAL}, and would never call; add it to its arguments"
    if command.blush:
        return f"{PROGRAM} is given {BLUSH}, which silently wins over {EXTERNAL}; give one of the two"
    return None


def several_hosts(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """What says that ranks run on several machines; None where nothing does."""
    for name in _NODE_COUNTS:
        if environment.get(name, "").isdigit() and int(environment[name]) > 1:
            return f"{name}={environment[name]}"
    nodes = environment.get("SLURM_JOB_NODELIST", "")
    if "," in nodes or re.search(r"\[\d+-", nodes):
        return f"SLURM_JOB_NODELIST={nodes}"
    for option, value in _options(words):
        if option in _HOST_FILES:
            return f"{option} {value}"
        hosts = {host.partition(":")[0] for host in value.split(",")} - {"", *_HERE}
        if option in _HOST_LISTS and hosts and (len(hosts) > 1 or "," in value):
            return f"{option} {value}"
    return None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option before relion_refine, with the word behind it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if Path(word).name.startswith(PROGRAM):
            return
        option, equals, value = word.partition("=")
        if option.startswith("-"):
            yield option, value if equals else following


def _after(words: Sequence[str], option: str) -> str | None:
    return next((following for word, following in pairwise(words) if word == option), None)

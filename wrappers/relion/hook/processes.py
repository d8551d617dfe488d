"""Who is still there: the RELION that waits for this hook, and the hook that a temporary file belongs to.

RELION runs the hook through `sh -c`. When the run is killed outright, the hook and perhaps the shell stay behind, as
orphans at work for nobody, while a new run may already call for the same half. Read from `/proc`; where that
does not say, nobody is taken for dead.
"""

from __future__ import annotations

import _thread
import functools
import itertools
import os
import re
import signal
import time
import zlib
from collections.abc import Callable

from cryobridge.schemas.values import FixedValues

from .runlog import say

_POLL_S = 1.0
_MOST_ANCESTORS = 10
_RELION = "relion_"
_REFINEMENT = "relion_refine"
# They wait for what they have started, so RELION's end shows above them.
_WAITING = frozenset({"sh", "dash", "bash", "ash", "ksh", "zsh", "csh", "tcsh", "fish", "busybox", "timeout", "time"})
# They start the ranks, and no rank is of use without the others.
_LAUNCHERS = frozenset(
    {
        *("mpirun", "mpiexec", "mpiexec.hydra", "orterun", "orted", "prte", "prted", "prterun"),
        *("hydra_pmi_proxy", "pmi_proxy", "slurmstepd"),
    }
)
_OWNER = r"\.cryobridge-(?P<place>[0-9a-f]{8})-(?P<pid>[0-9]+)-(?P<start>[0-9]+)-[0-9a-f]{12}"
# On another host nobody can be asked. No call takes a day.
_OLD_S = 86400.0


class _Process(FixedValues):
    name: str
    parent: int
    start: int
    """In clock ticks since the host's start; with the number it names a process for good."""


class Lineage:
    """The processes that lead from this hook up to RELION, and to what started its ranks, as they are now."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._links = _links(self._parent)

    def broken(self) -> bool:
        """Whether one of them has ended, so that nobody waits for this hook's answer."""
        if os.getppid() != self._parent:
            return True
        for pid, parent in self._links:
            process = _process(pid)
            if process is not None and process.parent != parent:
                return True
        return False

    def insist(self) -> None:
        """End this process, as by SIGTERM, if one of them has ended: a new run may own the files by now.

        Raises
        ------
        SystemExit
            Temporary files are removed on the way out.
        """
        if self.broken():
            say("RELION has ended while this call was at work; it stops and leaves all files as they are")
            raise SystemExit(128 + signal.SIGTERM)

    def watch(self) -> None:
        """From now on look every second, and end this process as by SIGTERM once one of them has ended."""

        def look() -> None:
            while not self.broken():
                time.sleep(_POLL_S)
            say("RELION has ended; this call stops")
            os.kill(os.getpid(), signal.SIGTERM)

        # The bare thread: importing `threading` would cost more than all that it does here.
        _thread.start_new_thread(look, ())


def refinement_program() -> int | None:
    """A pidfd of the `relion_refine` that this hook works for; None where there is none, or no pidfd (Linux 5.3).

    The daemon learns by it when the refinement has ended, also where it may not see processes of other users.
    """
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        process = _process(pid)
        if process is None:
            return None
        if process.name.startswith(_REFINEMENT):
            return _pidfd(pid, process)
        pid = process.parent
    return None


def _pidfd(pid: int, process: _Process) -> int | None:
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError):  # an older kernel, a container that forbids it, a Python built without it
        return None
    if _process(pid) != process:
        # It ended in between, and the number may be another's by now.
        os.close(fd)
        return None
    return fd


@functools.cache
def owner() -> str:
    """What the names of this process' temporary files carry: host, process and its start."""
    pid = os.getpid()
    process = _process(pid)
    return f"{_place()}-{pid}-{process.start if process is not None else 0}"


def is_abandoned(path: str) -> bool:
    """Whether the process that made a temporary file, named after its `owner`, is certainly gone.

    A file whose name carries no owner is of an older version, whose hooks are taken for gone.
    """
    match = re.search(_OWNER, os.path.basename(path))
    if match is None:
        return True
    if match["place"] != _place():
        try:
            return time.time() - os.stat(path).st_mtime > _OLD_S
        except OSError:
            return False
    if _process(os.getpid()) is None:
        return False
    process = _process(int(match["pid"]))
    return process is None or process.start != int(match["start"])


def _links(parent: int) -> list[tuple[int, int]]:
    """Pairs (process, its parent) from the hook's parent up to the launcher, as far as they matter."""
    pids, names = [parent], []
    while len(pids) <= _MOST_ANCESTORS and (process := _process(pids[-1])) is not None:
        names.append(process.name)
        pids.append(process.parent)
    top = _first(names, 0, lambda name: name.startswith(_RELION))
    if top is None:
        top = _first(names, 0, lambda name: name not in _WAITING) or 0
    above = _first(names, top + 1, lambda name: name not in _WAITING)
    if above is not None and names[above] in _LAUNCHERS:
        top = above
    return list(itertools.pairwise(pids[: top + 1]))


def _first(names: list[str], begin: int, wanted: Callable[[str], bool]) -> int | None:
    return next((number for number in range(begin, len(names)) if wanted(names[number])), None)


def _process(pid: int) -> _Process | None:
    """What `/proc` says of a process; None when it is gone, or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read(4096).decode("utf-8", "replace")
        # The name stands in brackets and may itself hold brackets and blanks.
        name = line.partition("(")[2].rpartition(")")[0]
        words = line.rpartition(")")[2].split()
        return None if words[0] in {"Z", "X"} else _Process(name, int(words[1]), int(words[19]))
    except (OSError, ValueError, IndexError):
        return None


@functools.cache
def _place() -> str:
    """The host since its last start, and which process numbers hold here (a container has its own), in 8 characters."""
    parts = [os.uname().nodename]
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            parts.append(file.read(64).strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    except (OSError, ValueError):
        pass
    return f"{zlib.crc32(' '.join(parts).encode()):08x}"

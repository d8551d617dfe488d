"""Too little of something: room on a disk, descriptors, memory, size of files."""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.requests import SubmitJob

from ..stage import Stage
from .deed import Deed, NotHereError
from .kills import degraded, problems

SPARE_BYTES = 8192
FULL_S = 14.0
"""The daemon looks at its database every 10 s."""


def full_project(stage: Stage, dice: random.Random) -> str:
    """A refinement's disk fills up at its call; the padded volumes, of no more use, make room for the map."""
    refining = stage.services["refining"]
    name = f"full{dice.randrange(2**32)}"
    with _room(stage) as room:
        refinement = refining.new(name, room)
        try:
            for half in (1, 2):
                refinement.write_call(3, half)
            with stage.history.span("room", after_s=15.0), _filled(room, dice.choice((SPARE_BYTES, 200_000))):
                ends = refining.iterate_written(refinement, name, 3)
        finally:
            shutil.rmtree(refinement.project, ignore_errors=True)
    return ", ".join(end.made for end in ends)


def full_state(stage: Stage, dice: random.Random) -> str:
    """The disk of the daemon's database fills up: it says so, takes no more jobs, and is well again afterwards.

    The database's own files may have room in themselves for a while; then jobs are taken, and all is well.
    """
    daemon = stage.daemon_pid()
    with _room(stage) as room, stage.history.span("room", after_s=15.0), _filled(room, 0):
        told = stage.until(lambda: degraded(stage), FULL_S + 6.0)
        refused = "" if told else _why_not_stored(stage)
        if refused:  # what room there was in the database's own files may have been used up only now
            told = stage.until(lambda: degraded(stage), FULL_S)
    if stage.daemon_pid() != daemon or daemon is None:
        return "another daemon came"
    text = f"the database's disk was full, health said nothing, and a job was refused: {refused}"
    stage.history.check("health is true", told or not refused, text)
    if told:
        well = stage.until(lambda: not degraded(stage), FULL_S + 30.0)
        if stage.daemon_pid() == daemon and not well and (why := problems(stage)):
            about_disk = [text for text in why if "full" in text or "written" in text]
            text = f"there is room again, and the daemon still says: {'; '.join(about_disk)}"
            stage.history.check("health is true", not about_disk, text)
    return "told" if told else "it could be written"


def _why_not_stored(stage: Stage) -> str:
    """Why the daemon cannot store a job now; empty where it can, or something else is in the way."""
    submitting = stage.services["submitting"]
    output = submitting.output()
    try:
        with stage.client() as client:
            reply = client.request(SubmitJob(spec=submitting.spec("lowpass", output)))
    except (CryobridgeError, OSError) as error:
        return str(error) if "disk is full" in str(error) else ""
    submitting.acknowledged(str(reply["job_id"]), "lowpass", output)
    return ""


def full_output(stage: Stage, dice: random.Random) -> str:
    """A job's output disk is full: the job fails with a sentence."""
    submitting = stage.services["submitting"]
    with _room(stage) as room:
        output = room / f"job{dice.randrange(2**32)}"
        with stage.history.span("room", after_s=15.0), _filled(room, 50_000):
            job_id = submitting.submit("lowpass", output, may_fail=True)
            stage.until(lambda: job_id not in submitting.open_ids(), 10.0)
        shutil.rmtree(output, ignore_errors=True)
    return f"{job_id}"


def few_descriptors(stage: Stage, dice: random.Random) -> str:
    """The daemon has a handful of free descriptors for a while; calls are still answered."""
    pid = stage.daemon_pid()
    if pid is None:
        return "no daemon"
    with contextlib.suppress(psutil.Error, OSError), stage.history.span("daemon"), stage.history.span("room"):
        used = psutil.Process(pid).num_fds()
        _under(pid, resource.RLIMIT_NOFILE, used + dice.choice((0, 3, 10)), dice.uniform(2, 6))
    return f"daemon {pid}"


def little_memory(stage: Stage, dice: random.Random) -> str:
    """The worker may take hardly more memory for a while."""
    workers = stage.workers()
    if not workers:
        return "no worker"
    pid, more = workers[0].pid, dice.choice((1 << 20, 32 << 20))
    with contextlib.suppress(psutil.Error, OSError), stage.history.span("room", after_s=5.0):
        _under(pid, resource.RLIMIT_AS, psutil.Process(pid).memory_info().vms + more, dice.uniform(2, 6))
    return f"worker {pid}, {more >> 20} MiB more"


def small_files(stage: Stage, dice: random.Random) -> str:
    """The worker may write small files only, as under a quota."""
    workers = stage.workers()
    if not workers:
        return "no worker"
    with contextlib.suppress(psutil.Error, OSError), stage.history.span("room", after_s=5.0):
        _under(workers[0].pid, resource.RLIMIT_FSIZE, dice.choice((0, 4096, 40_000)), dice.uniform(2, 6))
    return f"worker {workers[0].pid}"


def poor_hooks(stage: Stage, dice: random.Random) -> str:
    """Hooks that have few descriptors, or little memory, for themselves and all that they start."""
    refining = stage.services["refining"]
    limit = dice.choice(("ulimit -n 64", "ulimit -n 24", "ulimit -v 3000000"))
    name = f"poor{dice.randrange(2**32)}"
    refinement = refining.new(name)
    ends = refining.iterate(refinement, name, 3, limit=limit, more={"CRYOBRIDGE_SPAWN": "0"})
    shutil.rmtree(refinement.project)
    return f"{limit}: {', '.join(end.made for end in ends)}"


@contextlib.contextmanager
def _room(stage: Stage) -> Iterator[Path]:
    """The small disk, for one deed at a time: what one prepares there must not meet another's filling."""
    if stage.room is None:
        raise NotHereError(stage.why_no_room)
    with stage.filling:
        yield stage.room


@contextlib.contextmanager
def _filled(room: Path, spare: int) -> Iterator[None]:
    """Fill a disk but for `spare` bytes."""
    ballast = room / f"ballast{time.monotonic_ns()}"
    try:
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while (free := shutil.disk_usage(room).free - spare) > 0:
                file.write(b"\0" * min(free, 1 << 20))
                file.flush()
        yield
    finally:
        ballast.unlink(missing_ok=True)


def _under(pid: int, what: int, soft: int, seconds: float) -> None:
    """Lower a limit of another process for a while, and give back what it had."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (min(soft, before[1]) if before[1] >= 0 else soft, before[1]))
    try:
        time.sleep(seconds)
    finally:
        with contextlib.suppress(OSError):
            resource.prlimit(pid, what, before)


DEEDS = (
    Deed("a full disk under a refinement", full_project),
    Deed("a full disk under the database", full_state),
    Deed("a full disk under a job", full_output),
    Deed("few descriptors for the daemon", few_descriptors),
    Deed("little memory for a worker", little_memory, deadly=True),
    Deed("small files only for a worker", small_files, deadly=True),
    Deed("poor hooks", poor_hooks, 2),
)

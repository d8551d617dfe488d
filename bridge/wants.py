"""How much of a device's memory a job will want, found out beside the loop: its maps may lie on a disk that is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.paths import Must
from cryobridge.wrappers.formats import mrc

from .file_thread import FileThread

PATIENCE_S = 5.0
"""After this a job is asked for without saying how much it wants."""


def largest_box(job: Job) -> int | None:
    """The largest box among the maps of a job, by their headers; what is no map is passed over here."""
    boxes = []
    for found in job.paths():
        if found.must is Must.BE_FILE:
            try:
                boxes.append(max(mrc.read_header(found.path).shape))
            except InputInvalid:
                continue
    return max(boxes, default=None)


def device_bytes(spec: object) -> int | None:
    """Bytes that a job wants on a GPU at its peak, by the measured table of its kind; None where that is not known."""
    try:
        job = parse_job(spec, "job")
        box = job.own_box("cuda") or largest_box(job)
        return None if box is None else job.memory(box, "cuda").device_bytes
    except (CryobridgeError, ValueError, OSError):
        return None  # the job itself will say best what is wrong with it


class Wants:
    """Finds out for one job after the other what it wants of a GPU."""

    def __init__(self) -> None:
        self._files = FileThread("headers of maps")
        self._asked: set[asyncio.Task[None]] = set()

    def find_out(self, loop: asyncio.AbstractEventLoop, spec: object, then: Callable[[int | None], None]) -> None:
        """Have `then` called on the loop with `device_bytes`, or with None if that takes too long."""

        async def answer() -> None:
            try:
                found = await asyncio.wait_for(self._files.do(lambda: device_bytes(spec)), PATIENCE_S)
            except TimeoutError:
                found = None
            then(found)

        task = loop.create_task(answer())
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

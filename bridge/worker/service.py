"""What the worker does for each kind of frame; keeps halves until their iteration is answered."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch

from cryobridge.core.training import DeviceMover, Mover, Parking
from cryobridge.schemas.errors import BadResult, InputInvalid
from cryobridge.schemas.messages import WrittenFile
from cryobridge.schemas.worker_messages import (
    CorrectedMade,
    CorrectTask,
    DeviceLeft,
    ForgetTask,
    HalfTask,
    JobDone,
    JobTask,
    LeaveDevice,
    PrepareSession,
    ReleaseSession,
    SessionPrepared,
    SessionReleased,
    TaskForgotten,
    UrgentJobTask,
)
from cryobridge.wrappers.formats import mrc

from .calls.correct import correct_within_memory
from .calls.standard import KeptHalf, standard_half
from .calls.warm import WarmStates, write_state
from .jobs.runner import run_job
from .loop import Progress, Steps
from .memory import give_back

log = logging.getLogger(__name__)


class Service:
    """The tasks of one worker on one device.

    Parameters
    ----------
    device
        To compute on.
    mover
        How tensors go to the host and back; the device's own if None.
    keeps
        Whether the device is ours alone: between two calls nothing leaves it then, and no memory is given back.

    Attributes
    ----------
    parking
        What a running correction or job holds on the device.
    """

    def __init__(self, device: torch.device, mover: Mover | None = None, *, keeps: bool = False) -> None:
        self.device = device
        self._keeps = keeps
        self._halves: dict[str, KeptHalf] = {}
        self._warm = WarmStates(device, rests_on=self._resting_place)
        self.parking = Parking(mover or DeviceMover(device))

    def handlers(self) -> dict[str, Callable[[Any, list[int]], Steps]]:
        """The table that `WorkerLoop` serves from."""
        return {
            HalfTask.type: self.half,
            CorrectTask.type: self.correct,
            ForgetTask.type: self.forget,
            PrepareSession.type: self.prepare,
            ReleaseSession.type: self.release,
            JobTask.type: self.job,
            UrgentJobTask.type: self.job,
            LeaveDevice.type: self.leave,
        }

    def half(self, frame: HalfTask, fds: list[int]) -> Steps:
        """Answer one call with its standard map; keep the half when a correction is due."""
        kept, reply = yield from standard_half(frame, fds, self.device)
        self._warm.begin(kept)
        if reply.due:
            # The frame's descriptors are closed when this handler ends; the joint step needs its own.
            kept.descriptors = {name: os.dup(fd) for name, fd in kept.descriptors.items()}
            self._halves[kept.task] = kept
        self._give_back()
        return reply

    def correct(self, frame: CorrectTask, _fds: list[int]) -> Steps:
        """Correct an iteration whose two halves are here; both maps are written before anything is said."""
        first, second = self._halves.get(frame.half1), self._halves.get(frame.half2)
        if first is None or second is None:
            raise InputInvalid("a half of this iteration is not here any more")
        options = first.options.network_options(self.device.type)
        # A network that is never trained is the same file in every iteration: nothing is kept of it.
        learns = options.total_steps(warm=False) > 0
        found = (yield from self._warm.find(first, options)) if learns else None
        warm, source = (None, "none") if found is None else (found.state, found.source)
        if found is not None:
            log.info("iteration %d: %s", first.iteration, found.words)
            yield Progress(found.words)
        try:
            result = yield from correct_within_memory(first, second, options, warm, self.device, self.parking)
        except BadResult:
            self._warm.drop(first.warm_key)
            raise
        finally:
            if warm is not None:
                # Whatever happened, a state that is kept waits where RELION does not want the room.
                warm.to(self._resting_place)
            self._give_back()
        maps: dict[str, WrittenFile] = {}
        for half, volume in ((first, result.map1), (second, result.map2)):
            written = mrc.write(half.descriptors["corrected"], volume.numpy(), half.voxel_size_A)
            maps[str(half.half)] = WrittenFile(size=written.size, crc32=written.crc32)
        session: WrittenFile | None = None
        if found is not None and "session_out" in first.descriptors:
            yield Progress("keeping the network for the next iteration")
            size, crc32 = write_state(first.descriptors["session_out"], first, found.origin, result.state)
            session = WrittenFile(size=size, crc32=crc32)
        if found is not None:
            self._warm.keep(first, found.origin, result.state)
        self._give_back()
        metrics = {**result.metrics, "warm_from": source}
        return CorrectedMade(task=frame.task, maps=maps, line=result.line, session=session, metrics=metrics)

    def forget(self, frame: ForgetTask, _fds: list[int]) -> Steps:
        """Drop what is kept of one call."""
        half = self._halves.pop(frame.task, None)
        if half is not None:
            for fd in half.descriptors.values():
                os.close(fd)
        yield None
        return TaskForgotten(task=frame.task)

    def prepare(self, frame: PrepareSession, _fds: list[int]) -> Steps:
        """Get ready for a refinement that was noticed before its first call.

        The slow part, importing torch, is over by the time a worker reads its first frame; on a GPU the context
        and the transform plans for the announced box are made here too.
        """
        box = frame.box or 0
        yield None
        if self.device.type == "cuda" and 0 < box <= 1024:
            volume = torch.zeros((box, box, box), device=self.device)
            torch.fft.rfftn(volume)
            del volume
            self._give_back()
        return SessionPrepared(session=frame.session)

    def release(self, frame: ReleaseSession, _fds: list[int]) -> Steps:
        """Forget a refinement that is over."""
        self._warm.release(frame.session)
        self._give_back()
        yield None
        return SessionReleased(session=frame.session)

    def job(self, frame: JobTask, _fds: list[int]) -> Steps:
        """Run a job of the job schema."""
        try:
            result = yield from run_job(frame.spec, self.device, parking=self.parking)
        finally:
            self._give_back()
        return JobDone(task=frame.task, result=result)

    def leave(self, _frame: LeaveDevice, _fds: list[int]) -> Steps:
        """Keep nothing on the device; what a job had there is on the host by now."""
        give_back(self.device)
        yield None
        return DeviceLeft()

    @property
    def _resting_place(self) -> torch.device:
        return self.device if self._keeps else torch.device("cpu")

    def _give_back(self) -> None:
        """Let RELION have the device's memory, where it wants it."""
        if not self._keeps:
            give_back(self.device)

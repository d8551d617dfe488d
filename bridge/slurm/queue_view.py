"""What SLURM says of this user's jobs: asked once for all that are followed, and not more often than is polite."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .commands import SlurmCommands, SlurmUnavailable
from .states import SlurmJob

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueAnswer:
    """What SLURM said to a question that was asked at a time; `problem` says why it said nothing."""

    asked_at: float
    jobs: Mapping[int, SlurmJob] = field(default_factory=dict)
    problem: str | None = None

    def named(self, name: str) -> SlurmJob | None:
        """The newest job of a name."""
        found = [job for job in self.jobs.values() if job.name == name]
        return max(found, key=lambda job: job.number, default=None)


class QueueView:
    """The last answer, asked for anew when it is old.

    Parameters
    ----------
    every_s
        How old an answer may be, in seconds.
    clock
        Monotonic seconds.
    """

    def __init__(self, commands: SlurmCommands, every_s: float, clock: Callable[[], float]) -> None:
        self._commands = commands
        self._every_s = every_s
        self._clock = clock
        self._asking = asyncio.Lock()
        self._last: QueueAnswer | None = None

    async def look(self, *, not_before: float = float("-inf")) -> QueueAnswer:
        """The last answer, or a new one where it is older than `every_s`, or was asked for before a moment."""
        async with self._asking:
            last, now = self._last, self._clock()
            if last is not None and last.asked_at >= not_before and now - last.asked_at < self._every_s:
                return last
            try:
                answer = QueueAnswer(now, await self._commands.queue())
            except SlurmUnavailable as error:
                answer = QueueAnswer(now, problem=str(error))
            if answer.problem is not None and (last is None or last.problem != answer.problem):
                log.warning("SLURM cannot be asked", extra={"error": answer.problem})
            self._last = answer
            return answer

    async def find(self, name: str, not_before: float) -> SlurmJob | None:
        """The job of a name, also one that only accounting knows.

        Raises
        ------
        SlurmUnavailable
            If the queue cannot be asked.
        """
        answer = await self.look(not_before=not_before)
        if answer.problem is not None:
            raise SlurmUnavailable(answer.problem)
        found = answer.named(name)
        if found is None:
            forgotten = await self._commands.forgotten(name)
            found = max(forgotten.values(), key=lambda job: job.number, default=None)
        return found

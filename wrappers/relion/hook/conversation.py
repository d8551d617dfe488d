"""What the hook and the daemon say to each other after the call has been sent, until one map is chosen.

The standard map comes first. From then on every failure means that map; nothing here makes maps or files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cryobridge.schemas import wire
from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.iterations import IterationFigures
from cryobridge.schemas.messages import (
    TO_HOOK,
    Answer,
    CallFailed,
    CallProgress,
    Commit,
    CorrectedReady,
    Refused,
    StandardReady,
    ToHook,
    Verified,
    Waiting,
    WrittenFile,
)
from cryobridge.schemas.values import Values

from .call import Call
from .mapcheck import MapError, MapFacts, check_map, checksum
from .outputs import OutputFile
from .runlog import say
from .settings import Settings
from .verdict import CORRECTED, STANDARD, is_ticket

TICK_S = 0.5
_SHOWN_STEP = 0.1
_SHOWN_EVERY_S = 30.0
# A correction changes a map; it does not change the scale of its density by a factor like this.
_LARGEST_SCALE_CHANGE = 20.0


class EndedError(Exception):
    """The conversation is over without an answer."""

    def __init__(self, code: AnyCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class HalfWork(Values):
    """The files of one half that the daemon fills.

    Attributes
    ----------
    standard, corrected
        Temporary files; no `corrected` when none is wanted or there is no room.
    standard_facts
        Set once the standard map has been checked whole.
    """

    half: int
    call: Call
    standard: OutputFile
    corrected: OutputFile | None = None
    standard_facts: MapFacts | None = None

    def discard(self) -> None:
        """Remove what has not been placed."""
        self.standard.discard()
        if self.corrected is not None:
            self.corrected.discard()


class Outcome(Values):
    """How a call is to be answered.

    Attributes
    ----------
    used
        "corrected", "standard", or "" when the daemon left no whole map.
    code, line
        Why, as a code and as a sentence for RELION's log.
    failed
        Whether something went wrong (a correction not being due is not a failure).
    figures
        What the other host's hook was told of the iteration, where it was not told to this one.
    """

    used: str
    code: AnyCode
    line: str
    failed: bool
    figures: IterationFigures | None = None


class Conversation:
    """Listens to the daemon for one call until the outcome is known.

    Parameters
    ----------
    channel
        Connected, with the call already sent.
    works
        The half or halves of the call. `mine` is the one this hook answers for.
    decide
        Takes (ticket, choice) and returns the choice that both halves obey.
    deadline
        `time.monotonic()` at which the standard map is taken, or None.
    session_out
        Where the daemon writes the session, if it may.
    """

    def __init__(
        self,
        channel: wire.Channel,
        works: dict[int, HalfWork],
        mine: int,
        decide: Callable[[str, str], str],
        settings: Settings,
        deadline: float | None,
        session_out: OutputFile | None,
    ) -> None:
        self.channel = channel
        self.works = works
        self.mine = mine
        self.decide = decide
        self.settings = settings
        self.deadline = deadline
        self.session_out = session_out
        self.session_is_whole = False
        self.ticket: str | None = None
        self.line = ""
        self.figures = IterationFigures()
        self.report: WrittenFile | None = None
        self.call_id = ""
        self.label = works[mine].call.name.label
        self.began = self.heard = time.monotonic()
        self.on_waiting: Callable[[], None] | None = None
        self.on_tick: Callable[[], None] | None = None
        self._shown = ""
        self._shown_fraction = -1.0
        self._shown_at = 0.0

    def run(self) -> Outcome:
        """Listen until the outcome is known; never raises for anything the daemon does or fails to do."""
        try:
            while True:
                frame = self._next()
                outcome = None if frame is None else self._handle(frame)
                if outcome is not None:
                    return outcome
        except EndedError as error:
            return self.ended(error.code, str(error))
        except wire.ClosedError:
            return self.ended(Code.LOST, f"the daemon went away after {time.monotonic() - self.began:.1f} s")
        except (wire.WireError, FrameInvalid) as error:
            return self.ended(Code.LOST, f"the daemon said something that makes no sense ({error})")
        except OSError as error:
            return self.ended(Code.LOST, f"the connection to the daemon broke ({error.strerror or error})")

    def ended(self, code: AnyCode, text: str) -> Outcome:
        """The outcome after a failure: what both halves decided if this one had already agreed, else standard."""
        if self.ticket is not None:
            choice = self._decide(self.ticket, STANDARD)
            if choice == CORRECTED:
                return Outcome(CORRECTED, Code.CORRECTED, self.line, failed=False)
        if self.works[self.mine].standard_facts is not None:
            return Outcome(STANDARD, code, text, failed=code.is_failure)
        return Outcome("", code, text, failed=True)

    def _decide(self, ticket: str, choice: str) -> str:
        try:
            return self.decide(ticket, choice)
        except OSError:
            # Nothing can be written in the job folder any more: the other half cannot either.
            return STANDARD

    def _next(self) -> ToHook | None:
        """Wait for the next frame; None for one of a type that only a newer daemon sends."""
        while True:
            now = time.monotonic()
            if self.deadline is not None and now >= self.deadline:
                raise EndedError(Code.TIMEOUT, f"the deadline passed after {now - self.began:.1f} s")
            silent_since = self.heard + self.settings.silence_s
            if now >= silent_since:
                raise EndedError(Code.SILENT, f"the daemon was silent for {self.settings.silence_s:.0f} s")
            limit = silent_since if self.deadline is None else min(silent_since, self.deadline)
            step = limit - now if self.on_tick is None else min(limit - now, TICK_S)
            try:
                frame = self.channel.receive(max(step, 0.001))
            except TimeoutError:
                frame = None
            if self.on_tick is not None:
                self.on_tick()
            if frame is not None:
                self.heard = time.monotonic()
                frame.close()
                return TO_HOOK.decode(frame.message) if TO_HOOK.knows(frame.message) else None

    def _handle(self, frame: ToHook) -> Outcome | None:
        if isinstance(frame, CallProgress):
            self._show(frame.text, frame.fraction)
        elif isinstance(frame, StandardReady):
            self._take_standard(frame)
        elif isinstance(frame, Waiting):
            if self.on_waiting is not None:
                self.on_waiting()
        elif isinstance(frame, CorrectedReady):
            self.take_corrected(frame)
        elif isinstance(frame, Answer):
            return self._answer(frame)
        elif isinstance(frame, Commit):
            return self._commit(frame)
        elif isinstance(frame, CallFailed | Refused):
            if isinstance(frame, CallFailed):
                self.call_id = frame.call or self.call_id
            raise EndedError(frame.code, frame.text)
        return None

    def work_of(self, half: int) -> HalfWork:
        """The files of a half.

        Raises
        ------
        FrameInvalid
            If the call is not about that half.
        """
        if half not in self.works:
            raise FrameInvalid(f"half {half} was not asked for")
        return self.works[half]

    def _show(self, text: str, fraction: float | None) -> None:
        """Print progress: every new stage, but of a stage with a fraction a line per tenth or half minute."""
        if not text or text == self._shown:
            return
        if fraction is not None:
            if self.mine == 2 and len(self.works) == 1:
                # The halves share the long stages, and half 1 prints them into the same log.
                return
            now = time.monotonic()
            if 0 <= fraction - self._shown_fraction < _SHOWN_STEP and now - self._shown_at < _SHOWN_EVERY_S:
                return
            self._shown_fraction, self._shown_at = fraction, now
        self._shown = text
        say(text, self.label)

    def _take_standard(self, frame: StandardReady) -> None:
        work = self.work_of(frame.half)
        self.call_id = frame.call
        try:
            work.standard_facts = check_map(work.standard.fd, work.call.shape, size=frame.size, crc32=frame.crc32)
        except MapError as error:
            raise EndedError(Code.BAD_RESULT, f"the daemon's standard map was refused: {error}") from error
        if frame.half == self.mine:
            self.report = frame.report
            self.figures = IterationFigures(resolution_A=frame.resolution_A)

    def _answer(self, frame: Answer) -> Outcome | None:
        if frame.half not in (None, self.mine):
            return None
        if self.ticket is not None:
            # The daemon gave up after this half had agreed; the other half may have seen a commit before that.
            return self.ended(frame.code, frame.line)
        if self.works[self.mine].standard_facts is None:
            raise EndedError(Code.BAD_RESULT, "the daemon answered without a map")
        return Outcome(STANDARD, frame.code, frame.line, failed=frame.code.is_failure)

    def take_corrected(self, frame: CorrectedReady) -> None:
        """Check a corrected map; agree to it, or see to it that nobody uses it."""
        self.agree(frame.half, self.agreeable(frame))

    def agreeable(self, frame: CorrectedReady) -> str:
        """Check a corrected map and return its ticket.

        Raises
        ------
        EndedError
            If it is not whole or not on scale. The other half is then bound to the standard map too.
        """
        if not is_ticket(frame.ticket):
            raise EndedError(Code.BAD_RESULT, "the daemon's ticket is malformed")
        self.line = frame.line
        self.figures = frame.figures or self.figures
        try:
            self._check_corrected(self.work_of(frame.half), frame)
        except MapError as error:
            self._decide(frame.ticket, STANDARD)
            raise EndedError(Code.BAD_RESULT, f"the corrected map was refused: {error}") from error
        self._check_session(frame.session)
        return frame.ticket

    def agree(self, half: int, ticket: str) -> None:
        """Tell the daemon that a half's corrected map has arrived whole."""
        if half == self.mine:
            self.ticket = ticket
        self.channel.send(Verified(half=half, ticket=ticket).as_message())

    def _check_corrected(self, work: HalfWork, frame: CorrectedReady) -> None:
        if work.corrected is None or work.standard_facts is None:
            raise MapError("none was asked for")
        facts = check_map(work.corrected.fd, work.call.shape, size=frame.size, crc32=frame.crc32)
        before, after = work.standard_facts.rms, facts.rms
        if not before / _LARGEST_SCALE_CHANGE <= after <= before * _LARGEST_SCALE_CHANGE:
            raise MapError(f"its density deviates by {after:.3g} where the standard map's does by {before:.3g}")
        try:
            # A write error must show before both halves rely on this file.
            os.fsync(work.corrected.fd)
        except OSError as error:
            raise MapError(f"it did not reach the disk ({error.strerror})") from error

    def _check_session(self, announced: WrittenFile | None) -> None:
        if self.session_out is None or announced is None:
            return
        fd = self.session_out.fd
        self.session_is_whole = os.fstat(fd).st_size == announced.size and checksum(fd) == announced.crc32

    def _commit(self, frame: Commit) -> Outcome | None:
        if self.ticket is None or frame.ticket != self.ticket:
            return None
        if self._decide(self.ticket, CORRECTED) == CORRECTED:
            return Outcome(CORRECTED, Code.CORRECTED, self.line, failed=False)
        return Outcome(STANDARD, Code.PARTNER_MISSING, "the other half fell back to it", failed=True)

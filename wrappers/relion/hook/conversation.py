"""What the hook and the daemon say to each other after the call has been sent, until one map is chosen.

The standard map comes first. From then on every failure means that map; nothing here makes maps or files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryobridge.schemas import wire

from .call import Call
from .mapcheck import MapError, MapFacts, check_map, checksum
from .outputs import Output
from .runlog import say
from .settings import Settings
from .verdict import CORRECTED, STANDARD, is_ticket

TICK_S = 0.5
_SHOWN_STEP = 0.1
_SHOWN_EVERY_S = 30.0
# A correction changes a map; it does not change the scale of its density by a factor like this.
_LARGEST_SCALE_CHANGE = 20.0
# Why a daemon may answer with the standard map although a correction was wanted. All other codes are as planned.
FAILURES = frozenset(
    {
        "failed",
        "input_invalid",
        "rejected",
        "timeout",
        "oom",
        "worker_died",
        "bad_result",
        "cancelled",
        "no_daemon",
        "partner_missing",
        "disk_full",
        "silent",
        "lost",
    }
)


class EndedError(Exception):
    """The conversation is over without an answer."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class HalfWork:
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
    standard: Output
    corrected: Output | None = None
    standard_facts: MapFacts | None = None

    def discard(self) -> None:
        """Remove what has not been placed."""
        self.standard.discard()
        if self.corrected is not None:
            self.corrected.discard()


@dataclass
class Outcome:
    """How a call is to be answered.

    Attributes
    ----------
    used
        "corrected", "standard", or "" when the daemon left no whole map.
    code, line
        Why, as a stable word and as a sentence for RELION's log.
    failed
        Whether something went wrong (a correction not being due is not a failure).
    """

    used: str
    code: str
    line: str
    failed: bool


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
        session_out: Output | None,
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
                try:
                    outcome = self._handle(frame.message)
                finally:
                    frame.close()
                if outcome is not None:
                    return outcome
        except EndedError as error:
            return self.ended(error.code, str(error))
        except wire.ClosedError:
            return self.ended("lost", f"the daemon went away after {time.monotonic() - self.began:.1f} s")
        except (wire.WireError, KeyError, TypeError, ValueError) as error:
            return self.ended("lost", f"the daemon said something that makes no sense ({error!r})")
        except OSError as error:
            return self.ended("lost", f"the connection to the daemon broke ({error.strerror or error})")

    def ended(self, code: str, text: str) -> Outcome:
        """The outcome after a failure: what both halves decided if this one had already agreed, else standard."""
        if self.ticket is not None:
            choice = self._decide(self.ticket, STANDARD)
            if choice == CORRECTED:
                return Outcome(CORRECTED, "", self.line, failed=False)
        if self.works[self.mine].standard_facts is not None:
            return Outcome(STANDARD, code, text, failed=code != "sequential")
        return Outcome("", code, text, failed=True)

    def _decide(self, ticket: str, choice: str) -> str:
        try:
            return self.decide(ticket, choice)
        except OSError:
            # Nothing can be written in the job folder any more: the other half cannot either.
            return STANDARD

    def _next(self) -> wire.Frame:
        while True:
            now = time.monotonic()
            if self.deadline is not None and now >= self.deadline:
                raise EndedError("timeout", f"the deadline passed after {now - self.began:.1f} s")
            silent_since = self.heard + self.settings.silence_s
            if now >= silent_since:
                raise EndedError("silent", f"the daemon was silent for {self.settings.silence_s:.0f} s")
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
                return frame

    def _handle(self, message: wire.Message) -> Outcome | None:
        kind = message["type"]
        if kind == "progress":
            self._show(str(message.get("text", "")), message.get("fraction"))
        elif kind == "standard":
            self._take_standard(message)
        elif kind == "waiting":
            if self.on_waiting is not None:
                self.on_waiting()
        elif kind == "corrected":
            self.take_corrected(message)
        elif kind == "answer":
            return self._answer(message)
        elif kind == "commit":
            return self._commit(message)
        elif kind in {"failed", "error"}:
            raise EndedError(str(message.get("code", "failed")), str(message.get("text", "the daemon gave no reason")))
        return None

    def _show(self, text: str, fraction: object) -> None:
        """Print progress: every new stage, but of a stage with a fraction a line per tenth or half minute."""
        if not text or text == self._shown:
            return
        if isinstance(fraction, int | float):
            if self.mine == 2 and len(self.works) == 1:
                # The halves share the long stages, and half 1 prints them into the same log.
                return
            now = time.monotonic()
            if 0 <= fraction - self._shown_fraction < _SHOWN_STEP and now - self._shown_at < _SHOWN_EVERY_S:
                return
            self._shown_fraction, self._shown_at = float(fraction), now
        self._shown = text
        say(text, self.label)

    def _take_standard(self, message: wire.Message) -> None:
        work = self.works[int(message["half"])]
        try:
            work.standard_facts = check_map(
                work.standard.fd, work.call.shape, size=int(message["size"]), crc32=int(message["crc32"])
            )
        except MapError as error:
            raise EndedError("bad_result", f"the daemon's standard map was refused: {error}") from error

    def _answer(self, message: wire.Message) -> Outcome | None:
        if int(message.get("half", self.mine)) != self.mine:
            return None
        code = str(message.get("code", ""))
        line = str(message.get("line", ""))
        if self.ticket is not None:
            # The daemon gave up after this half had agreed; the other half may have seen a commit before that.
            return self.ended(code, line)
        if self.works[self.mine].standard_facts is None:
            raise EndedError("bad_result", "the daemon answered without a map")
        return Outcome(STANDARD, code, line, failed=code in FAILURES)

    def take_corrected(self, message: wire.Message) -> None:
        """Check a corrected map; agree to it, or see to it that nobody uses it."""
        ticket = self.agreeable(message)
        self.agree(int(message["half"]), ticket)

    def agreeable(self, message: wire.Message) -> str:
        """Check a corrected map and return its ticket.

        Raises
        ------
        EndedError
            If it is not whole or not on scale. The other half is then bound to the standard map too.
        """
        ticket = message["ticket"]
        if not is_ticket(ticket):
            raise EndedError("bad_result", "the daemon's ticket is malformed")
        self.line = str(message.get("line", ""))
        try:
            self._check_corrected(self.works[int(message["half"])], message)
        except MapError as error:
            self._decide(ticket, STANDARD)
            raise EndedError("bad_result", f"the corrected map was refused: {error}") from error
        self._check_session(message.get("session"))
        return str(ticket)

    def agree(self, half: int, ticket: str) -> None:
        """Tell the daemon that a half's corrected map has arrived whole."""
        if half == self.mine:
            self.ticket = ticket
        self.channel.send({"type": "verified", "half": half, "ticket": ticket})

    def _check_corrected(self, work: HalfWork, message: wire.Message) -> None:
        if work.corrected is None or work.standard_facts is None:
            raise MapError("none was asked for")
        facts = check_map(work.corrected.fd, work.call.shape, size=int(message["size"]), crc32=int(message["crc32"]))
        before, after = work.standard_facts.rms, facts.rms
        if not before / _LARGEST_SCALE_CHANGE <= after <= before * _LARGEST_SCALE_CHANGE:
            raise MapError(f"its density deviates by {after:.3g} where the standard map's does by {before:.3g}")
        try:
            # A write error must show before both halves rely on this file.
            os.fsync(work.corrected.fd)
        except OSError as error:
            raise MapError(f"it did not reach the disk ({error.strerror})") from error

    def _check_session(self, announced: object) -> None:
        if self.session_out is None or not isinstance(announced, dict):
            return
        fd = self.session_out.fd
        self.session_is_whole = os.fstat(fd).st_size == announced.get("size") and checksum(fd) == announced.get("crc32")

    def _commit(self, message: wire.Message) -> Outcome | None:
        if self.ticket is None or message.get("ticket") != self.ticket:
            return None
        if self._decide(self.ticket, CORRECTED) == CORRECTED:
            return Outcome(CORRECTED, "", self.line, failed=False)
        return Outcome(STANDARD, "partner_missing", "the other half fell back to it", failed=True)

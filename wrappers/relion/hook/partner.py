"""The two halves of an iteration on two hosts, which share a folder and nothing else.

Each hook shows itself by a small file that it keeps changing while it waits. When both wait at different daemons,
the first to claim the iteration (the owner) has its daemon correct both halves; the other one (the guest) leaves
its daemon and follows the owner by files. No file of an earlier, killed run is ever believed: names carry random
identities, and a partner counts as alive only when its file is seen to change.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from cryobridge.schemas.codes import AnyCode, Code, code_of
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.iterations import IterationFigures
from cryobridge.schemas.messages import CorrectedReady
from cryobridge.schemas.values import FixedValues

from .call import read_text, remove_quietly
from .conversation import TICK_S, Conversation, EndedError, HalfWork, Outcome
from .mapcheck import MapError, check_map
from .names import CallName, stale_coordination_files
from .outputs import OutputFile
from .processes import is_abandoned
from .settings import Settings
from .verdict import CORRECTED, STANDARD, decide, first, is_ticket

_BEAT_S = 1.0
_NOTE_BYTES = 16 * 1024


class Role(FixedValues):
    """What this hook is to do in an iteration on two hosts.

    Attributes
    ----------
    owner
        Whether this hook's daemon corrects both halves.
    stem
        What the names of the iteration's meeting files begin with, as a path.
    """

    owner: bool
    stem: str


class PartnerElsewhere(Exception):  # noqa: N818 - not an error: it ends the wait for the own daemon
    """The other half waits at another daemon, and it is settled who does the work."""

    def __init__(self, role: Role, meeting: Meeting) -> None:
        super().__init__("the other half waits at another daemon")
        self.role = role
        self.meeting = meeting


def write_note(path: str, note: dict[str, Any]) -> None:
    """Write a small JSON file whole: temporary name, then rename."""
    temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            json.dump(note, file)
        os.rename(temporary, path)
    except OSError:
        remove_quietly(temporary)
        raise


def read_note(path: str) -> dict[str, Any] | None:
    """Read a small JSON file; None when it is not there or not whole."""
    try:
        note = json.loads(read_text(path, _NOTE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) else None


class Pulse:
    """Tells whether something that keeps changing still does."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._seen: object = None
        self._changed = time.monotonic()

    def is_dead(self, seen: object) -> bool:
        """Note the present state; True when it has been the same for the silence limit."""
        now = time.monotonic()
        if seen != self._seen:
            self._seen = seen
            self._changed = now
        return now - self._changed > self._silence_s


class Meeting:
    """The presence of a hook in the job folder, and its look-out for the other half."""

    def __init__(self, name: CallName, daemon_id: str) -> None:
        self._folder = name.bridge_folder
        self._half = name.half
        self._pair = name.pair
        self._daemon_id = daemon_id
        self._identity = os.urandom(8).hex()
        self._beats = 0
        self._last_beat = -_BEAT_S
        self._here = self._here_of(name.half)
        other = self._here_of(3 - name.half)
        self.partner_here = other
        # What lies there now may be of a run that was killed; only a change counts as life.
        self._partner_at_arrival = read_note(other)

    def _here_of(self, half: int) -> str:
        return os.path.join(self._folder, f"{self._pair}_half{half}.here")

    def beat(self) -> None:
        """Show that this hook is alive (at most once a second)."""
        now = time.monotonic()
        if now - self._last_beat < _BEAT_S:
            return
        self._last_beat = now
        self._beats += 1
        note = {
            "identity": self._identity,
            "daemon_id": self._daemon_id,
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "time": time.time(),
            "beats": self._beats,
        }
        with contextlib.suppress(OSError):
            write_note(self._here, note)

    def look(self) -> None:
        """Beat, and look for the other half.

        Raises
        ------
        PartnerElsewhere
            When it is alive at another daemon; one of the two has then claimed the iteration.
        """
        self.beat()
        self._look_for_claim()
        partner = read_note(self.partner_here)
        if partner is None or partner == self._partner_at_arrival:
            return
        identity, daemon_id = partner.get("identity"), partner.get("daemon_id")
        if not is_ticket(identity) or daemon_id == self._daemon_id:
            return
        identities = "-".join(sorted([self._identity, str(identity)]))
        stem = os.path.join(self._folder, f"{self._pair}.{identities}")
        with contextlib.suppress(OSError):
            owner = first(f"{stem}.claim", f"half{self._half}")
            raise PartnerElsewhere(Role(owner, stem), self)

    def _look_for_claim(self) -> None:
        """A claim that names this hook's identity was made by a partner that has met it, even if it left since."""
        with contextlib.suppress(OSError):
            for entry in os.listdir(self._folder):
                if entry.startswith(f"{self._pair}.") and entry.endswith(".claim") and self._identity in entry:
                    path = os.path.join(self._folder, entry)
                    owner = first(path, f"half{self._half}")
                    raise PartnerElsewhere(Role(owner, path.removesuffix(".claim")), self)


def tidy(name: CallName) -> None:
    """Remove what earlier calls left in the bridge folder, but no file that a hook still works on."""
    with contextlib.suppress(OSError):
        for entry in stale_coordination_files(name, os.listdir(name.bridge_folder)):
            path = os.path.join(name.bridge_folder, entry)
            if is_abandoned(path):
                remove_quietly(path)


def verdict_path(name: CallName, ticket: str) -> str:
    """Where the choice for an iteration is written."""
    return os.path.join(name.bridge_folder, f"{name.pair}.{ticket}.verdict")


class JointConversation(Conversation):
    """The owner's talk with its daemon about both halves; the guest's agreement comes by file."""

    role: Role
    meeting: Meeting

    def host(self, role: Role, meeting: Meeting) -> Outcome:
        """Listen, keep the guest informed, and return the outcome for the own half."""
        self.role = role
        self.meeting = meeting
        self._guest = 3 - self.mine
        self._offered: str | None = None
        self._guest_agreed = False
        self._guest_pulse = Pulse(self.settings.silence_s)
        self._beats = 0
        self._last_beat = -_BEAT_S
        self.on_tick = self._look_after_guest
        outcome = self.run()
        if outcome.used != CORRECTED:
            # A ticket of our own on the note tells the guest at once; without it the guest would wait in vain.
            with contextlib.suppress(OSError):
                write_note(f"{role.stem}.answer", {"standard": outcome.line, "code": outcome.code})
        return outcome

    def _look_after_guest(self) -> None:
        self.meeting.beat()
        now = time.monotonic()
        if now - self._last_beat >= _BEAT_S:
            self._last_beat = now
            self._beats += 1
            with contextlib.suppress(OSError):
                write_note(f"{self.role.stem}.beat", {"beats": self._beats})
        if self._guest_pulse.is_dead(read_note(self.meeting.partner_here)):
            raise EndedError(Code.PARTNER_MISSING, "the other half went away")
        if self._offered is not None and not self._guest_agreed:
            note = read_note(f"{self.role.stem}.verified")
            if note is not None and note.get("ticket") == self._offered:
                self._guest_agreed = True
                self.agree(self._guest, self._offered)

    def take_corrected(self, frame: CorrectedReady) -> None:
        """Check a corrected map; agree to the own one, offer the guest's."""
        ticket = self.agreeable(frame)
        if frame.half == self.mine:
            self.agree(frame.half, ticket)
            return
        corrected = self.work_of(frame.half).corrected
        if corrected is None or corrected.path is None:
            raise EndedError(Code.BAD_RESULT, "there is no file for the other half's corrected map")
        note = {
            "ticket": ticket,
            "name": os.path.basename(corrected.path),
            "size": frame.size,
            "crc32": frame.crc32,
            "line": self.line,
            "figures": self.figures.as_values(),
        }
        try:
            write_note(f"{self.role.stem}.answer", note)
        except OSError as error:
            raise EndedError(Code.DISK_FULL, f"the other half cannot be answered ({error.strerror})") from error
        self._offered = ticket


def follow(
    role: Role, meeting: Meeting, work: HalfWork, settings: Settings, deadline: float | None
) -> tuple[Outcome, OutputFile | None]:
    """The guest's side: wait for the owner's answer and obey the verdict.

    Returns
    -------
    tuple
        The outcome, and the corrected map that the owner put into the bridge folder (to be placed or discarded).
    """
    pulse = Pulse(settings.silence_s)
    began = time.monotonic()
    offered: OutputFile | None = None
    ticket: str | None = None
    line = ""
    figures: IterationFigures | None = None
    text = ""
    code: AnyCode = Code.PARTNER_MISSING
    while True:
        meeting.beat()
        if pulse.is_dead(read_note(f"{role.stem}.beat")):
            text = f"the other half's hook showed no life for {settings.silence_s:.0f} s"
            break
        if deadline is not None and time.monotonic() >= deadline:
            code, text = Code.TIMEOUT, f"the deadline passed after {time.monotonic() - began:.1f} s"
            break
        note = read_note(f"{role.stem}.answer")
        if note is not None and "standard" in note:
            code, text = code_of(str(note.get("code", code))), str(note["standard"])
            break
        if note is not None and ticket is None:
            try:
                offered = _open_offer(note, work, role)
            except MapError as error:
                code, text = Code.BAD_RESULT, f"the corrected map was refused: {error}"
                if is_ticket(note.get("ticket")):
                    _settle(work.call.name, str(note["ticket"]), STANDARD)
                break
            if offered is not None:
                ticket = str(note["ticket"])
                line, figures = str(note.get("line", "")), _figures(note)
                with contextlib.suppress(OSError):
                    write_note(f"{role.stem}.verified", {"ticket": ticket})
        if ticket is not None and os.path.lexists(verdict_path(work.call.name, ticket)):
            text = "the other half fell back to it"
            break
        time.sleep(TICK_S)
    # After agreeing, the choice is no longer this hook's alone: whoever writes it first decides for both.
    if ticket is not None and _settle(work.call.name, ticket, STANDARD) == CORRECTED:
        return Outcome(CORRECTED, Code.CORRECTED, line, failed=False, figures=figures), offered
    return Outcome(STANDARD, code, text, failed=True), offered


def _figures(note: dict[str, Any]) -> IterationFigures | None:
    values = note.get("figures")
    try:
        return IterationFigures.read(values, "figures") if isinstance(values, dict) else None
    except FrameInvalid:
        return None


def _settle(name: CallName, ticket: str, choice: str) -> str:
    try:
        return decide(verdict_path(name, ticket), choice)
    except OSError:
        return STANDARD


def _open_offer(note: dict[str, Any], work: HalfWork, role: Role) -> OutputFile | None:
    """Open and check the map that the owner offers; None while it is not yet visible here.

    Raises
    ------
    MapError
        If it is not whole.
    """
    name, ticket = note.get("name"), note.get("ticket")
    if not isinstance(name, str) or os.sep in name or not is_ticket(ticket):
        raise MapError("the offer is malformed")
    path = os.path.join(os.path.dirname(role.stem), name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MapError(f"it cannot be opened ({error.strerror})") from error
    offered = OutputFile(fd, path)
    try:
        if os.fstat(fd).st_size < int(note["size"]):
            os.close(fd)
            return None
        check_map(fd, work.call.shape, size=int(note["size"]), crc32=int(note["crc32"]))
    except (KeyError, TypeError, ValueError) as error:
        offered.discard()
        raise MapError("the offer is malformed") from error
    except MapError:
        offered.discard()
        raise
    return offered

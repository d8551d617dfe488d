"""One call from beginning to end: clear the way, ask a daemon, put one whole map in place, tidy up."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import TypeVar

from cryobridge.schemas import hook_settings, wire
from cryobridge.schemas.codes import Code
from cryobridge.schemas.messages import Bye
from cryobridge.schemas.values import Values

from . import settings
from .call import (
    Call,
    CallInvalidError,
    Surroundings,
    look_around,
    read_call,
    remove_quietly,
)
from .conversation import Conversation, EndedError, HalfWork, Outcome
from .daemon import NoDaemonError, connect
from .history import History
from .mapcheck import expected_size
from .names import is_leftover
from .outputs import OutputFile, is_full, unique
from .partner import JointConversation, Meeting, PartnerElsewhere, Role, follow, tidy, verdict_path, write_note
from .processes import Lineage, is_abandoned
from .request import send_call
from .runlog import say
from .settings import Settings
from .standard import StandardFailedError, make_standard, run_stock_as_it_is
from .variables import misspelt
from .verdict import CORRECTED, STANDARD, decide

_SESSION = "session.safetensors"
# Deleted volumes free their room only when the daemon has closed them as well.
_ROOM_PATIENCE_S = 10.0
_Talk = TypeVar("_Talk", bound=Conversation)
_RELION_OWN = "standard map (RELION's own): "


class Reply(Values):
    """What is to be placed: the chosen map, and why."""

    outcome: Outcome
    chosen: OutputFile | None


def answer(
    star: str,
    environment: Mapping[str, str],
    lineage: Lineage,
    *,
    strict: bool = False,
    keep_volumes: bool = False,
) -> int:
    """Answer one call of RELION, as long as RELION is there.

    Returns
    -------
    int
        The exit status: 0 with a whole map in place; 1 with one in place when strict and something failed;
        else no map could be made by any means, and the log says why.
    """
    started = time.monotonic()
    try:
        call = read_call(star)
    except CallInvalidError as error:
        return _without_understanding(star, str(error))
    text, mistake = settings.load(call.name.beside(hook_settings.FILE_NAME))
    wishes = settings.safe(environment, mistake) if mistake else settings.read_surely(text, environment)
    visit = Visit(call, wishes, text, environment, lineage, started)
    visit.strict = strict or wishes.strict
    visit.keep_volumes = keep_volumes or wishes.keep_volumes
    try:
        return visit.go()
    finally:
        visit.close()


def _without_understanding(star: str, why: str) -> int:
    say(f"{why}; RELION's own tool is run on it")
    try:
        return run_stock_as_it_is(star)
    except StandardFailedError as error:
        say(f"no map: {error}")
        return error.status


class Visit:
    """One call while it is being answered; owns its temporary files and its connection."""

    def __init__(
        self,
        call: Call,
        wishes: Settings,
        text: str | None,
        environment: Mapping[str, str],
        lineage: Lineage,
        started: float,
    ) -> None:
        self.call = call
        self.wishes = wishes
        self.text = text
        self.environment = environment
        self.lineage = lineage
        self.started = started
        self.strict = False
        self.keep_volumes = False
        self.deadline = started + wishes.deadline_s if wishes.deadline_s else None
        self.surroundings = Surroundings({})
        self.channel: wire.Channel | None = None
        self.meeting: Meeting | None = None
        self.history = History(call.name, wanted=wishes.correction)
        self.call_id = ""
        self._discard: list[OutputFile] = []

    def go(self) -> int:
        """Answer the call and return the exit status."""
        call = self.call
        self.lineage.insist()
        if call.name.half != 2 and (strange := misspelt(self.environment)) is not None:
            # Both halves have the same environment, and write into the same log.
            say(strange, call.name.label)
        # A result of an earlier run under the same name would be read by RELION as if it were ours.
        remove_quietly(call.result, call.result_star)
        self._remove_leftovers()
        if call.name.iteration <= 1:
            # A refinement begins; the network in its folder learned in another one.
            remove_quietly(os.path.join(call.name.bridge_folder, _SESSION))
        reply = self._ask()
        if reply.chosen is None:
            return self._fall_back(reply.outcome)
        try:
            self._place(reply.chosen)
        except OSError as error:
            if reply.outcome.used == CORRECTED or not is_full(error):
                return self._fall_back(Outcome("", Code.FAILED, f"the map cannot be written ({error.strerror})", True))
            say(f"no map: there is no room for it on the disk of {call.folder or '.'}", call.name.label)
            return wire.EXIT_FAILED
        return self._finish(reply.outcome)

    def close(self) -> None:
        """Close the connection and remove every temporary file."""
        while self._discard:
            self._discard.pop().discard()
        self.history.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def _remove_leftovers(self) -> None:
        with contextlib.suppress(OSError):
            for entry in os.listdir(self.call.folder or "."):
                path = os.path.join(self.call.folder, entry)
                if is_leftover(self.call.name, entry) and is_abandoned(path):
                    remove_quietly(path)
        tidy(self.call.name)

    def _ask(self) -> Reply:
        """Let a daemon make the map."""
        call = self.call
        if call.dimensions != 3:
            line = "two-dimensional references are not corrected"
            return Reply(Outcome("", Code.TWO_DIMENSIONAL, line, False), None)
        if self.wishes.mistake is not None:
            return Reply(Outcome("", Code.SETTINGS_INVALID, self.wishes.mistake, True), None)
        try:
            self.surroundings = look_around(call.name)
            self.channel, welcome = connect(self.environment, self.wishes.silence_s, call.name.label)
            return self._talk(self.channel, welcome.daemon_id)
        except NoDaemonError as error:
            return Reply(Outcome("", Code.NO_DAEMON, str(error), True), None)
        except CallInvalidError as error:
            return Reply(Outcome("", Code.INPUT_INVALID, str(error), True), None)
        except wire.WireError as error:
            return Reply(Outcome("", Code.LOST, f"the daemon went away ({error})", True), None)
        except OSError as error:
            return Reply(Outcome("", Code.FAILED, f"the call cannot be made ({error.strerror or error})", True), None)

    def _talk(self, channel: wire.Channel, daemon_id: str) -> Reply:
        """Send the call on the open connection and see it through."""
        call = self.call
        half = call.name.half
        correcting = self.wishes.correction and half != 0 and self._bridge_folder_is_there()
        work = HalfWork(half, call, self._standard_file())
        session_out = None
        if correcting and work.standard.path is not None:
            work.corrected = self._file_or_none(call.folder, call.name.stem, expected_size(call.shape))
            if half == 1:
                session_out = self._file_or_none(call.name.bridge_folder, f"{call.name.pair}.session", 0)
        if work.corrected is not None:
            self.meeting = Meeting(call.name, daemon_id)
            self.meeting.beat()
        self._send(channel, {half: work}, session_out)
        conversation = self._conversation(Conversation, channel, {half: work}, session_out)
        conversation.on_waiting = lambda: self._look_for_partner(conversation)
        try:
            outcome = conversation.run()
        except PartnerElsewhere as elsewhere:
            self.call_id = conversation.call_id
            self._hang_up()
            if elsewhere.role.owner:
                return self._host(elsewhere.role, elsewhere.meeting, work)
            return self._follow(elsewhere.role, elsewhere.meeting, work)
        return self._chosen(outcome, work, conversation)

    def _look_for_partner(self, conversation: Conversation) -> None:
        if self.surroundings.sequential:
            raise EndedError(Code.SEQUENTIAL, "RELION runs the halves one after the other (--sequential_halves_recons)")
        if self.meeting is not None:
            conversation.on_tick = self.meeting.look

    def _host(self, role: Role, meeting: Meeting, work: HalfWork) -> Reply:
        """Two hosts, and ours corrects both halves."""
        half = work.half
        say("the other half is on another host; both are corrected on this one", self.call.name.label)
        try:
            guest_call = read_call(self.call.name.beside(f"{self.call.name.stem_of(3 - half)}.star"))
            session_out = self._file_or_none(self.call.name.bridge_folder, f"{self.call.name.pair}.session", 0)
            corrected = self._file_or_none(
                self.call.name.bridge_folder, self.call.name.pair, expected_size(guest_call.shape)
            )
            # The daemon makes both standard maps again; they are needed for its checks only.
            works = {
                half: HalfWork(half, self.call, self._kept(OutputFile.in_memory(0)), work.corrected),
                3 - half: HalfWork(3 - half, guest_call, self._kept(OutputFile.in_memory(0)), corrected),
            }
            channel, _ = connect(self.environment, self.wishes.silence_s)
            self.channel = channel
            self._send(channel, works, session_out)
        except (CallInvalidError, NoDaemonError, wire.WireError, OSError) as error:
            with contextlib.suppress(OSError):
                write_note(f"{role.stem}.answer", {"standard": f"the halves could not be joined ({error})"})
            return Reply(Outcome(STANDARD, Code.LOST, f"the halves could not be joined ({error})", True), work.standard)
        conversation = self._conversation(JointConversation, channel, works, session_out)
        outcome = conversation.host(role, meeting)
        if outcome.used == CORRECTED and corrected is not None:
            # It is the guest's now.
            corrected.release()
        if not outcome.used:
            outcome.used = STANDARD
        return self._chosen(outcome, work, conversation)

    def _follow(self, role: Role, meeting: Meeting, work: HalfWork) -> Reply:
        """Two hosts, and the other one corrects both halves."""
        say("the other half is on another host; both are corrected there", self.call.name.label)
        outcome, offered = follow(role, meeting, work, self.wishes, self.deadline)
        if offered is not None:
            self._kept(offered)
        return Reply(outcome, offered if outcome.used == CORRECTED else work.standard)

    def _send(self, channel: wire.Channel, works: dict[int, HalfWork], session_out: OutputFile | None) -> None:
        session = os.path.join(self.call.name.bridge_folder, _SESSION)
        channel.sock.settimeout(self.wishes.silence_s)
        send_call(
            channel,
            works,
            self.surroundings,
            self.environment,
            self.text,
            self.wishes,
            session if session_out is not None else None,
            session_out,
            self.history,
        )

    def _conversation(
        self, kind: type[_Talk], channel: wire.Channel, works: dict[int, HalfWork], session_out: OutputFile | None
    ) -> _Talk:
        name = self.call.name
        talk = kind(
            channel,
            works,
            name.half,
            lambda ticket, choice: decide(verdict_path(name, ticket), choice),
            self.wishes,
            self.deadline,
            session_out,
        )
        self.history.talk = talk
        return talk

    def _chosen(self, outcome: Outcome, work: HalfWork, conversation: Conversation) -> Reply:
        self.call_id = conversation.call_id
        if outcome.used == CORRECTED:
            session_out = conversation.session_out
            self.lineage.insist()
            if session_out is not None and conversation.session_is_whole:
                with contextlib.suppress(OSError):
                    session_out.place(os.path.join(self.call.name.bridge_folder, _SESSION))
            return Reply(outcome, work.corrected)
        return Reply(outcome, work.standard if outcome.used == STANDARD else None)

    def _bridge_folder_is_there(self) -> bool:
        """Make the refinement's folder, where the two hooks and the session meet."""
        folder = self.call.name.bridge_folder
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            return False
        return True

    def _kept(self, output: OutputFile) -> OutputFile:
        """Have an output removed at the end unless it has been placed."""
        self._discard.append(output)
        return output

    def _standard_file(self) -> OutputFile:
        """A file for the standard map: beside the result, or in memory while the disk is full."""
        size = expected_size(self.call.shape)
        try:
            return self._kept(OutputFile.on_disk(self.call.folder, f"{self.call.name.stem}.{unique()}.mrc", size))
        except OSError as error:
            if not is_full(error):
                raise
            return self._kept(OutputFile.in_memory(size))

    def _file_or_none(self, folder: str, stem: str, size: int) -> OutputFile | None:
        """A file that one can do without."""
        try:
            return self._kept(OutputFile.on_disk(folder, f"{stem}.{unique()}.mrc", size))
        except OSError:
            return None

    def _place(self, chosen: OutputFile) -> None:
        self.lineage.insist()
        if chosen.path is not None:
            chosen.place(self.call.result)
            return
        # The map is whole in memory and the disk is full: the padded volumes are of no more use and make room.
        self._hang_up()
        self._remove_volumes()
        chosen.place_patiently(self.call.result, 0.0 if self.keep_volumes else _ROOM_PATIENCE_S)

    def _remove_volumes(self) -> None:
        self.lineage.insist()
        if not self.keep_volumes:
            remove_quietly(*self.call.inputs)

    def _fall_back(self, outcome: Outcome) -> int:
        """Make the standard map without a daemon and put it in place."""
        self._hang_up()
        outcome = self._checked_without_daemon(outcome)
        try:
            output = self._kept(make_standard(self.call, inputs_are_bad=outcome.code == Code.INPUT_INVALID))
            self._place(output)
        except StandardFailedError as error:
            say(f"no map: {outcome.line}; {error}", self.call.name.label)
            return error.status
        except OSError as error:
            say(f"no map: {outcome.line}; it cannot be written ({error.strerror})", self.call.name.label)
            return wire.EXIT_FAILED
        return self._finish(Outcome(STANDARD, outcome.code, outcome.line, outcome.failed))

    def _checked_without_daemon(self, outcome: Outcome) -> Outcome:
        """Where no daemon has checked the settings file: a mistake in it that lines alone do not show."""
        if outcome.code == Code.SETTINGS_INVALID:
            self.keep_volumes = True
        elif self.text is not None and not self.keep_volumes:
            mistake = settings.read_by_process(self.text, self.environment).mistake
            if mistake is not None:
                self.keep_volumes = True
                line = f"{outcome.line}; {mistake}" if outcome.failed else mistake
                return Outcome(outcome.used, Code.SETTINGS_INVALID, line, failed=True)
        return outcome

    def _hope(self, outcome: Outcome) -> str:
        """What comes next after a failure, as the end of a line."""
        if outcome.code == Code.SETTINGS_INVALID:
            return f"; edit {self.call.name.beside(hook_settings.FILE_NAME)} (until then the volumes are kept)"
        return "; the next iteration tries again" if outcome.failed and self.call.name.half else ""

    def _finish(self, outcome: Outcome) -> int:
        """Tell RELION's log and the daemon, and delete what RELION never deletes."""
        elapsed = time.monotonic() - self.started
        if outcome.used == CORRECTED:
            line = f"corrected map: {outcome.line} ({elapsed:.1f} s)"
        else:
            line = f"{_RELION_OWN}{outcome.line}{self._hope(outcome)}"
        say(f"{line} [call {self.call_id}]" if self.call_id else line, self.call.name.label)
        self._remove_volumes()
        self.history.write(outcome, elapsed)
        if self.channel is not None:
            with contextlib.suppress(wire.WireError, OSError):
                bye = Bye(used={str(self.call.name.half): outcome.used}, seconds=round(elapsed, 3))
                self.channel.send(bye.as_message())
        return wire.EXIT_FAILED if outcome.failed and self.strict else wire.EXIT_OK

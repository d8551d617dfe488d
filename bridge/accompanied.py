"""A program with a daemon that is there for it alone: both started, watched and ended, and what came of it said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cryobridge.schemas import iterations
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable

from .own_daemon import OwnDaemon, SessionCounts
from .run_summary import RefinementRecords, failures, summary
from .started_program import run_program, signals_held
from .terminal import printable

HOOK_VARIABLE = "RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE"
LOG_NAME = "cryobridge-daemon.log"


class AccompaniedProgram:
    """One program, its daemon, and what is said of both.

    Parameters
    ----------
    command
        The program with its arguments; there is such a program.
    hook
        What RELION is to call.
    records
        Of the refinement, where the command tells which.
    say
        Takes lines for the user.
    """

    def __init__(
        self,
        command: Sequence[str],
        hook: Path,
        records: RefinementRecords | None,
        say: Callable[[str], None],
        *,
        keep_log: bool,
    ) -> None:
        self._command = command
        self._hook = hook
        self._records = records
        self._say = say
        self._keep_log = keep_log
        self._daemon = OwnDaemon(os.environ)
        self._unstarted: str | None = None
        self._ended: str | None = None
        self._sessions: list[SessionCounts] = []

    def run(self) -> int:
        """Start the daemon, run the program, end the daemon, say how it was; the program's exit code.

        Raises
        ------
        CryobridgeError
            If the program cannot be started.
        """
        with signals_held():
            try:
                code = self._run_both()
                self._conclude(code)
            finally:
                self._daemon.remove()
        return code

    def _run_both(self) -> int:
        try:
            self._daemon.start()
        except DaemonUnavailable as error:
            self._unstarted = str(error)
            self._say(f"no daemon could be started ({error}); the program runs all the same, with RELION's own maps")
        try:
            return run_program(self._command, self._variables(os.environ), self._look)
        except OSError as error:
            raise CryobridgeError(f"{self._command[0]}: cannot be started ({error.strerror})") from error
        finally:
            self._look()
            self._sessions = self._daemon.sessions()
            self._daemon.stop()

    def _variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The program's environment."""
        words = environment.get(HOOK_VARIABLE, "").split()
        ours = bool(words) and Path(words[0]).name == self._hook.name
        if words and not ours:
            self._say(f"{HOOK_VARIABLE} was {printable(words[0])}; for this program it is {self._hook}")
        variables = {
            **environment,
            "CRYOBRIDGE_SOCKET": str(self._daemon.socket),
            # Options that the user had given stay.
            HOOK_VARIABLE: " ".join([str(self._hook), *(words[1:] if ours else [])]),
        }
        if self._unstarted is not None:
            # Or each call would try again, and wait for it.
            variables["CRYOBRIDGE_SPAWN"] = "0"
        return variables

    def _look(self) -> None:
        """Note where the daemon has ended by itself, and say so once."""
        if self._ended is None and self._unstarted is None and self._daemon.end is not None:
            self._ended = self._daemon.end
            self._say(f"the daemon has ended ({self._ended}); calls get RELION's own map, or start another")

    def _conclude(self, code: int) -> None:
        """Say what came of it, and where the rest can be read."""
        self._say(f"the program ended with status {code}")
        if self._ended is not None:
            self._say(f"the daemon ended before the program ({self._ended})")
        failed = self._unstarted is not None or self._ended is not None
        rows: list[iterations.Row] = []
        if self._records is not None:
            rows = self._records.new_rows()
            failed = failed or bool(failures(rows))
            for line in summary(rows):
                self._say(line)
            if rows:
                page = self._records.folder / iterations.PAGE_NAME
                table = self._records.folder / iterations.FILE_NAME
                self._say(f"by iteration: {table}{f', {page}' if page.exists() else ''}")
        for one in self._sessions:
            # Of a command that did not tell, such as a script, or one that leaves no records, such as a Class3D.
            if not rows or not self._is_of(one):
                failed = failed or one.failed > 0
                self._say(
                    f"{one.session}: {one.corrected} iterations corrected, {one.standard} with RELION's own map as "
                    f"planned, {one.failed} because something failed; last: {one.last or 'nothing'}"
                )
        if not rows and not self._sessions and not failed:
            self._say("no call was answered")
        if self._keep_log or failed:
            self._save_log()

    def _is_of(self, session: SessionCounts) -> bool:
        """Whether these are the counts of the refinement that has records; the daemon resolves links."""
        if self._records is None:
            return False
        root = self._records.root
        return Path(session.session) in (root, root.parent.resolve() / root.name)

    def _save_log(self) -> None:
        """Beside the refinement, else in the current folder."""
        beside = self._records is not None and self._records.folder.is_dir()
        folder = self._records.folder if self._records is not None and beside else Path.cwd()
        path = folder / LOG_NAME
        try:
            if self._daemon.keep_log(path):
                self._say(f"the daemon's log: {path}")
        except OSError as error:
            self._say(f"the daemon's log could not be kept: {path}: {error.strerror}")


def notes_on_hosts(hosts: str, command: Sequence[str]) -> Iterator[str]:
    """What somebody must know whose ranks run on several machines, a line each; `hosts` says what tells so."""
    yield f"several nodes ({hosts}): calls from other nodes cannot reach this daemon, and start one of their own there"
    if Path(command[0]).name.startswith("mpirun") and "-x" not in command:
        yield f"other nodes need the variable too: mpirun -x {HOOK_VARIABLE} ... (docs/relion.md, 'Two hosts')"

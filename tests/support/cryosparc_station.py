"""A user's machine beside CryoSPARC: a real daemon and a real agent as processes, and the commands."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support.cryosparc import EMAIL, PASSWORD, Standin

CLI = [sys.executable, "-m", "cryobridge.bridge.cli"]
PATIENCE_S = 300.0


class Station:
    """Processes with a home of their own (`private_runtime`), talking to one stand-in.

    Parameters
    ----------
    agent
        The command that looks after cards; cryobridge's own by default.
    """

    def __init__(self, standin: Standin, folder: Path, agent: Sequence[str] = ()) -> None:
        self.standin = standin
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "CRYOBRIDGE_STATE_DIR": str(folder / "daemon"),
            "CRYOBRIDGE_DEVICES": "cpu",
            "CRYOSPARC_BASE_URL": standin.url,
        }
        self._agent_command = [*(agent or (*CLI, "cryosparc", "agent")), "--project", "P1"]
        self.daemon: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self.daemon_log, self.agent_log = folder / "daemon.log", folder / "agent.log"

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command; it must end with this exit code. What it said, of both kinds."""
        done = subprocess.run(
            [*CLI, *arguments],
            env=self.environment | {"CRYOSPARC_PASSWORD": PASSWORD if "login" in arguments else ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: exit {done.returncode}: {done.stdout}"
        return done.stdout

    def log_in(self) -> str:
        """Get a token."""
        return self.run("cryosparc", "login", "--email", EMAIL)

    def start_daemon(self) -> None:
        """Start a daemon, and wait until it answers."""
        with self.daemon_log.open("ab") as log:
            self.daemon = subprocess.Popen([*CLI, "serve"], env=self.environment, stdout=log, stderr=log)
        self.wait(self._answers, "the daemon did not start")

    def start_agent(self) -> None:
        """Start an agent."""
        with self.agent_log.open("ab") as log:
            self.agent = subprocess.Popen(self._agent_command, env=self.environment, stdout=log, stderr=log)

    def kill(self, which: str) -> None:
        """End the agent or the daemon at once, without a last word."""
        process = {"agent": self.agent, "daemon": self.daemon}[which]
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """End both."""
        for process in (self.agent, self.daemon):
            if process is not None and process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()

    def wait(self, condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for something."""
        end = time.monotonic() + patience_s
        while not condition():
            ended = [one for one in (self.agent, self.daemon) if one is not None and one.poll() is not None]
            assert not ended, f"{what}\n{self.logs()}"
            assert time.monotonic() < end, f"{what}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        """The ends of what both said."""
        return "\n".join(
            f"{path.name}: {path.read_text()[-3000:]}" for path in (self.agent_log, self.daemon_log) if path.exists()
        )

    def _answers(self) -> bool:
        done = subprocess.run([*CLI, "status"], env=self.environment, capture_output=True, check=False)
        return done.returncode == 0

"""Talks to a daemon over its socket: one request, one reply, and errors under their names.

Used by the commands; knows nothing of how they print. Starts no daemon: `cryobridge serve` and the RELION hook do.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import cryobridge
from cryobridge.schemas import errors, wire
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.messages import GREETING, Hello, Refused, Welcome
from cryobridge.schemas.news import NewsEvent, Snapshot
from cryobridge.schemas.requests import (
    TO_COMMAND,
    FollowNews,
    JobProgress,
    JobStanding,
    Request,
    RequestReply,
    WaitForJob,
)
from cryobridge.schemas.state import TERMINAL

CONNECT_TIMEOUT_S = 5.0
WAIT_SLICE_S = 3600.0
"""A long wait is asked for in slices; within one, heartbeats show that the daemon lives."""

OnProgress = Callable[[str, float | None], None]

_ERRORS: dict[str, type[errors.CryobridgeError]] = {
    error.code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.CryobridgeError) and "code" in vars(error)
}


class DaemonClient:
    """A connection to a daemon that has said welcome.

    Attributes
    ----------
    welcome
        The daemon's greeting.
    path
        The socket that answered.
    """

    def __init__(self, channel: wire.Channel, path: Path, welcome: Welcome) -> None:
        self._channel = channel
        self._heard_at = 0.0
        self.path = path
        self.welcome = welcome

    @classmethod
    def connect(
        cls, environment: Mapping[str, str] | None = None, *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> DaemonClient:
        """Greet the first daemon there is: `$CRYOBRIDGE_SOCKET`, else the user's own, else the system's.

        Raises
        ------
        DaemonUnavailable
            If none answers in time or it speaks another protocol; the message says what to do.
        """
        path, sock = _connect_first(environment if environment is not None else os.environ, timeout_s)
        channel = wire.Channel(sock)
        hello = Hello(protocol=wire.PROTOCOL, client="cli", version=cryobridge.__version__, pid=os.getpid())
        try:
            channel.send(hello.as_message())
            with contextlib.closing(channel.receive(timeout_s)) as frame:
                welcome = _greeting(frame.message)
        except (wire.WireError, TimeoutError) as error:
            channel.close()
            raise errors.DaemonUnavailable(
                f"the daemon at {path} does not answer ({error}); look at its log, or end it and run 'cryobridge serve'"
            ) from error
        if not isinstance(welcome, Welcome) or welcome.protocol != wire.PROTOCOL:
            channel.close()
            other = welcome.version if isinstance(welcome, Welcome) else welcome.text
            raise errors.DaemonUnavailable(
                f"the daemon at {path} is of another version ({other}; this is {cryobridge.__version__}); "
                "restart it with this version's 'cryobridge serve'"
            )
        return cls(channel, path, welcome)

    @property
    def uid(self) -> int:
        """The user that the daemon runs as, as the kernel knows it."""
        peer: int = wire.peer_uid(self._channel.sock)[1]
        if peer == 0 and self.welcome.pid is not None:
            # Where systemd made the socket it is root's, whoever serves it.
            with contextlib.suppress(OSError):
                return Path("/proc", str(self.welcome.pid)).stat().st_uid
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def request(self, asked: Request, *, on_progress: OnProgress | None = None) -> wire.Message:
        """Ask one thing; the daemon may be silent for at most `wire.SILENCE_LIMIT_S`.

        Parameters
        ----------
        asked
            What is asked for.
        on_progress
            Takes each report of progress (text, fraction or None) that comes before the reply.

        Returns
        -------
        dict
            The reply's fields, without `type` and `ok`.

        Raises
        ------
        CryobridgeError
            The one whose code the daemon sent.
        DaemonUnavailable
            If the daemon went away or silent.
        """
        try:
            self._channel.send(asked.as_message())
            reply = _next(self._channel, wire.SILENCE_LIMIT_S, on_progress)
        except FrameInvalid as error:
            raise errors.DaemonUnavailable(f"the daemon at {self.path} makes no sense ({error}); restart it") from error
        except (wire.WireError, TimeoutError) as error:
            raise errors.DaemonUnavailable(
                f"the daemon at {self.path} went away while asked for '{asked.type}'"
            ) from error
        if isinstance(reply, Refused):
            raise _refusal(reply)
        return reply.answer

    def follow(self, *, once: bool = False) -> None:
        """Ask for a snapshot of all that there is to see, and for every change from then on unless it is for once.

        `news` gives them; nothing else can be asked over this connection any more.

        Raises
        ------
        DaemonUnavailable
            If the daemon went away.
        """
        try:
            self._channel.send(FollowNews(once=once).as_message())
        except (wire.WireError, TimeoutError) as error:
            raise errors.DaemonUnavailable(f"the daemon at {self.path} went away") from error
        self._heard_at = time.monotonic()

    def news(self, timeout_s: float) -> Snapshot | NewsEvent | None:
        """What the daemon tells next; None where there was nothing new in `timeout_s`.

        Raises
        ------
        CryobridgeError
            The one whose code the daemon sent: it lets nobody follow who has too many connections that do.
        DaemonUnavailable
            If the daemon went away or silent.
        """
        try:
            with contextlib.closing(self._channel.receive(timeout_s)) as frame:
                told = TO_COMMAND.decode(frame.message)
        except TimeoutError:
            if time.monotonic() - self._heard_at > wire.SILENCE_LIMIT_S:
                raise errors.DaemonUnavailable(f"the daemon at {self.path} says nothing any more") from None
            return None
        except wire.WireError as error:
            raise errors.DaemonUnavailable(f"the daemon at {self.path} went away") from error
        except FrameInvalid as error:
            raise errors.DaemonUnavailable(f"the daemon at {self.path} makes no sense ({error}); restart it") from error
        self._heard_at = time.monotonic()
        if isinstance(told, Refused):
            raise _refusal(told)
        return told if isinstance(told, Snapshot | NewsEvent) else None

    def wait(
        self,
        job_id: str,
        timeout_s: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_progress: OnProgress | None = None,
    ) -> wire.Message:
        """Wait until a job is finished; the job as the daemon tells it, with its `state`.

        Raises
        ------
        DeadlineExceeded
            If it is not finished after `timeout_s`; the job goes on.
        """
        end = None if timeout_s is None else clock() + timeout_s
        while True:
            left = WAIT_SLICE_S if end is None else max(0.0, min(WAIT_SLICE_S, end - clock()))
            reply = self.request(WaitForJob(job_id=job_id, timeout_s=left), on_progress=on_progress)
            state = JobStanding.read(reply, "the reply to 'wait'").state
            if state in TERMINAL:
                return reply
            if end is not None and clock() >= end:
                raise errors.DeadlineExceeded(f"job {job_id} is still {state} after {timeout_s:g} s; it goes on")


def _refusal(refused: Refused) -> errors.CryobridgeError:
    return _ERRORS.get(refused.code, errors.CryobridgeError)(refused.text or "the daemon refused without saying why")


def _greeting(message: wire.Message) -> Welcome | Refused:
    """A daemon's first words; what cannot be read is taken for a refusal, since another version may greet otherwise."""
    try:
        return GREETING.decode(message)
    except FrameInvalid as error:
        return Refused(text=str(error))


def _next(channel: wire.Channel, timeout_s: float, on_progress: OnProgress | None = None) -> RequestReply | Refused:
    """The next frame that is an answer; heartbeats before it only show that the daemon lives."""
    while True:
        with contextlib.closing(channel.receive(timeout_s)) as frame:
            told = TO_COMMAND.decode(frame.message)
        if isinstance(told, JobProgress):
            if on_progress:
                on_progress(told.text, told.fraction)
        elif isinstance(told, RequestReply | Refused):
            return told


def _connect_first(environment: Mapping[str, str], timeout_s: float) -> tuple[Path, socket.socket]:
    """Connect to the first socket of `wire.candidate_sockets` that somebody listens on.

    Raises
    ------
    DaemonUnavailable
        If there is none; says where it was looked for and why each did not do.
    """
    tried: list[str] = []
    for path in wire.candidate_sockets(dict(environment)):
        try:
            return path, wire.connect(path, timeout_s)
        except FileNotFoundError:
            tried.append(f"{path}: not there")
        except ConnectionRefusedError:
            tried.append(f"{path}: nobody listens any more")
        except TimeoutError:
            tried.append(f"{path}: no answer in {timeout_s:g} s")
        except OSError as error:
            tried.append(f"{path}: {error.strerror or error}")
    raise errors.DaemonUnavailable(
        f"no daemon is running ({'; '.join(tried)}); start one with 'cryobridge serve' "
        "(RELION's calls start one by themselves)"
    )


def degradations(status: wire.Message) -> list[str]:
    """What is wrong with a daemon, by its own status; empty when all is well."""
    state = status.get("state")
    health = status.get("health")
    problems = health.get("problems", []) if isinstance(health, dict) else []
    return [*([] if state == "ready" else [f"the daemon is {state}"]), *map(str, problems)]

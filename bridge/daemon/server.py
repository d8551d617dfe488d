"""Accepts clients, greets them, and hands hooks' frames to the sessions and other clients' frames to the requests.

Who is on the other side is what the kernel says (SO_PEERCRED). A client that floods, stalls or talks nonsense loses
its own connection and nothing else.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from cryobridge import __version__
from cryobridge.schemas.bounds import (
    CLIENT_FRAME_LIMIT_S,
    GREETING_S,
    HOOKS_SHARE,
    MAX_CLIENT_FRAME_BYTES,
    MAX_CLIENT_FRAME_VALUES,
    MAX_PARTIAL_BYTES_PER_USER,
    MAX_UNCLAIMED_FDS_PER_USER,
    MAX_UNTAKEN_BYTES,
    SMALL_PARTIAL_BYTES,
)
from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.frames import FrameInvalid, TypedFrame
from cryobridge.schemas.messages import FIRST_WORDS, FROM_HOOK, Bye, CallFrame, Refused, Verified, Welcome
from cryobridge.schemas.wire import PROTOCOL, Decoder, Frame, Message, peer_uid

from ..pool.connection import Connection
from ..refinements.pairing import HookLink

log = logging.getLogger(__name__)

HELLO_LIMIT_S = 10.0
REFUSAL_LIMIT_S = 5.0
PAUSE_S = 0.5
"""So long nothing is accepted when there is no free descriptor."""
HOOK = "relion-hook"


class Hooks(Protocol):
    """The part of `bridge.refinements.pairing.Sessions` that serves hooks."""

    def call(self, link: HookLink, frame: Frame) -> None:
        """A call; the frame's descriptors go over."""

    def verified(self, link: HookLink, frame: Verified) -> None:
        """A corrected map was checked."""

    def bye(self, link: HookLink, frame: Bye) -> None:
        """The hook leaves with a word."""

    def gone(self, link: HookLink) -> None:
        """The hook is gone without a word."""


class Requests(Protocol):
    """Who answers the commands."""

    def handle(self, client: Client, message: Message) -> None:
        """One request frame."""

    def gone(self, client: Client) -> None:
        """The client has left."""


class Client:
    """One connected program.

    Attributes
    ----------
    uid, pid
        As the kernel knows them.
    kind
        What it called itself; empty before its hello.
    """

    def __init__(self, server: Server, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        pid, uid, _ = peer_uid(sock)
        self.pid: int = pid
        self.uid: int = uid
        self.kind = ""
        self._server = server
        self._loop = loop
        self.connected_at = loop.time()
        self.connection = Connection(
            sock,
            loop,
            self._frame,
            self._closed,
            decoder=Decoder(MAX_CLIENT_FRAME_BYTES, MAX_CLIENT_FRAME_VALUES),
            frame_limit_s=CLIENT_FRAME_LIMIT_S,
            max_untaken_bytes=MAX_UNTAKEN_BYTES,
            on_partial=lambda: server.holds(self),
        )
        self._hello_limit = loop.call_later(HELLO_LIMIT_S, self._no_hello)

    @property
    def last_sent(self) -> float:
        """When something was last sent, on the loop's clock."""
        return self.connection.last_sent

    def send(self, frame: TypedFrame) -> None:
        """Queue a frame; never blocks."""
        self.connection.send(frame.as_message())

    def refuse(self, code: AnyCode, text: str) -> None:
        """Say why, and hang up."""
        self._hello_limit.cancel()
        self.send(Refused(code=code, text=text))
        self.connection.close_when_sent()
        self._loop.call_later(REFUSAL_LIMIT_S, self.connection.close)
        self._server.left(self)

    def close(self) -> None:
        """Hang up."""
        self._hello_limit.cancel()
        self.connection.close()

    def _frame(self, frame: Frame) -> None:
        try:
            self._server.frame(self, frame)
        except Exception as error:  # the request handler: one bad request must not end the daemon
            log.exception("a request failed", extra={"type": frame.type, "uid": self.uid})
            frame.close()
            self.refuse(Code.FAILED, f"the daemon could not handle '{frame.type}' ({type(error).__name__})")

    def _closed(self, reason: str) -> None:
        self._hello_limit.cancel()
        log.debug("client gone", extra={"client": self.kind, "pid": self.pid, "reason": reason})
        self._server.left(self)

    def _no_hello(self) -> None:
        if not self.kind:
            self.refuse(Code.REJECTED, "no hello came")


class Server:
    """All clients of a daemon.

    Parameters
    ----------
    sock
        Listening, non-blocking.
    welcome
        Gives the state ("ready", "draining", "busy") and the reason, for the greeting.
    daemon_id, pid
        Of this daemon, for the greeting.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        hooks: Hooks,
        requests: Requests,
        welcome: Callable[[], tuple[str, str]],
        daemon_id: str,
        pid: int,
        max_connections: int,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._hooks = hooks
        self._requests = requests
        self._welcome = welcome
        self._daemon_id = daemon_id
        self._pid = pid
        self._max_connections = max_connections
        self._clients: set[Client] = set()
        self._listening = False

    def start(self) -> None:
        """Begin to accept."""
        self._loop.add_reader(self._sock, self._accept)
        self._listening = True

    def close(self) -> None:
        """Accept no more and hang up on everyone, after what is queued for them has had a chance to go."""
        if self._listening:
            self._loop.remove_reader(self._sock)
            self._listening = False
        for client in list(self._clients):
            client.close()
        self._clients.clear()

    @property
    def unsent(self) -> bool:
        """Whether any client has not yet taken what was sent to it."""
        return any(client.connection.unsent_bytes for client in self._clients)

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def frame(self, client: Client, frame: Frame) -> None:
        """Hand one frame to whom it concerns."""
        if not client.kind:
            self._greet(client, frame)
        elif client.kind != HOOK:
            frame.close()
            self._requests.handle(client, frame.message)
        elif frame.type == CallFrame.type:
            self._hooks.call(client, frame)
        else:
            frame.close()
            self._hook_frame(client, frame.message)

    def holds(self, client: Client) -> None:
        """A client has sent something that is not whole: cut it off if its user's clients hold too much together."""
        one, theirs = client.connection, [other.connection for other in self._of(client.uid)]
        if sum(other.unclaimed_fds for other in theirs) > MAX_UNCLAIMED_FDS_PER_USER and one.unclaimed_fds:
            one.cut_off(f"more than {MAX_UNCLAIMED_FDS_PER_USER} descriptors of one user that no message claims")
        elif (
            one.partial_bytes > SMALL_PARTIAL_BYTES
            and sum(other.partial_bytes for other in theirs) > MAX_PARTIAL_BYTES_PER_USER
        ):
            one.cut_off(f"more than {MAX_PARTIAL_BYTES_PER_USER} bytes of one user in parts of messages")

    def left(self, client: Client) -> None:
        """A client is gone."""
        if client in self._clients:
            self._clients.discard(client)
            if client.kind == HOOK:
                self._hooks.gone(client)
            else:
                self._requests.gone(client)

    # ---- inside

    def _hook_frame(self, client: Client, message: Message) -> None:
        try:
            frame = FROM_HOOK.decode(message)
        except FrameInvalid as error:
            client.refuse(error.code, str(error))
            return
        if isinstance(frame, Verified):
            self._hooks.verified(client, frame)
        elif isinstance(frame, Bye):
            self._hooks.bye(client, frame)

    def _greet(self, client: Client, frame: Frame) -> None:
        frame.close()
        try:
            hello = FIRST_WORDS.decode(frame.message)
        except FrameInvalid as error:
            client.refuse(error.code, str(error))
            return
        state, reason = self._welcome()
        client.send(
            Welcome(
                protocol=PROTOCOL,
                version=__version__,
                state=state,
                reason=reason,
                daemon_id=self._daemon_id,
                pid=self._pid,
            )
        )
        if hello.protocol != PROTOCOL:
            text = f"this daemon speaks protocol {PROTOCOL}, version {__version__}; restart it"
            client.refuse(Code.REJECTED, text)
            return
        kind = hello.client or "unknown"
        others = sum(other.kind not in ("", HOOK) for other in self._of(client.uid))
        if kind != HOOK and others >= self._share - int(self._share * HOOKS_SHARE):
            client.refuse(Code.REJECTED, "too many connections; try again later")
            return
        client.kind = kind

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                # The socket stays readable, so without a pause this would spin.
                log.warning("cannot accept", extra={"error": error.strerror})
                self._loop.remove_reader(self._sock)
                self._loop.call_later(PAUSE_S, self._accept_again)
                return
            self._take(sock)

    def _accept_again(self) -> None:
        if self._listening:
            self._loop.add_reader(self._sock, self._accept)

    def _take(self, sock: socket.socket) -> None:
        try:
            client = Client(self, sock, self._loop)
        except OSError:
            sock.close()  # gone between connect and accept
            return
        if self._is_full_for(client.uid):
            self._make_room(client.uid)
        if self._is_full_for(client.uid):
            client.refuse(Code.REJECTED, "too many connections; try again later")
            return
        self._clients.add(client)

    @property
    def _share(self) -> int:
        """One user must not use up what all share: half the connections at most."""
        return max(2, self._max_connections // 2)

    def _of(self, uid: int) -> list[Client]:
        return [client for client in self._clients if client.uid == uid]

    def _is_full_for(self, uid: int) -> bool:
        return len(self._clients) >= self._max_connections or len(self._of(uid)) >= self._share

    def _make_room(self, uid: int) -> None:
        """Send away a connection of this user that has long not said what it is: the next one may be a hook."""
        silent = [client for client in self._of(uid) if not client.kind]
        oldest = min(silent, key=lambda client: client.connected_at, default=None)
        if oldest is not None and self._loop.time() - oldest.connected_at > GREETING_S:
            oldest.refuse(Code.REJECTED, "too many connections, and no hello came")

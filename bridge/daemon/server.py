"""Accepts clients, greets them, and hands hooks' frames to the sessions and other clients' frames to the requests.

Who is on the other side is what the kernel says (SO_PEERCRED). A client that floods, stalls or talks nonsense loses
its own connection and nothing else. Who finds room is decided in `places`.
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
    ACCEPTS_PER_TURN,
    CALL_S,
    CLIENT_FRAME_LIMIT_S,
    GREETING_S,
    MAX_CLIENT_FRAME_BYTES,
    MAX_CLIENT_FRAME_VALUES,
    MAX_PARTIAL_BYTES_PER_USER,
    MAX_UNCLAIMED_FDS_PER_USER,
    MAX_UNTAKEN_BYTES,
    MAX_UNTAKEN_BYTES_PER_USER,
    SMALL_PARTIAL_BYTES,
    SMALL_UNTAKEN_BYTES,
    UNTAKEN_LIMIT_S,
)
from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.frames import FrameInvalid, TypedFrame
from cryobridge.schemas.leases import TENANT
from cryobridge.schemas.messages import (
    FIRST_WORDS,
    FROM_HOOK,
    Answer,
    Bye,
    CallFailed,
    CallFrame,
    Commit,
    Heartbeat,
    Refused,
    Verified,
    Welcome,
)
from cryobridge.schemas.requests import JobProgress
from cryobridge.schemas.wire import PROTOCOL, Decoder, Frame, Message, peer_uid

from ..pool.connection import Connection
from ..refinements.pairing import HookLink
from .places import HOOK, Places

log = logging.getLogger(__name__)

HELLO_LIMIT_S = 10.0
REFUSAL_LIMIT_S = 5.0
PAUSE_S = 0.5
"""So long nothing is accepted when there is no free descriptor."""
_PASSING = (Heartbeat, JobProgress)
"""Frames of which the next one says it too."""


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


class TenantsOfDevices(Protocol):
    """The part of `bridge.leases.tenants.Tenants` that serves users' own daemons."""

    def frame(self, link: Client, message: Message) -> None:
        """A frame of one of them."""

    def gone(self, link: Client) -> None:
        """One has left."""


class Client:
    """One connected program.

    Attributes
    ----------
    uid, pid
        As the kernel knows them.
    kind
        What it called itself; empty before its hello.
    waits_for
        How many halves of its calls it has no answer for.
    since
        When it connected, said what it is, called, or had its last answer, on the loop's clock.
    """

    def __init__(self, server: Server, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        pid, uid, _ = peer_uid(sock)
        self.pid: int = pid
        self.uid: int = uid
        self.kind = ""
        self._server = server
        self._loop = loop
        self.waits_for = 0
        self.since = loop.time()
        self.connection = Connection(
            sock,
            loop,
            self._frame,
            self._closed,
            decoder=Decoder(MAX_CLIENT_FRAME_BYTES, MAX_CLIENT_FRAME_VALUES),
            frame_limit_s=CLIENT_FRAME_LIMIT_S,
            max_untaken_bytes=MAX_UNTAKEN_BYTES,
            untaken_limit_s=UNTAKEN_LIMIT_S,
            on_partial=lambda: server.holds(self),
        )
        self._hello_limit = loop.call_later(HELLO_LIMIT_S, self._no_hello)

    @property
    def last_sent(self) -> float:
        """When something was last sent, on the loop's clock."""
        return self.connection.last_sent

    @property
    def unsent_bytes(self) -> int:
        """How much it has not taken yet."""
        return self.connection.unsent_bytes

    def send(self, frame: TypedFrame) -> None:
        """Queue a frame; never blocks."""
        if isinstance(frame, _PASSING) and self.connection.unsent_bytes:
            return  # a program that stands still would find hours of them, and could be cut off for not taking them
        self.connection.send(frame.as_message())
        if isinstance(frame, Commit | Answer | CallFailed):
            one_half = not isinstance(frame, Commit) and frame.half is not None
            self.waits_for = max(0, self.waits_for - 1) if one_half else 0
            self.since = self._loop.time()
        if self.connection.unsent_bytes > SMALL_UNTAKEN_BYTES:
            self._server.owes(self)

    def called(self, message: Message) -> None:
        """Note that a hook has made a call, whatever is in it."""
        halves = message.get("halves")
        self.waits_for += len(halves) if isinstance(halves, list) else 1
        self.since = self._loop.time()

    def refuse(self, code: AnyCode, text: str) -> None:
        """Say why, and hang up."""
        self._hello_limit.cancel()
        if self.connection.unsent_bytes > SMALL_UNTAKEN_BYTES:
            self.connection.close()  # it takes nothing, so it will not hear this either
        self.send(Refused(code=code, text=text))
        self.connection.close_when_sent()
        if not self.connection.closed:
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
        Gives the state ("ready", "draining", "busy") for a user, and the reason, for the greeting.
    tenants
        Who lends devices; None where there are none to lend.
    daemon_id, pid
        Of this daemon, for the greeting.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        hooks: Hooks,
        requests: Requests,
        tenants: TenantsOfDevices | None,
        welcome: Callable[[int], tuple[str, str]],
        daemon_id: str,
        pid: int,
        max_connections: int,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._hooks = hooks
        self._requests = requests
        self._tenants = tenants
        self._welcome = welcome
        self._daemon_id = daemon_id
        self._pid = pid
        self._clients: set[Client] = set()
        self._places = Places(self._clients, max_connections, GREETING_S, CALL_S)
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
        elif client.kind == TENANT and self._tenants is not None:
            frame.close()
            self._tenants.frame(client, frame.message)
        elif client.kind != HOOK:
            frame.close()
            self._requests.handle(client, frame.message)
        elif frame.type == CallFrame.type:
            client.called(frame.message)
            self._hooks.call(client, frame)
        else:
            frame.close()
            self._hook_frame(client, frame.message)

    def holds(self, client: Client) -> None:
        """A client has sent what is not whole or has to wait: cut it off if its user's hold too much together."""
        one, theirs = client.connection, [other.connection for other in self._of(client.uid)]
        if sum(other.unclaimed_fds for other in theirs) > MAX_UNCLAIMED_FDS_PER_USER and one.unclaimed_fds:
            one.cut_off(f"more than {MAX_UNCLAIMED_FDS_PER_USER} descriptors of one user for messages to come")
        elif (
            one.partial_bytes > SMALL_PARTIAL_BYTES
            and sum(other.partial_bytes for other in theirs) > MAX_PARTIAL_BYTES_PER_USER
        ):
            one.cut_off(f"more than {MAX_PARTIAL_BYTES_PER_USER} bytes of one user in messages to come")

    def owes(self, client: Client) -> None:
        """A client does not take what it is sent: cut it off if its user's clients leave too much together."""
        if sum(other.connection.unsent_bytes for other in self._of(client.uid)) > MAX_UNTAKEN_BYTES_PER_USER:
            client.connection.cut_off(f"more than {MAX_UNTAKEN_BYTES_PER_USER} bytes that one user does not take")

    def left(self, client: Client) -> None:
        """A client is gone."""
        if client in self._clients:
            self._clients.discard(client)
            if client.kind == HOOK:
                self._hooks.gone(client)
            elif client.kind == TENANT and self._tenants is not None:
                self._tenants.gone(client)
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
        state, reason = self._welcome(client.uid)
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
        if kind != HOOK and self._places.only_for_hooks(client.uid):
            client.refuse(Code.REJECTED, "too many connections; try again later")
            return
        client.kind = kind
        client.since = self._loop.time()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
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
        self._make_room(client.uid)
        if self._places.are_full_for(client.uid):
            client.refuse(Code.REJECTED, "too many connections; try again later")
            return
        self._clients.add(client)

    def _of(self, uid: int) -> list[Client]:
        return [client for client in self._clients if client.uid == uid]

    def _make_room(self, uid: int) -> None:
        """Where a user has no place left, send one of his away who does nothing: the next one may be a hook."""
        heard: set[Client] = set()
        while self._places.are_full_for(uid) and (client := self._places.next_to_go(uid, self._loop.time())):
            if client in heard:
                client.refuse(Code.REJECTED, "too many connections, and neither a greeting nor a call came")
                return
            # Its greeting or call may have come already.
            heard.add(client)
            client.connection.hear()

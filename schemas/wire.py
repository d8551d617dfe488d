"""What travels between hook, daemon, worker and clients: length-prefixed JSON frames over a Unix socket.

Standard library only, because the RELION hook starts once per half-map per iteration and must not pay
for anything else. Open file descriptors travel with a frame (SCM_RIGHTS), so that the daemon works on
files its own user may have no right to open. This module knows nothing about reconstructions.

A frame is a 4-byte big-endian length followed by that many bytes of UTF-8 JSON: an object with a string
`type`, and `fds` (how many descriptors belong to it) when there are any.
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import socket
import struct
from collections import deque
from pathlib import Path
from typing import Any

from .bounds import MAX_UNCLAIMED_FDS

PROTOCOL = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_FDS_PER_FRAME = 64
SILENCE_LIMIT_S = 15.0
"""A peer that sends nothing for this long is taken for dead."""
HEARTBEAT_S = 3.0

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_DAEMON = 3
EXIT_DEGRADED = 4

_LENGTH = struct.Struct(">I")
_TIMEVAL = struct.Struct("@ll")

Message = dict[str, Any]


class WireError(Exception):
    """The other side sent something that is not a frame of this protocol."""


class ClosedError(WireError):
    """The other side closed the connection."""


class Frame:
    """One message with the descriptors that came with it.

    The receiver owns `fds` and must close them; `close()` does.
    """

    def __init__(self, message: Message, fds: list[int] | None = None) -> None:
        self.message = message
        self.fds = [] if fds is None else fds

    @property
    def type(self) -> str:
        """The frame's `type` field."""
        return str(self.message["type"])

    def close(self) -> None:
        """Close every descriptor that is still owned by the frame."""
        while self.fds:
            with contextlib.suppress(OSError):
                os.close(self.fds.pop())


def encode(message: Message, n_fds: int = 0) -> bytes:
    """Turn a message into bytes; raises `WireError` when it is too large."""
    body = dict(message)
    if n_fds:
        body["fds"] = n_fds
    raw = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    if len(raw) > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {len(raw)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(raw)) + raw


class Decoder:
    """Turns a byte stream and the descriptors that arrive with it into frames.

    Needs no socket, so it serves blocking and event-driven readers alike.

    Parameters
    ----------
    max_bytes
        Of one frame.
    max_values
        Of one frame, counted by its commas before it is read; any number if None.

    Frames are read one by one as they are taken. Till then all that has come of them, whole or not, counts as held.
    """

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, max_values: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._broken: WireError | None = None

    def feed(self, data: bytes, fds: list[int] | None = None) -> list[Frame]:
        """Take what was received; return the frames that are now whole.

        Frames that came whole before the stream broke are returned; `check` then tells of the break.

        Raises
        ------
        WireError
            If what comes next is not of this protocol. Descriptors that no frame has claimed are closed first.
        """
        self.put(data, fds)
        frames: list[Frame] = []
        try:
            while (frame := self.take()) is not None:
                frames.append(frame)
        except WireError:
            if not frames:
                raise
        return frames

    def put(self, data: bytes, fds: list[int] | None = None) -> None:
        """Take what was received, and read nothing of it yet."""
        self._fds.extend(fds or [])
        if self._broken is None:
            self._buffer += data
        else:
            self.close()

    def take(self) -> Frame | None:
        """Read the next frame; None where none is whole.

        Raises
        ------
        WireError
            As `feed`.
        """
        self.check()
        try:
            frame = self._next()
            if frame is None:
                self._expect_a_claim()
        except WireError as error:
            self._broken = error
            self.close()
            raise
        return frame

    def check(self) -> None:
        """Raise the `WireError` of a stream that has broken; nothing after that point is read."""
        if self._broken is not None:
            raise self._broken

    @property
    def partial_bytes(self) -> int:
        """How much has come of frames that are not whole, or that nobody has taken."""
        return len(self._buffer)

    @property
    def unclaimed_fds(self) -> int:
        """How many descriptors have come that no frame which was taken has claimed."""
        return len(self._fds)

    @property
    def holds_whole(self) -> bool:
        """Whether `take` would give a frame, or refuse what comes next."""
        end = self._end_of_next
        return end is not None and (len(self._buffer) >= end or end > _LENGTH.size + self._max_bytes)

    @property
    def _end_of_next(self) -> int | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        return _LENGTH.size + int(length)

    def _expect_a_claim(self) -> None:
        """Descriptors travel with the first byte of their frame, so none can be left where nothing else is."""
        if len(self._fds) > (MAX_UNCLAIMED_FDS if self._buffer else 0):
            raise WireError(f"{len(self._fds)} descriptors came that no frame announces")

    def _next(self) -> Frame | None:
        end = self._end_of_next
        if end is None:
            return None
        if end - _LENGTH.size > self._max_bytes:
            raise WireError(f"a frame announces {end - _LENGTH.size} bytes; the limit is {self._max_bytes}")
        if len(self._buffer) < end:
            return None
        raw = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        if self._max_values is not None and raw.count(b",") > self._max_values:
            raise WireError(f"a frame holds more than {self._max_values} values")
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise WireError("a frame is not JSON") from error
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise WireError("a frame is not an object with a string 'type'")
        wanted = message.pop("fds", 0)
        if not isinstance(wanted, int) or not 0 <= wanted <= MAX_FDS_PER_FRAME:
            raise WireError("a frame announces an impossible number of descriptors")
        if wanted > len(self._fds):
            raise WireError(f"a frame announces {wanted} descriptors, {len(self._fds)} came")
        return Frame(message, [self._fds.popleft() for _ in range(wanted)])

    def close(self) -> None:
        """Forget what no frame that was taken had in it, and close its descriptors."""
        self._buffer.clear()
        while self._fds:
            with contextlib.suppress(OSError):
                os.close(self._fds.popleft())


def send_with_fds(sock: socket.socket, data: bytes, fds: list[int]) -> int:
    """Send once, the descriptors with the first byte; return how many bytes went."""
    if not fds:
        return sock.send(data)
    rights = array.array("i", fds).tobytes()
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive_with_fds(sock: socket.socket, size: int = 65536) -> tuple[bytes, list[int]]:
    """Receive once; return the bytes and any descriptors (close-on-exec)."""
    space = socket.CMSG_LEN(MAX_FDS_PER_FRAME * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
            fds.extend(received)
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise WireError("descriptors were cut off on the way (too many, or no free descriptor here)")
    return data, fds


def connect(path: Path, limit_s: float) -> socket.socket:
    """Connect to whoever listens on `path`; where many want to, wait for the turn, but no longer than `limit_s`.

    Raises
    ------
    TimeoutError
        If no turn came: the listener stands still.
    OSError
        If there is none, or it cannot be reached.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Not `settimeout`, with which a full queue is an error at once.
        seconds, rest = divmod(limit_s, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(int(seconds), int(rest * 1e6)))
        sock.connect(os.fspath(path))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(0, 0))
    except BlockingIOError as error:
        sock.close()
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), os.fspath(path)) from error
    except BaseException:
        sock.close()
        raise
    return sock


class Channel:
    """A blocking frame connection over a connected Unix stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = Decoder()
        self._ready: deque[Frame] = deque()

    def fileno(self) -> int:
        """The socket's descriptor, for select and poll."""
        return self.sock.fileno()

    def send(self, message: Message, fds: list[int] | None = None) -> None:
        """Send a whole frame.

        Raises
        ------
        ClosedError
            If the other side is gone.
        TimeoutError
            If the socket's timeout passes before the frame is out.
        """
        fds = fds or []
        data = encode(message, len(fds))
        try:
            sent = send_with_fds(self.sock, data, fds)
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except TimeoutError:
            raise
        except OSError as error:
            raise ClosedError(f"the connection is closed ({error.strerror})") from error

    def receive(self, timeout_s: float | None = None) -> Frame:
        """Wait for one frame.

        Raises
        ------
        TimeoutError
            If none is whole within `timeout_s` (for ever when None). Bytes received so far are kept.
        ClosedError
            If the other side closed the connection.
        WireError
            If what came is not of this protocol.
        """
        while not self._ready:
            self._decoder.check()
            self.sock.settimeout(timeout_s)
            try:
                data, fds = receive_with_fds(self.sock)
            except TimeoutError:
                raise
            except OSError as error:
                raise ClosedError(f"the connection is closed ({error.strerror})") from error
            finally:
                with contextlib.suppress(OSError):
                    self.sock.settimeout(None)
            if not data:
                raise ClosedError("the connection was closed by the other side")
            self._ready.extend(self._decoder.feed(data, fds))
        return self._ready.popleft()

    def close(self) -> None:
        """Close the socket and every descriptor not handed out."""
        self._decoder.close()
        for frame in self._ready:
            frame.close()
        self._ready.clear()
        self.sock.close()


def user_socket_path(environment: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """Where this user's own daemon listens: `$XDG_RUNTIME_DIR/cryobridge/`, else a private folder in /tmp."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "cryobridge" / "socket"
    return Path(f"/tmp/cryobridge-{os.getuid()}") / "socket"  # noqa: S108 - private_folder() checks its owner


def user_jobs_socket_path(environment: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """Where a daemon of this user's listens that only runs jobs, on devices that the machine's daemon lends."""
    return user_socket_path(environment).with_name("jobs")


def system_socket_path() -> Path:
    """Where a facility's daemon listens."""
    return Path("/run/cryobridge/socket")


def candidate_sockets(environment: dict[str, str] | os._Environ[str] = os.environ) -> list[Path]:
    """The sockets to try, in order: `$CRYOBRIDGE_SOCKET` alone if set, else the user's, else the system's."""
    chosen = environment.get("CRYOBRIDGE_SOCKET")
    if chosen:
        return [Path(chosen)]
    return [user_socket_path(environment), system_socket_path()]


def private_folder(path: Path) -> None:
    """Make `path` (mode 0700) and refuse one that another user owns or may write to.

    Raises
    ------
    PermissionError
        If the folder exists with another owner, is a link, or is open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = os.lstat(path)
    if (state.st_mode & 0o170000) != 0o040000:
        raise PermissionError(f"{path} is not a folder; remove it or set CRYOBRIDGE_SOCKET")
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(f"{path} belongs to or can be changed by another user; set CRYOBRIDGE_SOCKET")


def peer_uid(sock: socket.socket) -> tuple[int, int, int]:
    """The (pid, uid, gid) of the process on the other side, as the kernel knows it."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return pid, uid, gid

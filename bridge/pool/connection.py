"""Frames over one non-blocking Unix socket, driven by the event loop.

Descriptors that arrive belong to the frame; descriptors that are sent belong to the connection and are
closed here once they are out. A peer that does not read fills its bounded queue and is cut off, so that it
can never hold up the loop. This module knows nothing of what the frames mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cryobridge.schemas.bounds import FRAMES_PER_TURN, SMALL_UNTAKEN_BYTES, TURN_S
from cryobridge.schemas.wire import Decoder, Frame, Message, WireError, encode, receive_with_fds, send_with_fds

from .patience import Patience

MAX_UNSENT_BYTES = 32 * 1024 * 1024
_READ_BYTES = 262_144
_READS_PER_TURN = 8


@dataclass
class _Unsent:
    data: memoryview
    fds: list[int]

    def close(self) -> None:
        while self.fds:
            with contextlib.suppress(OSError):
                os.close(self.fds.pop())


class Connection:
    """One frame connection; all methods are called on the loop's thread.

    Parameters
    ----------
    sock
        A connected Unix stream socket; made non-blocking and owned from here on.
    on_frame
        Called with every frame; it takes over the frame's descriptors.
    on_close
        Called once, with a short reason, when the connection ends for whatever reason but `close()`.
    decoder
        Of what comes; one with narrower bounds for those that are not trusted.
    frame_limit_s
        From a frame's first byte to its last, of the time in which it could have been read; no limit if None.
    max_untaken_bytes
        While the peer has more answers to take than this, no more of its frames are handed over; no limit if None.
        Not for peers that send without reading, such as workers: both sides would wait.
    untaken_limit_s
        A peer that has more than a little to take, and takes no whole frame for so long, is cut off; no limit if None.
    on_partial
        Called whenever what was received is held: a frame that is not whole or has to wait, and its descriptors.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[Frame], None],
        on_close: Callable[[str], None],
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
        *,
        decoder: Decoder | None = None,
        frame_limit_s: float | None = None,
        max_untaken_bytes: int | None = None,
        untaken_limit_s: float | None = None,
        on_partial: Callable[[], None] = lambda: None,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._on_frame = on_frame
        self._on_close = on_close
        self._decoder = decoder or Decoder()
        self._max_untaken_bytes = max_untaken_bytes
        self._on_partial = on_partial
        self._for_frame = Patience(loop, frame_limit_s, lambda: self._end("a message did not come whole"))
        self._for_taking = Patience(loop, untaken_limit_s, lambda: self._end("does not take its answers"))
        self._paused = False
        self._unsent: deque[_Unsent] = deque()
        self._unsent_bytes = 0
        self._max_unsent_bytes = max_unsent_bytes
        self._writing = False
        self._closing = False
        self.closed = False
        self.last_sent = loop.time()
        loop.add_reader(sock, self._readable)

    @property
    def unsent_bytes(self) -> int:
        """How much the peer has not taken yet."""
        return self._unsent_bytes

    @property
    def partial_bytes(self) -> int:
        """How much the peer has sent of frames that are not whole, or not handed over."""
        return self._decoder.partial_bytes

    @property
    def unclaimed_fds(self) -> int:
        """How many descriptors the peer has sent that no frame which was handed over has claimed."""
        return self._decoder.unclaimed_fds

    def send(self, message: Message, fds: list[int] | None = None) -> None:
        """Queue a frame; takes over `fds`, and closes them even when the connection has ended."""
        item = _Unsent(memoryview(b""), list(fds or []))
        if self.closed or self._closing:
            item.close()
            return
        try:
            item.data = memoryview(encode(message, len(item.fds)))
        except (WireError, ValueError):
            item.close()
            raise
        self._unsent.append(item)
        self._unsent_bytes += len(item.data)
        self.last_sent = self._loop.time()
        if self._unsent_bytes > self._max_unsent_bytes:
            self._end("does not read what it is sent")
            return
        if not self._writing:
            self._writable()
        self._limit_taking()

    def hear(self) -> None:
        """Receive now what the peer has sent, instead of when it is its turn."""
        if not (self.closed or self._closing or self._paused):
            self._readable()

    def close_when_sent(self) -> None:
        """Close as soon as everything queued is out; nothing more is sent or received."""
        self._closing = True
        self._decoder.close()
        self._for_frame.stop()
        if not self.closed:
            self._loop.remove_reader(self._sock)
            if not self._unsent:
                self.close()

    def close(self) -> None:
        """Close at once, without calling `on_close`."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        for item in self._unsent:
            item.close()
        self._unsent.clear()
        self._unsent_bytes = 0
        self._for_frame.stop()
        self._for_taking.stop()
        self._decoder.close()
        self._sock.close()

    def cut_off(self, reason: str) -> None:
        """Close at once for what the peer does; `on_close` is called with the reason."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.close()
            # Not from within send(): the sender may be half-way through its own bookkeeping.
            self._loop.call_soon(self._on_close, reason)

    def _readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                data, fds = receive_with_fds(self._sock, _READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except (OSError, WireError) as error:
                self._end(str(error))
                return
            if not data:
                self._end("closed by the other side")
                return
            self._decoder.put(data, fds)
            self._hand_over()
            if not (self.closed or self._closing) and (self.partial_bytes or self.unclaimed_fds):
                self._on_partial()
            if self.closed or self._closing or self._paused or len(data) < _READ_BYTES:
                return

    def _hand_over(self) -> None:
        """Hand over a turn's frames; the rest after the others' turns, and only then is more received."""
        end = self._loop.time() + TURN_S
        for _ in range(FRAMES_PER_TURN):
            if self.closed or self._closing or self._untaken or (frame := self._taken()) is None:
                break
            self._for_frame.stop()
            self._on_frame(frame)
            if self._loop.time() >= end:
                break
        if self.closed or self._closing:
            return
        if self._decoder.holds_whole:
            self._pause()
            return
        # None is whole; what is left has to be the beginning of one.
        self._taken()
        if self.partial_bytes and not self.closed:
            self._for_frame.start()

    def _taken(self) -> Frame | None:
        try:
            return self._decoder.take()
        except WireError as error:
            self._end(str(error))
            return None

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._loop.remove_reader(self._sock)
            # The peer is not to blame for what is not read now.
            self._for_frame.stop()
        if not self._untaken:
            self._loop.call_soon(self._go_on)

    @property
    def _untaken(self) -> bool:
        """Whether the peer has to take its answers before it is heard again."""
        return self._max_untaken_bytes is not None and self._unsent_bytes > self._max_untaken_bytes

    def _go_on(self) -> None:
        if self.closed or self._closing or not self._paused:
            return
        self._hand_over()
        if not (self.closed or self._closing or self._decoder.holds_whole):
            self._paused = False
            self._loop.add_reader(self._sock, self._readable)

    def _limit_taking(self) -> None:
        """Give the peer its time while it has more to take than one that merely stands still."""
        if self._unsent_bytes <= SMALL_UNTAKEN_BYTES:
            self._for_taking.stop()
        elif not self.closed:
            self._for_taking.start()

    def _writable(self) -> None:
        waited = self._untaken
        while self._unsent:
            item = self._unsent[0]
            try:
                sent = send_with_fds(self._sock, bytes(item.data[:_READ_BYTES]), item.fds)
            except (BlockingIOError, InterruptedError):
                self._watch_writing(True)
                return
            except OSError as error:
                self._end(error.strerror or "the connection broke")
                return
            item.close()
            item.data = item.data[sent:]
            self._unsent_bytes -= sent
            if not item.data:
                self._unsent.popleft()
                self._for_taking.stop()
            self._limit_taking()
            if waited and not self._untaken:
                waited = False
                self._loop.call_soon(self._go_on)
        self._watch_writing(False)
        if self._closing:
            self.close()

    def _watch_writing(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._sock, self._writable)
        elif not wanted and self._writing:
            self._loop.remove_writer(self._sock)
        self._writing = wanted

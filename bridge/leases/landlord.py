"""The machine's daemon as a user's own sees it: asked for devices, over a connection that is made again when lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Protocol

from cryobridge import __version__
from cryobridge.schemas.codes import AnyCode
from cryobridge.schemas.frames import FrameInvalid, TypedFrame
from cryobridge.schemas.leases import (
    TENANT,
    TO_TENANT,
    AskDevice,
    DeviceGranted,
    DeviceRefused,
    GoOn,
    ReturnDevice,
    StandAside,
    StoodAside,
)
from cryobridge.schemas.messages import GREETING, Heartbeat, Hello, Refused, Welcome
from cryobridge.schemas.wire import HEARTBEAT_S, PROTOCOL, SILENCE_LIMIT_S, Frame

from ..pool.connection import Connection

log = logging.getLogger(__name__)

RETRY_S = 1.0


class LeaseHearer(Protocol):
    """Who is told what becomes of leases."""

    def found(self) -> None:
        """The machine's daemon answers: whatever is wanted has to be asked for, anew where it was before."""

    def lost(self) -> None:
        """It does not answer any more; nothing may go on on its devices."""

    def granted(self, lease: str, device: str) -> None:
        """A job may begin."""

    def refused(self, lease: str, code: AnyCode, text: str) -> None:
        """A job gets no device, or has lost the one it had."""

    def leave(self, lease: str) -> None:
        """A job has to leave its device for a while."""

    def go_on(self, lease: str) -> None:
        """A job that left may go on."""


class Landlord:
    """The connection to the machine's daemon.

    Parameters
    ----------
    path
        Its socket.
    hearer
        Told of everything, on the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, hearer: LeaseHearer) -> None:
        self._loop = loop
        self._path = path
        self._hearer = hearer
        self._connection: Connection | None = None
        self._greeted = False
        self._heard_at = 0.0
        self._try_at = 0.0
        self._why = "it was not asked yet"
        self._closed = False

    @property
    def problem(self) -> str | None:
        """Why no device can be had now, or None."""
        return (
            None if self._greeted else f"no devices: the machine's daemon at {self._path} does not answer: {self._why}"
        )

    def tick(self, now: float) -> None:
        """Connect where that is lost, beat, and take silence for loss."""
        if self._closed:
            return
        if self._connection is None:
            if now >= self._try_at:
                self._connect(now)
        elif now - self._heard_at > SILENCE_LIMIT_S:
            self._connection.cut_off("it says nothing")
        elif self._greeted and now - self._connection.last_sent >= HEARTBEAT_S:
            self._send(Heartbeat())

    def forgive(self, seconds: float) -> None:
        """Do not count a time in which this process did not run as the other's silence."""
        self._heard_at += seconds

    def ask(self, frame: AskDevice) -> None:
        """Ask for a device; nothing happens while there is no connection, and `found` comes when there is."""
        self._send(frame)

    def give_back(self, lease: str) -> None:
        """Give a device, or the wish for one, up."""
        self._send(ReturnDevice(lease=lease))

    def stood_aside(self, lease: str) -> None:
        """Say that a job has left its device."""
        self._send(StoodAside(lease=lease))

    def close(self) -> None:
        """Hang up for good; whatever was lent is free then."""
        self._closed = True
        if self._connection is not None:
            self._connection.close_when_sent()
            self._connection = None

    # ---- inside

    def _send(self, frame: TypedFrame) -> None:
        if self._connection is not None and self._greeted:
            self._connection.send(frame.as_message())

    def _connect(self, now: float) -> None:
        self._try_at = now + RETRY_S
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(os.fspath(self._path))
        except OSError as error:
            sock.close()
            self._why = error.strerror or str(error)
            return
        self._heard_at = now
        self._connection = Connection(sock, self._loop, self._frame, self._lost)
        hello = Hello(protocol=PROTOCOL, client=TENANT, version=__version__, pid=os.getpid())
        self._connection.send(hello.as_message())

    def _frame(self, frame: Frame) -> None:
        frame.close()
        self._heard_at = self._loop.time()
        try:
            if self._greeted:
                self._hear(TO_TENANT.decode(frame.message))
            else:
                self._greet(GREETING.decode(frame.message))
        except FrameInvalid as error:
            self._part(f"it is of another version ({error})")

    def _greet(self, greeting: Welcome | Refused) -> None:
        if isinstance(greeting, Refused):
            self._part(greeting.text or str(greeting.code))
        elif greeting.protocol != PROTOCOL:
            self._part(f"it is of another version ({greeting.version}, this one {__version__})")
        else:
            self._greeted = True
            log.info("devices can be asked for", extra={"socket": str(self._path)})
            self._hearer.found()

    def _hear(self, word: DeviceGranted | DeviceRefused | StandAside | GoOn | Heartbeat) -> None:
        if isinstance(word, DeviceGranted):
            self._hearer.granted(word.lease, word.device)
        elif isinstance(word, DeviceRefused):
            self._hearer.refused(word.lease, word.code, word.text)
        elif isinstance(word, StandAside):
            self._hearer.leave(word.lease)
        elif isinstance(word, GoOn):
            self._hearer.go_on(word.lease)

    def _part(self, why: str) -> None:
        if self._connection is not None:
            self._connection.cut_off(why)

    def _lost(self, why: str) -> None:
        was, self._greeted = self._greeted, False
        self._connection, self._why = None, why
        self._try_at = self._loop.time() + RETRY_S
        if was:
            log.warning("the machine's daemon is gone; jobs wait", extra={"socket": str(self._path), "reason": why})
            with contextlib.suppress(RuntimeError):
                self._hearer.lost()

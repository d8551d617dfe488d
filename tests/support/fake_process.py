"""Workers made of thin air for tests of pools: the other end of a socket, and what was sent to a process."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from cryobridge.bridge.pool.place import Task
from cryobridge.schemas.wire import Channel, Message
from cryobridge.schemas.worker_messages import TaskSaying


class FakeProcess:
    """The other end of a worker's socket, and what was sent to its process."""

    def __init__(self, device: str, sock: socket.socket) -> None:
        self.device = device
        self.channel = Channel(sock.dup())
        self.pid = 4242
        self.signals: list[int] = []
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)
        if sig == signal.SIGKILL and self.status is None:
            self.status = -signal.SIGKILL

    def say(self, kind: str, **fields: Any) -> None:
        self.channel.send({"type": kind, **fields})

    def heard(self) -> list[Message]:
        frames = []
        while True:
            try:
                frame = self.channel.receive(0.01)
            except TimeoutError:
                return frames
            frames.append({**frame.message, "n_fds": len(frame.fds)})
            frame.close()

    def exit(self, status: int) -> None:
        self.status = status
        self.channel.close()


class NotingOwner:
    def __init__(self) -> None:
        self.frames: list[TaskSaying] = []
        self.lost: list[tuple[str, str, str]] = []

    def task_frame(self, task: Task, frame: TaskSaying) -> None:
        self.frames.append(frame)

    def task_lost(self, task: Task, code: str, text: str) -> None:
        self.lost.append((task.id, code, text))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)

"""A daemon that answers from a table, for tests of what talks to one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryobridge import __version__
from cryobridge.schemas import wire

Answer = Callable[[wire.Message], wire.Message | list[wire.Message] | None]


class ScriptedDaemon:
    """Listens on a socket; `answers` maps request types to replies (None: hang up), `requests` is what came."""

    def __init__(self, path: Path, welcome: wire.Message | None = None) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        self.requests: list[wire.Message] = []
        self.welcome: wire.Message = {
            "type": "welcome",
            "protocol": wire.PROTOCOL,
            "version": __version__,
            "daemon_id": "test",
            "pid": 1,
            "state": "ready",
            **(welcome or {}),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def replies(self, type_: str, **fields: Any) -> None:
        """Always answer a type of request with these fields."""
        self.answers[type_] = lambda _request: {"type": "reply", "ok": True, **fields}

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(wire.Channel(connection),), daemon=True).start()

    def _talk(self, channel: wire.Channel) -> None:
        with contextlib.suppress(wire.WireError, TimeoutError):
            self._converse(channel)
        channel.close()

    def _converse(self, channel: wire.Channel) -> None:
        assert channel.receive(5).type == "hello"
        channel.send(self.welcome)
        while True:
            request = channel.receive(5).message
            self.requests.append(request)
            answer = self.answers.get(request["type"], _unknown)(request)
            if answer is None:
                return
            for message in answer if isinstance(answer, list) else [answer]:
                channel.send(message)


def _unknown(request: wire.Message) -> wire.Message:
    return {"type": "error", "code": "rejected", "text": f"no answer to {request['type']}"}


@contextlib.contextmanager
def scripted_daemon(path: Path, **welcome: Any) -> Iterator[ScriptedDaemon]:
    """A scripted daemon for the length of a block."""
    daemon = ScriptedDaemon(path, welcome)
    try:
        yield daemon
    finally:
        daemon.close()

"""What an operator sees of a daemon, put together: news, their feed, the figures, and the answers made from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from cryobridge import __version__
from cryobridge.schemas.config import Loaded, settings
from cryobridge.schemas.job import user_kinds
from cryobridge.schemas.wire import Message

from ..gpus import ListGpus, nvidia_gpus
from ..queue.store import Store
from ..queue.submitted import JobQueue
from ..refinements.ledger import Books
from ..refinements.pairing import Sessions
from .aside import Aside
from .feed import Feed, ToldLedger
from .health import Health
from .metrics import Metrics
from .metrics_file import WRITE_EVERY_S, MetricsFile
from .news import News
from .rights import Rights
from .views import DaemonViews

_LAST_WRITE_S = 1.0


class DeviceMemory:
    """Total and free bytes of GPUs, as the driver last said.

    Parameters
    ----------
    devices
        As workers name them; only those on a GPU are asked about.
    list_gpus
        Asks the driver, which may take its time.
    """

    def __init__(self, devices: Sequence[str], list_gpus: ListGpus = nvidia_gpus) -> None:
        self._wanted = frozenset(device for device in devices if device.startswith("cuda"))
        self._list_gpus = list_gpus
        self._known: dict[str, tuple[int, int]] = {}

    def known(self) -> Mapping[str, tuple[int, int]]:
        """Total and free bytes by device."""
        return self._known

    def ask(self) -> None:
        """Ask the driver."""
        if self._wanted:
            found = {f"cuda:{gpu.uuid}": (gpu.total_bytes, gpu.free_bytes) for gpu in self._list_gpus()}
            self._known = {device: found[device] for device in self._wanted if device in found}


class Outlook:
    """The part of the daemon that tells of the others.

    Made in two steps, because it hears of refinements through the ledger that they are given.

    Parameters
    ----------
    loaded
        The configuration, with where each value came from.
    rights
        Who sees what.
    books
        Where iterations are booked.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, loaded: Loaded, rights: Rights, store: Store, books: Books
    ) -> None:
        self._clock = loop.time
        self._store = store
        self._loaded = loaded
        self._rights = rights
        self.news = News(rights, loop.time)
        self.ledger = ToldLedger(books, self.news, loop.time)
        self._metrics = Metrics(self.news, user_kinds(), __version__)
        path = loaded.config.metrics_file
        self._file = None if path is None else MetricsFile(path.absolute())
        self._writing = Aside(self._write, WRITE_EVERY_S)
        self._text = ""

    def attach(
        self,
        jobs: JobQueue,
        sessions: Sessions,
        devices: Sequence[str],
        status: Callable[[], Message],
        health: Callable[[], Health],
    ) -> DaemonViews:
        """Take the parts that there is to tell of; returns what answers for them."""
        memory = DeviceMemory(devices)
        self._asking = Aside(memory.ask, WRITE_EVERY_S)
        self._feed = Feed(self.news, self._store, jobs, sessions, status, health, memory.known)
        return DaemonViews(
            self.news,
            self._rights,
            sessions,
            self._feed.counts,
            status,
            health,
            self._metrics.text,
            settings(self._loaded),
        )

    def start(self) -> None:
        """Begin, with what is booked by then."""
        self._feed.start()

    def tick(self, now: float) -> None:
        """Look around, and write the file when it is time."""
        self._feed.tick()
        self._asking.tick(now)
        if self._file is not None and self._writing.is_due(now):
            self._text = self._metrics.text()
            self._writing.tick(now)

    def close(self) -> None:
        """Take the file away."""
        self._writing.wait(_LAST_WRITE_S)
        if self._file is not None:
            self._file.remove()

    def _write(self) -> None:
        if self._file is not None:
            self._file.write(self._text)

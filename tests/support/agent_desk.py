"""An agent beside a stand-in server, in a thread or step by step with a clock of a test's own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryobridge.wrappers.cryosparc.agent.agent import Agent, AgentSettings
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions
from cryobridge.wrappers.cryosparc.server import CryosparcServer
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server

from .card_user import CardUser
from .cryosparc import EMAIL, PASSWORD, QUICK, Standin, surroundings
from .fake_pool import Clock
from .quick_daemon import QuickDaemon

VOLUME = {"volume": Source("J1", "volume")}


class AgentDesk:
    """A server, its user, a daemon, and agents that share a memory unless they are of another name."""

    def __init__(self, standin: Standin, folder: Path, takes_s: float = 0.0) -> None:
        self.standin = standin
        self.folder = folder
        self.server = V5Server(standin.url, EMAIL, PASSWORD, timeout_s=10.0)
        self.user = CardUser(self.server)
        self.daemon = QuickDaemon(takes_s)
        self.clock = Clock()

    def card(
        self,
        project: str = "P1",
        *,
        kind: str = "map.fsc3d",
        auto: bool = False,
        connected: bool = True,
        go: bool = False,
    ) -> CardId:
        """A card of the sample's refinement; with a go sign, or without."""
        asked = CardOptions(kind, go="when_connected" if auto else "tag")
        card = new_card(self.server, project, "W1", asked, VOLUME if connected else {}, "cryobridge", QUICK)
        if go:
            self.user.tag(card)
        return card

    def agent(
        self,
        projects: tuple[str, ...] = ("P1",),
        *,
        memory: str = "memory",
        server: CryosparcServer | None = None,
        daemon: Any = None,
        clock: Callable[[], float] | None = None,
        **settings: Any,
    ) -> Agent:
        around = surroundings(server or self.server, daemon or self.daemon, self.folder / memory)
        asked = AgentSettings(projects, **{"poll_s": 0.05, **settings})
        return Agent(asked, around, clock or time.monotonic)

    def status(self, card: CardId) -> str:
        return str(self.standin.job(card).status)

    def calls(self) -> Counter[str]:
        """Calls to the server since this was asked last."""
        found = Counter(one["op"] for one in self.standin.state.calls)
        self.standin.state.calls.clear()
        return found

    def until(self, card: CardId, status: str, seconds: float = 20.0) -> None:
        wait_for(
            lambda: self.status(card) == status, seconds, lambda: f"{self.status(card)}: {self.standin.said(card)}"
        )


@contextmanager
def at_work(agent: Agent) -> Iterator[threading.Thread]:
    """Run an agent in a thread, and stop it."""
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        agent.stop()
        thread.join(20)
        assert not thread.is_alive()


def finish_threads(agent: Agent) -> None:
    """Wait for what an agent has begun."""
    for thread in list(agent._threads.values()):
        thread.join(20)


def wait_for(happened: Callable[[], bool], seconds: float = 20.0, told: Callable[[], str] = lambda: "") -> None:
    """Wait until something has happened; fail where it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, told()
        time.sleep(0.01)

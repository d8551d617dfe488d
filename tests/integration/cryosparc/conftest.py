"""A stand-in server for each test, and a bridge to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agent_desk import AgentDesk
from support.cryosparc import EMAIL, PASSWORD, QUICK, DirectDaemon, Standin, surroundings

from cryobridge.wrappers.cryosparc.card.card_run import CardRun, End
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server


@dataclass
class Bench:
    """A server, a client of it, a daemon, and a folder for what is remembered."""

    standin: Standin
    server: V5Server
    daemon: DirectDaemon
    folder: Path

    def card(self, kind: str = "map.fsc3d", project: str = "P1", **options: object) -> CardId:
        """A card connected to the sample's refinement."""
        asked = CardOptions(kind, options=dict(options))
        return new_card(self.server, project, "W1", asked, {"volume": Source("J1", "")}, "cryobridge", QUICK)

    def run(self, card: CardId, **changes: object) -> End:
        """Bring a card to its end, as a new process would."""
        around = surroundings(self.server, self.daemon, self.folder, **changes)
        with around.memory.held(card) as held:
            assert held is not None
            return CardRun(around, held).run()

    def remembered(self) -> list[CardId]:
        """Cards that are not at their ends."""
        return surroundings(self.server, self.daemon, self.folder).memory.cards()


@pytest.fixture
def make_bench(shared: Path, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench; what `Standin` takes may be given."""
    made: list[Standin] = []

    def make(**how: object) -> Bench:
        standin = Standin(shared, tmp_path / f"server{len(made)}", **how)  # type: ignore[arg-type]
        made.append(standin)
        server = V5Server(standin.url, EMAIL, PASSWORD, timeout_s=10.0)
        return Bench(standin, server, DirectDaemon(), tmp_path / f"memory{len(made)}")

    yield make
    for one in made:
        one.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with one project."""
    return make_bench()


@pytest.fixture
def desk(shared: Path, tmp_path: Path) -> Iterator[AgentDesk]:
    """A desk with three projects."""
    standin = Standin(shared, tmp_path / "server", projects=3)
    yield AgentDesk(standin, tmp_path)
    standin.close()

"""A fake CryoSPARC 4 for each scenario, and a bridge to it."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cryosparc import QUICK, DirectDaemon, surroundings
from support.cryosparc_v4 import LICENSE, FakeV4
from support.cryosparc_v4_deeds import EMAIL, PASSWORD

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.wrappers.cryosparc.card.card_run import CardRun, End
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions, Go
from cryobridge.wrappers.cryosparc.v4.adapter import V4Server
from cryobridge.wrappers.cryosparc.v4.login import V4Login
from cryobridge.wrappers.cryosparc.v4.made_cards import MadeCards

Scenario = Callable[["V4Bench"], None]


@dataclass
class V4Bench:
    """A fake server, a client of it, a daemon, and a folder for what is remembered."""

    fake: FakeV4
    folder: Path
    daemon: DirectDaemon

    def __post_init__(self) -> None:
        self.made = MadeCards(self.folder / "made")
        self.server = self.another()

    def another(self, timeout_s: float = 10.0) -> V4Server:
        """A client, as another process has it."""
        return V4Server(self.fake.url, V4Login(LICENSE, EMAIL, PASSWORD), self.made, timeout_s=timeout_s)

    def card(self, kind: str = "map.fsc3d", go: Go = "tag", source: str = "volume", **options: object) -> CardId:
        """A card connected to an output of the sample's refinement."""
        asked = CardOptions(kind, go, options=dict(options))
        return new_card(
            self.server, "P1", "W1", asked, {source: Source("J1", source)}, "cryobridge", QUICK, short_sleep
        )

    def run(self, card: CardId, **changes: object) -> End:
        """Bring a card to its end."""
        around = surroundings(self.server, self.daemon, self.folder / "memory", **changes)
        with around.memory.held(card) as held:
            assert held is not None
            return CardRun(around, held).run()

    def status(self, card: CardId) -> str:
        """As the server has it."""
        return str(self.fake.jobs[card.job]["status"])


def short_sleep(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


@contextlib.contextmanager
def raises(kind: type[CryobridgeError], *words: str) -> Iterator[None]:
    """Expect an error of ours, in one sentence with these words."""
    with pytest.raises(kind) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text, text
    assert all(word in text for word in words), text
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))

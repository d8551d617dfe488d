"""An agent or a daemon that is killed at any instant costs no card: each is completed, whole, and there only once."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.card_user import CardUser
from support.cryosparc import EMAIL, PASSWORD, QUICK, Standin
from support.cryosparc_station import Station

from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.shared]

KILLS = int(os.environ.get("CRYOBRIDGE_CARD_KILLS", "10"))
SEED = int(os.environ.get("CRYOBRIDGE_KILL_SEED", str(random.SystemRandom().randrange(10**6))))
AGENT = [sys.executable, str(Path(__file__).with_name("agent_that_looks_often.py"))]


@pytest.fixture
def station(shared: Path, private_runtime: Any, tmp_path: Path) -> Iterator[Station]:
    """A daemon and an agent beside a stand-in."""
    standin = Standin(shared, tmp_path / "server")
    made = Station(standin, tmp_path / "station", AGENT)
    made.log_in()
    made.start_daemon()
    made.start_agent()
    yield made
    made.end()
    standin.close()


@pytest.mark.timeout(1800)
def test_no_card_is_lost_or_doubled_or_completed_wrongly(station: Station) -> None:
    """The instants are random, over the length of a card and a little more."""
    standin, instants = station.standin, random.Random(SEED)
    server = V5Server(standin.url, EMAIL, PASSWORD)
    begun = time.monotonic()
    first = _begun_card(server)
    station.wait(lambda: _ended(standin, first), "the first card does not end")
    length_s = time.monotonic() - begun
    killed = {"agent": 0, "daemon": 0}
    for kill in range(KILLS):
        card = _begun_card(server)
        time.sleep(instants.uniform(0, 1.3 * length_s))
        which = instants.choice(["agent", "daemon"])
        killed[which] += 1
        at = standin.job(card).status
        station.kill(which)
        station.start_agent() if which == "agent" else station.start_daemon()
        told = f"seed {SEED}, kill {kill} of the {which}, {card} was {at}"
        station.wait(lambda card=card: _ended(standin, card), f"{told}: it does not end")
        assert standin.job(card).status == "completed", f"{told}\n{standin.said(card)}"
        _check_whole(server, standin, card)
        assert len(standin.state.jobs) == 3 + kill, f"{told}: another card appeared"
    print(f"seed {SEED}: {killed}, a card lasts {length_s:.1f} s")
    assert standin.log_of(CardId("P1", "J2"))


def _begun_card(server: V5Server) -> CardId:
    card = new_card(server, "P1", "W1", CardOptions("map.fsc3d"), {"volume": Source("J1", "")}, "cryobridge", QUICK)
    CardUser(server).retitle(card, "go")
    return card


def _ended(standin: Standin, card: CardId) -> bool:
    return standin.job(card).status in ("completed", "failed", "killed")


def _check_whole(server: V5Server, standin: Standin, card: CardId) -> None:
    """What it says is there is there: the output's volume, its log's pictures each once, the tile."""
    path = str(server.load_output(card, "fsc3d")["map/path"][0])
    mrc.read(standin.project() / path)
    titles = [event.text for event in standin.log_of(card) if event.type == "image"]
    assert titles
    # One that was being sent when the agent was killed may be there twice; more than one may not.
    assert len(titles) - len(set(titles)) <= 1
    assert standin.job(card).ui_tile_images
    assert standin.said(card).count("failed") == 0

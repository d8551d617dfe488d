"""Many cards on one agent: projects take turns, and the bound on cards at a time is shared by them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.agent_desk import AgentDesk, at_work, finish_threads, wait_for
from support.cryosparc import Standin

from cryobridge.wrappers.cryosparc.agent import agent as agent_module
from cryobridge.wrappers.cryosparc.agent.turns import Turns
from cryobridge.wrappers.cryosparc.card.memory import Memory
from cryobridge.wrappers.cryosparc.documents import CardId

pytestmark = pytest.mark.shared


@pytest.fixture
def make_desk(shared: Path, tmp_path: Path) -> Iterator[Callable[[float], AgentDesk]]:
    standin = Standin(shared, tmp_path / "server", projects=3)
    yield lambda takes_s: AgentDesk(standin, tmp_path, takes_s)
    standin.close()


def test_fifty_cards_of_three_projects_take_turns() -> None:
    turns = Turns(1)
    order: list[str] = []
    cards = [CardId(f"P{n}", f"J{m}") for n, count in ((1, 40), (2, 5), (3, 5)) for m in range(1, count + 1)]

    def have_a_turn(card: CardId) -> None:
        with turns(card, lambda _: None):
            order.append(card.project)

    threads = [threading.Thread(target=have_a_turn, args=(card,), daemon=True) for card in cards]
    with turns(CardId("P1", "J99"), lambda _: None):
        for thread in threads:
            thread.start()
        wait_for(lambda: sum(map(len, turns._lines.values())) == 50)
    for thread in threads:
        thread.join(20)
    # Whoever came first, the five of a small project are among the first fifteen.
    assert [set(order[place : place + 3]) for place in range(0, 15, 3)] == [{"P1", "P2", "P3"}] * 5
    assert set(order[15:]) == {"P1"}
    assert len(order) == 50


@pytest.mark.slow
def test_cards_of_three_projects_are_all_done_and_each_once(make_desk: Callable[[float], AgentDesk]) -> None:
    desk = make_desk(0.02)
    cards = [desk.card(project, go=True) for project, count in (("P1", 9), ("P2", 2), ("P3", 2)) for _ in range(count)]
    with at_work(desk.agent(("P1", "P2", "P3"))):
        for card in cards:
            desk.until(card, "completed", 60)
    assert len(desk.daemon.specs) == len(cards)
    for card in cards:
        assert desk.standin.said(card).count("by cryobridge on") == 1


def test_a_small_project_finds_room_beside_a_large_one(
    make_desk: Callable[[float], AgentDesk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "MOST_CARDS", 4)
    desk = make_desk(60.0)
    for _ in range(6):
        desk.card("P1", go=True)
    agent = desk.agent(("P1", "P2"))
    agent.look()
    assert len(agent._threads) == 2, "its share"
    small = desk.card("P2", go=True)
    agent.look()
    assert small in agent._threads
    agent.look()
    assert len(agent._threads) == 3
    agent.stop()
    finish_threads(agent)


def test_those_beyond_the_bound_begin_later(
    make_desk: Callable[[float], AgentDesk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "MOST_CARDS", 2)
    desk = make_desk(0.0)
    cards = [desk.card(go=True) for _ in range(5)]
    agent = desk.agent()
    agent.look()
    assert len(agent._threads) == 2
    with at_work(agent):
        for card in cards:
            desk.until(card, "completed")


def test_what_the_daemon_has_already_goes_on_first_after_a_restart(make_desk: Callable[[float], AgentDesk]) -> None:
    desk = make_desk(1.0)
    cards = [desk.card(go=True) for _ in range(4)]
    agent = desk.agent(at_once=1)
    with at_work(agent):
        wait_for(lambda: len(desk.daemon.began) == 1)
        wait_for(lambda: all(desk.status(card) in ("running", "waiting") for card in cards))
    (begun,) = (CardId(*name.split("-")[1:3]) for name in desk.daemon.began)
    desk.daemon.takes_s = 30.0
    with at_work(desk.agent(at_once=1)):
        # The others come before it in no line: it is done, and is not held up by the next that takes long.
        desk.until(begun, "completed", 10)
    assert set(Memory(desk.folder / "memory").cards()) == set(cards) - {begun}

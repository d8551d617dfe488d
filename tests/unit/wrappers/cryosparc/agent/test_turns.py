"""Whose turn it is: so many at a time, projects in turn, nobody left behind, nobody in the line who has left it."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.wrappers.cryosparc.agent import turns as module
from cryobridge.wrappers.cryosparc.agent.turns import Turns
from cryobridge.wrappers.cryosparc.documents import CardId

PATIENCE_S = 20.0


class Bench:
    """Cards that wait for turns in threads, and have them for as long as the test wants."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.order: list[CardId] = []
        self.now: set[CardId] = set()
        self.most = 0
        self.places: dict[CardId, int] = {}
        self.changed = threading.Condition()
        self.go = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def enter(self, card: CardId) -> None:
        """Put a card into the line; back when it waits or has its turn."""
        thread = threading.Thread(target=self._work, args=(card,))
        self.threads.append(thread)
        thread.start()
        with self.changed:
            assert self.changed.wait_for(lambda: card in self.places or card in self.order, PATIENCE_S)

    def _work(self, card: CardId) -> None:
        with self.turns(card, lambda place: self._note(card, place)):
            with self.changed:
                self.order.append(card)
                self.now.add(card)
                self.most = max(self.most, len(self.now))
                self.changed.notify_all()
            assert self.go.acquire(timeout=PATIENCE_S)
            with self.changed:
                self.now.discard(card)

    def _note(self, card: CardId, place: int) -> None:
        with self.changed:
            self.places[card] = place
            self.changed.notify_all()

    def end(self) -> None:
        for _ in self.threads:
            self.go.release()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_S", 0.01)


def cards(names: str) -> list[CardId]:
    """Cards of the projects in this text, in its order: "aab" is P-a's first, P-a's second, P-b's first."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(CardId(f"P{name}", f"J{seen[name]}"))
    return found


def fair(line: list[CardId]) -> list[CardId]:
    """The order by the rule: the first has its turn at once; then projects in turn, the one just served last."""
    left: dict[str, list[CardId]] = {}
    for card in line[1:]:
        left.setdefault(card.project, []).append(card)
    order, projects = [line[0]], list(dict.fromkeys(card.project for card in line))
    projects.append(projects.pop(0))
    while any(left.values()):
        name = next(one for one in projects if left.get(one))
        order.append(left[name].pop(0))
        projects.remove(name)
        projects.append(name)
    return order


def test_fifty_cards_of_one_project_do_not_stop_anothers() -> None:
    bench, line = Bench(1), cards("a" * 50 + "b")
    for card in line:
        bench.enter(card)
    bench.end()
    assert bench.order[:2] == [CardId("Pa", "J1"), CardId("Pb", "J1")]
    assert [card for card in bench.order if card.project == "Pa"] == line[:50]


@settings(max_examples=25, deadline=None)
@given(st.text("abc", min_size=1, max_size=12))
def test_projects_take_turns_and_everybody_has_one(names: str) -> None:
    bench, line = Bench(1), cards(names)
    for card in line:
        bench.enter(card)
    bench.end()
    assert bench.order == fair(line)
    assert bench.most == 1


@settings(max_examples=10, deadline=None)
@given(st.text("ab", min_size=1, max_size=12), st.integers(1, 4))
def test_so_many_have_a_turn_at_a_time_and_no_more(names: str, at_once: int) -> None:
    bench, line = Bench(at_once), cards(names)
    for card in line:
        bench.enter(card)
    with bench.changed:
        assert bench.changed.wait_for(lambda: len(bench.now) == min(at_once, len(line)), PATIENCE_S)
    bench.end()
    assert sorted(bench.order) == sorted(line)
    assert bench.most == min(at_once, len(line))


def test_a_place_is_told_and_is_the_number_of_turns_before_it() -> None:
    bench, line = Bench(1), cards("aaab")
    for card in line:
        bench.enter(card)
    with bench.changed:
        assert bench.changed.wait_for(lambda: [bench.places.get(card) for card in line[1:]] == [2, 3, 1], PATIENCE_S)
    bench.end()


def test_one_that_is_not_wanted_any_more_leaves_the_line_and_the_others_move_up() -> None:
    bench, (first, second, third) = Bench(1), cards("aaa")
    bench.enter(first)
    leaves = threading.Event()
    ended: list[BaseException] = []

    def unwanted(_: int) -> None:
        if leaves.is_set():
            raise RuntimeError("killed by its user")

    def wait() -> None:
        try:
            with bench.turns(second, unwanted):
                raise AssertionError("it must not have a turn")
        except RuntimeError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    with bench.changed:
        bench.changed.wait(0.05)
    bench.enter(third)
    leaves.set()
    thread.join(PATIENCE_S)
    assert [str(one) for one in ended] == ["killed by its user"]
    with bench.changed:
        assert bench.changed.wait_for(lambda: bench.places[third] == 1, PATIENCE_S)
    bench.end()
    assert bench.order == [first, third]


def test_a_turn_ends_with_an_error_too() -> None:
    turns = Turns(1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), turns(CardId("P1", "J1"), lambda _: None):
            raise KeyboardInterrupt
    with turns(CardId("P1", "J2"), lambda _: None):
        pass

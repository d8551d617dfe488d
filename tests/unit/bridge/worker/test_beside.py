"""A long call in a thread lets its worker go on, and gives what it would have given."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from cryobridge.bridge.worker.beside import beside

LONGEST_S = 20.0


def test_steps_are_made_until_the_work_is_done() -> None:
    go_on = threading.Event()
    found = []

    def taking() -> Generator[None, None, None]:
        found.append((yield from beside(lambda: (go_on.wait(LONGEST_S), threading.current_thread())[1])))

    steps = taking()
    next(steps)
    next(steps)
    assert found == []
    go_on.set()
    list(steps)
    assert found != [threading.current_thread()]


def test_what_the_work_raises_is_raised_as_it_is() -> None:
    error = ValueError("no such thing")

    def work() -> None:
        raise error

    with pytest.raises(ValueError, match="no such thing") as raised:
        list(beside(work))
    assert raised.value is error


def test_work_that_is_given_up_holds_nobody_up_and_the_next_begins_after_it() -> None:
    go_on, order = threading.Event(), []

    def first() -> None:
        go_on.wait(LONGEST_S)
        order.append("first")

    given_up, never, last = beside(first), beside(lambda: order.append("never")), beside(lambda: order.append("last"))
    for steps in (given_up, never):
        next(steps)
        steps.close()
    assert order == []
    next(last)
    go_on.set()
    list(last)
    assert order == ["first", "last"]

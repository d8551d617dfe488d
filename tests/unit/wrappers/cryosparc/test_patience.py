"""Every wait ends: for a server that is away, for a login, for both in turn; on a clock that only the tests move."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_cryosparc import FakeCryosparc

from cryobridge.wrappers.cryosparc.patience import CardPatience, insist
from cryobridge.wrappers.cryosparc.server import NotLoggedIn, ServerRefused, Unreachable

SHORT = CardPatience(server_s=100.0, login_s=1000.0, pause_s=1.0, longest_pause_s=8.0)


class Clock:
    """Moves when somebody sleeps, and by what a call takes."""

    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def failing(*errors: Exception, takes_s: float = 0.0, clock: Clock | None = None) -> Callable[[], str]:
    """A call that fails so often, then gives "done"."""
    left: Iterator[Exception] = iter(errors)

    def call() -> str:
        if clock is not None:
            clock.now += takes_s
        for error in left:
            raise error
        return "done"

    return call


def insisted(call: Callable[[], str], clock: Clock, server: FakeCryosparc | None = None, **how: object) -> str:
    return insist(server or FakeCryosparc(), call, SHORT, clock=clock, sleep=clock.sleep, **how)  # type: ignore[arg-type]


def test_what_works_is_done_once_and_nothing_is_waited_for() -> None:
    clock = Clock()
    assert insisted(failing(), clock) == "done"
    assert clock.slept == []


def test_pauses_grow_up_to_the_longest() -> None:
    clock = Clock()
    assert insisted(failing(*[Unreachable("gone")] * 6), clock) == "done"
    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_refusal_is_final_at_once() -> None:
    clock = Clock()
    with pytest.raises(ServerRefused, match="no"):
        insisted(failing(ServerRefused("no")), clock)
    assert clock.slept == []


@pytest.mark.parametrize(("error", "bound"), [(Unreachable, SHORT.server_s), (NotLoggedIn, SHORT.login_s)])
def test_a_wait_for_what_never_comes_ends_in_its_bound(error: type[Exception], bound: float) -> None:
    clock = Clock()
    with pytest.raises(error, match="for ever"):
        insisted(failing(*[error("for ever")] * 10_000), clock)
    assert bound - SHORT.longest_pause_s <= clock.now - 50.0 <= bound


def test_a_server_that_takes_its_time_to_fail_is_in_the_bound_too() -> None:
    clock = Clock()
    with pytest.raises(Unreachable):
        insisted(failing(*[Unreachable("slow")] * 10_000, takes_s=60.0, clock=clock), clock)
    assert clock.now - 50.0 <= SHORT.server_s + 2 * 60.0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([Unreachable, NotLoggedIn]), min_size=1, max_size=6))
def test_failures_of_both_sorts_in_any_order_end_too(kinds: list[type[Exception]]) -> None:
    clock = Clock()
    errors = (kind("for ever") for kind in itertools.cycle(kinds))
    with pytest.raises((Unreachable, NotLoggedIn)):
        insisted(failing(*itertools.islice(errors, 5_000)), clock)
    assert clock.now - 50.0 <= SHORT.login_s + SHORT.server_s


def test_a_connection_that_breaks_after_a_long_wait_for_a_login_is_waited_for_as_ever() -> None:
    """Work that was kept for hours until somebody logged in is not lost by one lost packet then."""
    clock = Clock()
    errors = [*[NotLoggedIn("expired")] * 60, Unreachable("one packet")]
    assert insisted(failing(*errors), clock) == "done"
    assert clock.now - 50.0 > SHORT.server_s


def test_the_login_is_renewed_before_each_further_try() -> None:
    server, clock = FakeCryosparc(), Clock()
    assert insisted(failing(NotLoggedIn("expired"), NotLoggedIn("still")), clock, server) == "done"
    assert server.renewals == 2


@pytest.mark.parametrize("error", [NotLoggedIn("no token"), Unreachable("away"), ServerRefused("no", 400)])
def test_a_renewal_that_fails_is_tried_again(error: Exception) -> None:
    server, clock = FakeCryosparc(), Clock()
    server.faults["renew"] = [error]
    assert insisted(failing(NotLoggedIn("expired"), NotLoggedIn("still")), clock, server) == "done"
    assert server.calls == ["renew", "renew"]


def test_what_nobody_wants_any_more_is_not_insisted_on() -> None:
    clock = Clock()
    with pytest.raises(Unreachable):
        insisted(failing(*[Unreachable("gone")] * 9), clock, given_up=lambda: len(clock.slept) >= 2)
    assert clock.slept == [1.0, 2.0]


def test_as_it_ships_no_wait_is_longer_than_a_day_and_an_hour() -> None:
    plain = CardPatience()
    assert 60 <= plain.server_s <= 3600
    assert 3600 <= plain.login_s <= 24 * 3600
    assert 60 <= plain.daemon_s <= 3600

"""The same seed is the same schedule."""

from __future__ import annotations

from soak.deeds.deed import Deed
from soak.schedule import CYCLE, DEADLY, schedule

DEEDS = {
    name: Deed(name, lambda stage, dice: "", weight, deadly)
    for name, weight, deadly in (("kill", 2, True), ("talk", 1, False), ("fill", 3, False))
}


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another():
    assert schedule(1, 300, DEEDS, 1.5) == schedule(1, 300, DEEDS, 1.5)
    assert schedule(1, 300, DEEDS, 1.5) != schedule(2, 300, DEEDS, 1.5)


def test_a_short_run_is_the_beginning_of_a_long_one():
    short, long = schedule(3, 60, DEEDS, 1.5), schedule(3, 600, DEEDS, 1.5)
    assert 0 < len(short) < len(long)
    assert long[: len(short)] == short


def test_every_round_holds_every_deed_and_the_last_of_a_cycle_no_deadly_one():
    names = [one.deed for one in schedule(4, 600, DEEDS, 1.5)]
    calm = ["talk"] + ["fill"] * 3
    deadly = [*calm, "kill", "kill"]
    for round_number in range(2 * CYCLE):
        expected = deadly if round_number % CYCLE in DEADLY else calm
        assert sorted(names[: len(expected)]) == sorted(expected)
        del names[: len(expected)]

"""The same seed is the same schedule."""

from __future__ import annotations

from soak.deeds.deed import Deed
from soak.schedule import schedule

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


def test_every_round_holds_every_deed_and_deadly_ones_come_in_every_fifth():
    names = [one.deed for one in schedule(4, 600, DEEDS, 1.5)]
    calm = ["talk"] + ["fill"] * 3
    assert sorted(names[:6]) == sorted(["kill"] * 2 + calm)
    for begin in (6, 10, 14, 18):
        assert sorted(names[begin : begin + 4]) == sorted(calm)
    assert "kill" in names[22:28]

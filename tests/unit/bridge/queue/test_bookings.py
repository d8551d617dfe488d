"""Changes that could not be made are made later, in their order and once."""

from __future__ import annotations

from support.fake_pool import Clock

from cryobridge.bridge.queue.bookings import RETRY_S, Bookings
from cryobridge.bridge.queue.store import StoreUnavailable, WrongTransition


class Disk:
    def __init__(self) -> None:
        self.full = False
        self.made: list[str] = []
        self.tries = 0

    def write(self, text: str) -> str:
        self.tries += 1
        if self.full:
            raise StoreUnavailable("disk is full")
        self.made.append(text)
        return text


def test_a_change_is_made_at_once_and_told():
    disk, told = Disk(), []
    bookings = Bookings(Clock())
    bookings.book(lambda: disk.write("a"), told.append)
    assert (disk.made, told, bookings.problem) == (["a"], ["a"], None)


def test_changes_wait_in_their_order_while_the_disk_is_full_and_are_made_once_it_has_room():
    disk, told, clock = Disk(), [], Clock()
    bookings = Bookings(clock)
    disk.full = True
    for text in "abc":
        bookings.book(lambda text=text: disk.write(text), told.append)
    assert (told, bookings.problem) == ([], "disk is full")
    assert disk.tries == 1, "a full disk is not asked for every change"
    clock.now += RETRY_S
    bookings.tick(clock())
    assert disk.tries == 2
    disk.full = False
    bookings.tick(clock())
    assert told == [], "asked again too soon"
    clock.now += RETRY_S
    bookings.tick(clock())
    assert (disk.made, told, bookings.problem) == (list("abc"), list("abc"), None)


def test_what_is_booked_while_others_are_told_comes_after_what_waits():
    disk, clock = Disk(), Clock()
    bookings = Bookings(clock)
    disk.full = True
    bookings.book(lambda: disk.write("a"), lambda _: bookings.book(lambda: disk.write("c")))
    bookings.book(lambda: disk.write("b"))
    disk.full = False
    clock.now += RETRY_S
    bookings.tick(clock())
    assert disk.made == list("abc")


def test_a_forbidden_change_is_dropped_and_keeps_none_from_being_made():
    disk, told = Disk(), []

    def forbidden() -> None:
        raise WrongTransition("no")

    bookings = Bookings(Clock())
    bookings.book(forbidden, told.append)
    bookings.book(lambda: disk.write("a"))
    assert (disk.made, told, bookings.problem) == (["a"], [], None)


def test_no_more_changes_wait_than_the_limit_and_the_newest_are_kept():
    disk, clock = Disk(), Clock()
    bookings = Bookings(clock, limit=2)
    disk.full = True
    for text in "abc":
        bookings.book(lambda text=text: disk.write(text))
    disk.full = False
    clock.now += RETRY_S
    bookings.tick(clock())
    assert disk.made == list("bc")

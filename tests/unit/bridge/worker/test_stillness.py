"""Standing still: a step that neither ends nor computes, told from honest work and from having nothing to do."""

from __future__ import annotations

import os
import threading

from cryobridge.bridge.worker.stillness import LONGEST_COUNTED_S, Stillness


class Hands:
    """A clock and a processor clock, both by hand."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.stillness = Stillness(lambda: self.now, lambda: self.used)

    def look_after(self, seconds: float, used: float = 0.0) -> tuple[float, str]:
        self.now += seconds
        self.used += used
        return self.stillness.look()


def test_a_step_that_uses_no_processor_stands_still_ever_longer() -> None:
    hands = Hands()
    hands.stillness.step("job")
    assert [hands.look_after(2.0, 0.001) for _ in range(3)] == [(0.0, "job"), (2.0, "job"), (4.0, "job")]


def test_a_long_step_that_computes_does_not() -> None:
    hands = Hands()
    hands.stillness.step("job")
    assert [hands.look_after(2.0, 1.0)[0] for _ in range(100)] == [0.0] * 100


def test_short_steps_and_having_nothing_to_do_are_no_stillness() -> None:
    hands = Hands()
    for _ in range(5):
        hands.stillness.step("job")
        assert hands.look_after(2.0)[0] == 0.0
    hands.stillness.rest()
    assert [hands.look_after(2.0) for _ in range(5)] == [(0.0, "")] * 5


def test_a_pause_of_the_machine_counts_little() -> None:
    hands = Hands()
    hands.stillness.step("job")
    hands.look_after(2.0)
    assert hands.look_after(3600.0)[0] == LONGEST_COUNTED_S


def test_a_read_that_hangs_is_seen_from_another_thread() -> None:
    stillness = Stillness()
    ours, theirs = os.pipe()

    def hang() -> None:
        stillness.step("job")
        os.read(ours, 1)
        stillness.rest()

    thread = threading.Thread(target=hang)
    thread.start()
    stillness.look()
    thread.join(0.3)
    stillness.look()
    thread.join(0.3)
    assert stillness.look()[0] > 0.2
    os.write(theirs, b"x")
    thread.join()
    assert stillness.look()[0] == 0.0
    os.close(ours)
    os.close(theirs)

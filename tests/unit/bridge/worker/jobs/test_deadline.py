"""A deadline tells what is left, and ends a job when nothing is."""

from __future__ import annotations

import pytest

from cryobridge.bridge.worker.jobs.deadline import Deadline
from cryobridge.schemas.errors import DeadlineExceeded


class Clock:
    """Seconds that go by with every look."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def test_a_deadline_says_what_is_left() -> None:
    clock = Clock(1.0)
    deadline = Deadline(2.5, clock)
    assert deadline.left_s == 1.5
    deadline.check()
    with pytest.raises(DeadlineExceeded, match=r"^took longer than deadline_s = 2\.5 s$"):
        deadline.check()
    assert Deadline(None, clock).left_s == float("inf")

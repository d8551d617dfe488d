"""The time that a training still takes, as RELION's log says it."""

import pytest

from cryobridge.bridge.worker.calls.time_left import time_left


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "words"),
    [
        (150, 300, 40.0, ", about 40 s left"),
        (10, 300, 10.0, ", about 5 min left"),
        (1, 300, 60.0, ", about 5.0 h left"),
        (299, 300, 100.0, ""),
        (300, 300, 100.0, ""),
        (0, 300, 5.0, ""),
    ],
)
def test_the_steps_to_come_last_as_long_as_those_done(done, total, elapsed_s, words):
    assert time_left(done, total, elapsed_s) == words

"""Trouble that lasts is said when it begins, once an hour, and when it is over."""

from __future__ import annotations

import logging

import pytest

from cryobridge.wrappers.cryosparc.said_once import AGAIN_AFTER_S, SaidOnce


def test_a_trouble_is_said_once_an_hour_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    trouble = SaidOnce("it is over", lambda: now[0])
    with caplog.at_level(logging.INFO):
        trouble.fine()
        for _ in range(int(2.5 * AGAIN_AFTER_S / 10)):
            trouble.warn("it is away")
            now[0] += 10.0
        assert caplog.messages == ["it is away"] * 3
        trouble.warn("it is worse")
        trouble.fine()
        trouble.fine()
        trouble.warn("it is worse")
    assert caplog.messages[3:] == ["it is worse", "it is over", "it is worse"]

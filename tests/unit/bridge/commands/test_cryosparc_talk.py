"""What the commands beside CryoSPARC say while they work: words of others in it stay words."""

from __future__ import annotations

import logging

import pytest

from cryobridge.bridge.commands.cryosparc import _talking


def test_words_of_others_are_neither_obeyed_by_a_terminal_nor_look_like_another_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """E.g. the host in a claim, which any member of the project may write."""
    with _talking():
        logging.getLogger("cryobridge.wrappers.cryosparc.card").info(
            "worked on by %s", "\x1b[2Jme\n10:00:00 all is lost"
        )
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("worked on by ?[2Jme")
    assert second == "    10:00:00 all is lost"

"""CryoSPARC is another user than the daemon, whose files nobody else may read."""

from __future__ import annotations

import os
import stat

import pytest

from cryobridge.wrappers.cryosparc.card.card_run import End

from .conftest import Bench

pytestmark = pytest.mark.shared


def test_outputs_can_be_read_by_whoever_may_read_the_cards_folder(bench: Bench) -> None:
    card = bench.card()
    folder = bench.standin.project() / card.job
    folder.chmod(0o775)
    before = os.umask(0o077)
    try:
        assert bench.run(card) is End.COMPLETED
    finally:
        os.umask(before)
    path = folder / str(bench.server.load_output(card, "fsc3d")["map/path"][0]).partition("/")[2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o775

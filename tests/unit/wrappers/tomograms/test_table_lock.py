"""One at a time at a table; a lock that its owner left behind stops nobody, one that is held says so."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table_lock import locked_table


def test_a_lock_that_is_held_is_waited_for_and_then_named(tmp_path: Path) -> None:
    table = tmp_path / "tomograms.star"
    descriptor = os.open(tmp_path / ".tomograms.star.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(InputInvalid, match=r"remove \.tomograms\.star\.lock"), locked_table(table, 0.1):
        pass
    os.close(descriptor)
    with locked_table(table, 0.1):
        assert (tmp_path / ".tomograms.star.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_goes_where_something_fails_within(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked_table(tmp_path / "a.star"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []

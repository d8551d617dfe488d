"""What is put into a scratch volume comes out of it, and nothing is left on disk."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from cryobridge.wrappers.formats import scratch_volume
from cryobridge.wrappers.formats.scratch_volume import ScratchVolume


def test_windows_come_out_as_they_were_put_in(tmp_path: Path) -> None:
    volume = np.random.default_rng(1).standard_normal((5, 6, 7)).astype(np.float32)
    everything = slice(None)
    with ScratchVolume(tmp_path, (5, 6, 7)) as held:
        assert held.window((everything, everything, everything)).sum() == 0
        held.put((slice(0, 2), everything, everything), volume[:2])
        held.put((slice(2, 5), slice(0, 6), slice(0, 3)), volume[2:, :, :3])
        held.put((slice(2, 5), everything, slice(3, 7)), volume[2:, :, 3:])
        np.testing.assert_array_equal(held.window((everything, slice(1, 4), everything)), volume[:, 1:4])
        np.testing.assert_array_equal(held.window((slice(1, 3), slice(1, 4), slice(2, 5))), volume[1:3, 1:4, 2:5])
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch_volume.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        ScratchVolume(tmp_path, (5, 6, 7))

"""Blocks cover a volume once, and all are read in one size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.core.tomogram import block_count, blocks, fast_length

sizes = st.tuples(*(st.integers(1, 20) for _ in range(3)))


@given(sizes, sizes, st.tuples(*(st.integers(0, 5) for _ in range(3))), st.booleans())
def test_every_voxel_is_kept_once(
    shape: tuple[int, int, int], side: tuple[int, int, int], margin: tuple[int, int, int], fast: bool
) -> None:
    covered = torch.zeros(shape)
    found = list(blocks(shape, side, margin, fast=fast))
    for block in found:
        covered[tuple(slice(*span) for span in block.kept)] += 1
        for kept, read, more, inside in zip(block.kept, block.read, margin, block.inside, strict=True):
            assert read[0] == kept[0] - more
            assert read[1] >= kept[1] + more
            assert (inside.start, inside.stop) == (more, more + kept[1] - kept[0])
        clipped = block.clipped(shape)
        assert all(0 <= low < high <= size for (low, high), size in zip(clipped.read, shape, strict=True))
    assert bool((covered == 1).all())
    assert len(found) == block_count(shape, side)
    assert len({tuple(stop - start for start, stop in block.read) for block in found}) == 1


def test_fast_lengths_have_small_factors() -> None:
    assert [fast_length(least) for least in (1, 11, 97, 121, 385, 1025)] == [1, 12, 98, 125, 392, 1029]


def test_impossible_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="no blocks"):
        next(blocks((4, 4, 4), (0, 4, 4), (0, 0, 0)))

"""Masks of every type and scale are either read for what they are, or refused with their range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cryobridge.bridge.worker.jobs.mask_values import as_mask
from cryobridge.core.volume import soft_sphere
from cryobridge.schemas.errors import InputInvalid

N = 24
HARD, SOFT = soft_sphere(N, 6.0, 0.0), soft_sphere(N, 6.0, 3.0)
PATH = Path("mask.mrc")


def read(values: Tensor, stored: str = "f4") -> tuple[Tensor, list[str]]:
    return as_mask(values.float(), np.dtype(stored), PATH)


@pytest.mark.parametrize("mask", [HARD, SOFT, 0.9 * SOFT])
def test_a_mask_from_0_to_1_is_taken_as_it_is(mask: Tensor) -> None:
    found, remarks = read(mask)
    torch.testing.assert_close(found, mask)
    assert remarks == []


@pytest.mark.parametrize(
    ("outside", "inside", "stored"),
    [
        (0, 255, "u1"),
        (0, -1, "i1"),  # 255 read with a sign
        (-128, -127, "i1"),
        (-128, 127, "i1"),
        (0, 2, "i2"),
        (0, 1000, "u2"),
        (0.0, 0.004, "f4"),
        (0.0, 0.3, "f4"),
        (0.0, 5.5, "f4"),
        (-1.0, 0.0, "f4"),
        (100.0, 101.0, "f4"),
    ],
)
def test_two_values_are_0_and_1(outside: float, inside: float, stored: str) -> None:
    found, remarks = read(outside + (inside - outside) * HARD, stored)
    torch.testing.assert_close(found, HARD)
    assert "taken as 0 and 1" in remarks[-1]
    assert str(PATH) in remarks[-1]


@pytest.mark.parametrize(("stored", "level"), [("u1", 0), ("i1", -128)])
def test_bytes_over_their_whole_range_are_a_soft_mask(stored: str, level: int) -> None:
    found, remarks = read((SOFT * 255).round() + level, stored)
    torch.testing.assert_close(found, SOFT, atol=0.01, rtol=0)
    assert "taken as 0 to 1" in remarks[-1]


def test_unsigned_bytes_that_were_read_with_a_sign_are_a_soft_mask() -> None:
    values = (SOFT * 255).round()
    found, remarks = read(torch.where(values > 127, values - 256, values), "i1")
    torch.testing.assert_close(found, SOFT, atol=0.01, rtol=0)
    assert "without a sign" in remarks[0]


@pytest.mark.parametrize(
    ("values", "stored", "words"),
    [
        (SOFT * 2, "f4", "runs from 0 to 2"),
        (SOFT * 0.3, "f4", "runs from 0 to 0.3"),
        (SOFT - 0.5, "f4", "runs from -0.5 to 0.5"),
        ((SOFT * 100).round(), "i2", "runs from 0 to 100.*float"),
        (255 - 255 * HARD, "u1", "inverted"),
        (torch.zeros(N, N, N), "f4", "empty"),
        (torch.full((N, N, N), -2.0), "f4", "all values of the mask are -2"),
        (torch.full((N, N, N), 255.0), "u1", "all values of the mask are 255"),
        (-0.005 * SOFT, "f4", "empty"),
        (torch.randn(N, N, N, generator=torch.Generator().manual_seed(0)), "f4", "is it a mask"),
        ((torch.rand(N, N, N, generator=torch.Generator().manual_seed(0)) * 255).round(), "u1", "runs from 0 to 255"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_range(values: Tensor, stored: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=rf"^mask\.mrc: .*{words}"):
        read(values, stored)


@pytest.mark.parametrize("radius", [0.5, 1.5, 2.5])
def test_next_to_nothing_is_refused_with_its_number_of_voxels(radius: float) -> None:
    small = soft_sphere(N, radius, 0.0)
    with pytest.raises(InputInvalid, match=rf"covers {int(small.sum())} of 13824 voxels"):
        read(small)


def test_a_small_mask_in_a_large_box_is_taken_with_a_remark() -> None:
    _, remarks = read(soft_sphere(96, 5.5, 0.0))
    assert "covers only 0.08% of the box" in remarks[0]


def test_a_mask_that_covers_everything_is_said_to_mask_nothing() -> None:
    found, remarks = read(torch.ones(N, N, N))
    assert bool((found == 1).all())
    assert "masks nothing" in remarks[0]

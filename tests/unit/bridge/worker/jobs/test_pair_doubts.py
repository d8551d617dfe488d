"""What two half-maps show of themselves is said, and what cannot be two half-maps is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cryobridge.bridge.worker.jobs.pair_doubts import Doubts, doubts
from cryobridge.core.fourier import apply_filter, lowpass, radius
from cryobridge.core.volume import soft_sphere
from cryobridge.schemas.errors import InputInvalid

N = 32
MASK = soft_sphere(N, 8.0, 3.0)


def noise(seed: int) -> Tensor:
    return torch.randn((N,) * 3, generator=torch.Generator().manual_seed(seed))


SIGNAL = 6 * lowpass(noise(0) * soft_sphere(N, 7.0, 3.0), 1.0, 4.0)
HALF1, HALF2 = SIGNAL + noise(1), SIGNAL + noise(2)


def look(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Doubts:
    return doubts((first, second), (Path("a.mrc"), Path("b.mrc")), mask, 2.0)


@pytest.mark.parametrize("mask", [None, MASK])
def test_of_two_measured_half_maps_there_is_nothing_to_say(mask: Tensor | None) -> None:
    assert look(HALF1, HALF2, mask) == Doubts([], N // 2)


@pytest.mark.parametrize(("scale", "level"), [(2.0, 0.0), (1.0, 5.0), (-1.0, 0.0), (1e-4, -3.0)])
def test_one_map_on_another_scale_or_level_is_the_same_map(scale: float, level: float) -> None:
    with pytest.raises(InputInvalid, match=r"a\.mrc and b\.mrc hold the same map"):
        look(HALF1, scale * HALF1 + level)


def test_a_copy_in_fewer_digits_is_the_same_map() -> None:
    with pytest.raises(InputInvalid, match="hold the same map"):
        look(HALF1, (HALF1 * 500).round())
    with pytest.raises(InputInvalid, match="hold the same map"):
        look(HALF1, HALF1.half().float())


def test_a_filtered_copy_is_the_same_map() -> None:
    with pytest.raises(InputInvalid, match="hold the same map"):
        look(HALF1, apply_filter(HALF1, (radius(N) <= 8).float()))


def test_opposite_contrast_is_refused() -> None:
    with pytest.raises(InputInvalid, match="opposite contrast"):
        look(HALF1, -HALF2)


@pytest.mark.parametrize("shared", [0.3, 0.6, 1.0])
def test_noise_that_both_share_is_said(shared: float) -> None:
    """A share of the particles in both halves leaves the FSC level up to Nyquist."""
    common = noise(5) * shared
    found = look(HALF1 + common, HALF2 + common)
    level = re.search(r"levels off at (0\.\d+) up to Nyquist", found.remarks[0])
    assert level is not None
    assert float(level[1]) == pytest.approx(shared**2 / (1 + shared**2), abs=0.03)
    assert "may not be two independent half-maps" in found.remarks[0]


def test_a_half_map_against_the_full_map_is_named() -> None:
    found = look(HALF1, (HALF1 + HALF2) / 2)
    assert "A half-map against the mean of both halves gives 0.71" in found.remarks[0]


def test_filtered_halves_are_said_with_the_shell_they_end_at() -> None:
    kept = (radius(N) <= 8).float()
    found = look(apply_filter(HALF1, kept), apply_filter(HALF2, kept), MASK)
    assert found.held_shell == 8
    assert found.remarks[0].startswith("a.mrc and b.mrc hold next to nothing beyond 8 A (shell 8 of 16)")
    assert "unfiltered half-maps" in found.remarks[0]


def test_one_filtered_half_is_named() -> None:
    found = look(HALF1, apply_filter(HALF2, (radius(N) <= 8).float()))
    assert found.held_shell == 8
    assert any(line.startswith("b.mrc holds next to nothing") for line in found.remarks)


def test_halves_that_were_masked_before_are_said() -> None:
    tight = soft_sphere(N, 7.0, 2.0)
    found = look(HALF1 * tight, HALF2 * tight)
    assert sum("was masked before" in line for line in found.remarks) == 2


def test_halves_on_different_scales_are_said() -> None:
    found = look(HALF1, 100 * HALF2)
    assert found.remarks[0].startswith("b.mrc: its values vary 99")

"""Resolution by direction: where halves are known to agree, and that all directions together are between extremes."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.directional import resolutions
from cryobridge.core.fourier import CorrectedFsc, apply_filter, frequency_axes, fsc, radius, resolution
from cryobridge.core.relion import pair_quality
from cryobridge.core.volume import phantom

VOXEL_A = 2.0


def agreeing_within(region: torch.Tensor, n: int, seed: int = 0) -> list[torch.Tensor]:
    """Two maps (n, n, n) of noise that are the same in a Fourier region and unrelated elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    same, one, two = (torch.randn(n, n, n, generator=generator) for _ in range(3))
    return [apply_filter(same, region) + apply_filter(own, 1 - region) for own in (one, two)]


def test_the_range_over_directions_of_an_ellipsoid_is_that_of_its_axes() -> None:
    n = 64
    kz, ky, kx = frequency_axes(n)
    region = (((2.0 * kz) ** 2 + ky**2 + kx**2).sqrt() < 24).float()
    half1, half2 = agreeing_within(region, n)
    overall_A = resolution(fsc(half1, half2), VOXEL_A)
    found = resolutions.by_direction(half1, half2, None, VOXEL_A, overall_A=overall_A).spread
    assert found.best_A == pytest.approx(n * VOXEL_A / 24, rel=0.05)
    # A cone of 20 degrees about the short axis reaches beyond its tip.
    assert found.worst_A == pytest.approx(n * VOXEL_A / 13, rel=0.1)


def test_a_chance_value_in_the_first_shells_is_no_lost_direction() -> None:
    n = 64
    region = (radius(n) < 20).float()
    region[2, 0, 0] = region[-2, 0, 0] = 0.0
    half1, half2 = agreeing_within(region, n)
    worst_A = resolutions.by_direction(half1, half2, None, VOXEL_A, overall_A=n * VOXEL_A / 20).spread.worst_A
    assert worst_A == pytest.approx(n * VOXEL_A / 20, rel=0.06)


def test_a_curve_reaches_to_where_it_is_above_the_threshold_on_the_whole() -> None:
    curves = torch.tensor(
        [
            [1.0, 0.9, 0.5, 0.1, 0.0, 0.0],  # falls steadily
            [1.0, 0.9, 0.1, 0.9, 0.5, 0.0],  # one low shell
            [1.0, 0.9, 0.1, -0.1, 0.0, 0.2],  # one high shell
            [1.0, 0.1, 0.1, 0.0, 0.0, 0.0],
            [1.0] * 6,
        ]
    )
    assert resolutions.shells_reached(curves).tolist() == [2, 4, 1, 0, 5]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("inside", [0.02, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_all_directions_together_are_between_the_worst_and_the_best(seed: int, inside: float, masked: bool) -> None:
    pair = phantom.phantom_pair(32, 3.0, 8.0, inside=inside, seed=seed)
    mask = pair.mask if masked else None
    found = pair_quality(pair.half1, pair.half2, mask, pair.voxel_size_A)
    assert found.directions.spread.best_A <= found.resolution_A <= found.directions.spread.worst_A


@pytest.mark.parametrize("kind", ["noise", "same", "low"])
def test_so_they_are_of_halves_that_are_not_as_they_should_be(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    one, two = (torch.randn(24, 24, 24, generator=generator) for _ in range(2))
    halves = {
        "noise": (one, two),
        "same": (one, one + 1e-3 * two),
        "low": tuple(agreeing_within((radius(24) < 3).float(), 24)),
    }[kind]
    found = pair_quality(halves[0], halves[1], None, VOXEL_A)
    spread = found.directions.spread
    assert spread.best_A <= found.resolution_A
    assert math.isfinite(spread.worst_A)
    assert found.resolution_A <= spread.worst_A or math.isinf(found.resolution_A)


def test_a_figure_from_elsewhere_is_kept_between_too() -> None:
    pair = phantom.phantom_pair(32, 3.0, 8.0)
    for overall_A in (7.0, 9.0, 30.0):
        spread = pair_quality(pair.half1, pair.half2, pair.mask, 3.0, overall_A=overall_A).directions.spread
        # Shells are whole: half a shell is the most that rounding moves the figure by.
        shell = 96 / overall_A
        assert 96 / spread.best_A >= shell - 0.5
        assert 96 / spread.worst_A <= shell + 0.5


def test_what_the_mask_brings_in_is_taken_off_in_every_direction() -> None:
    pair = phantom.phantom_pair(32, 3.0, 8.0)
    flat = torch.full((17,), 0.2)
    bare, less = (
        resolutions.by_direction(pair.half1, pair.half2, pair.mask, 3.0, overall_A=8.0, for_mask=for_mask)
        for for_mask in (None, CorrectedFsc(flat, flat, flat, flat, 5))
    )
    assert torch.equal(less.curves[:, :7], bare.curves[:, :7])
    torch.testing.assert_close(less.curves[:, 7:16], (bare.curves[:, 7:16] - 0.2) / 0.8)
    assert less.spread.mean_A > bare.spread.mean_A


def test_a_mask_that_hurts_is_left_out_in_every_direction() -> None:
    n = 32
    half1, half2 = agreeing_within((radius(n) < 9).float(), n)
    speckled = (torch.rand(n, n, n, generator=torch.Generator().manual_seed(5)) > 0.9).float()
    found = pair_quality(half1, half2, speckled, VOXEL_A)
    assert found.agreement.mask_hurts
    bare = resolutions.by_direction(half1, half2, None, VOXEL_A, overall_A=found.resolution_A)
    assert torch.equal(found.directions.curves, bare.curves)


def test_a_dip_of_all_directions_is_passed_in_each() -> None:
    shell = torch.arange(33, dtype=torch.float64)
    curves = torch.sigmoid((20 - shell) / 1.5).repeat(40, 1)
    expected = resolutions.shells_reached(curves)
    curves[:, 4] = 0.0
    assert torch.equal(resolutions.shells_reached(curves), expected)

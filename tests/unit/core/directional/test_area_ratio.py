"""cFAR and the spread of directions: curves with a known area, and halves with a known cone."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.directional import area_ratio as cfar
from cryobridge.core.directional.correlation import conical_fsc
from cryobridge.core.fourier.directions import fibonacci_directions
from cryobridge.core.volume import phantom


def step(last: int, shells: int = 21) -> torch.Tensor:
    """A curve that is 1 up to shell `last` and 0 beyond."""
    return (torch.arange(shells) <= last).double()


def test_the_area_of_a_step_is_the_number_of_its_shells() -> None:
    areas = cfar.cone_areas(torch.stack([step(10), step(20), step(0)]))
    assert areas.tolist() == [10.0, 20.0, 0.0]
    assert cfar.cfar(torch.stack([step(10), step(20)])) == pytest.approx(0.5)


def test_noise_comes_to_nothing_and_no_area_is_negative() -> None:
    curve = step(10)
    noisy = curve.clone()
    noisy[12:] += 0.1 * torch.tensor([1.0, -1.0, 0.5, -0.5, 0.7, -0.7, 0.0, 0.2, -0.2])
    assert float(cfar.cone_areas(noisy[None])) == pytest.approx(10.0)
    assert cfar.cone_areas(-curve[None]).tolist() == [0.0]


def test_a_nearly_isotropic_pair_is_no_trouble() -> None:
    """Curves that end 10 % apart differ by 10 %: no surface of shells makes it 30 %, no threshold cuts a tail off."""
    shell = torch.arange(41).double()
    curves = torch.stack([torch.sigmoid((last - shell) / 3.0) for last in (18.0, 19.0, 20.0)])
    assert cfar.cfar(curves) == pytest.approx(0.9, abs=0.01)


def test_equal_directions_have_ratio_one_and_no_signal_has_ratio_zero() -> None:
    assert cfar.cfar(step(12).expand(5, -1)) == 1.0
    assert cfar.cfar(torch.zeros(5, 21)) == 0.0


def test_sparse_cones_do_not_cost_a_direction() -> None:
    curve = step(10)
    curve[1:4] = 0.0  # 20 degrees hold fewer than four voxels up to radius 3.2
    assert torch.equal(cfar.judged(curve[None])[0], step(10))
    curve[4] = 0.0
    assert float(cfar.judged(curve[None])[0, 4]) == 0.0
    assert float(cfar.judged(curve[None], half_angle_deg=60.0)[0, 2]) == 0.0
    assert [cfar.first_judged_shell(angle) for angle in (90.0, 20.0, 2.0)] == [1, 4, 33]


def test_a_missing_cone_lowers_the_ratio() -> None:
    directions = fibonacci_directions(60)
    ratios = []
    for inside in (1.0, 0.02):
        pair = phantom.phantom_pair(40, inside=inside)
        ratios.append(cfar.cfar(cfar.judged(conical_fsc(pair.half1, pair.half2, directions, pair.mask))))
    even, cone = ratios
    # So small a box is never quite even: a cone holds few voxels of its last shells.
    assert even > 0.35
    assert cone < 0.3


def test_the_spread_is_that_of_the_numbers() -> None:
    spread = cfar.direction_spread(torch.arange(101) + 100.0)
    assert (spread.best_A, spread.percentile_5_A, spread.median_A, spread.percentile_95_A, spread.worst_A) == (
        100.0,
        105.0,
        150.0,
        195.0,
        200.0,
    )
    assert spread.mean_A == 150.0
    assert spread.deviation_A == pytest.approx(math.sqrt((101**2 - 1) / 12))

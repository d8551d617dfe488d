"""A constant added to a map changes nothing that is computed under a mask."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.directional import conical_fsc, fsc3d
from cryobridge.core.fourier import (
    corrected_fsc,
    fibonacci_directions,
    fsc,
    masked,
    solvent_level,
    spectrum_ratio,
    whitening_curve,
)
from cryobridge.core.volume import phantom_pair, soft_sphere

N = 24


@pytest.fixture(scope="module")
def halves() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = phantom_pair(N, 2.0, seed=1)
    return made.half1.double(), made.half2.double(), soft_sphere(N, 7.0, 3.0).double()


@pytest.mark.parametrize(("first", "second"), [(3.0, 3.0), (0.0, 5.0), (-40.0, 40.0)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_levels_and_scales_do_not_count(
    halves: tuple[torch.Tensor, torch.Tensor, torch.Tensor], first: float, second: float, scale: float
) -> None:
    half1, half2, mask = halves
    one, two = scale * (half1 + first * half1.std()), scale * (half2 + second * half2.std())
    same = {"atol": 1e-6, "rtol": 1e-6}
    torch.testing.assert_close(fsc(one, two, mask), fsc(half1, half2, mask), **same)
    curves, expected = corrected_fsc(one, two, mask, 0), corrected_fsc(half1, half2, mask, 0)
    torch.testing.assert_close(curves.corrected, expected.corrected, **same)
    directions = fibonacci_directions(12)
    torch.testing.assert_close(
        conical_fsc(one, two, directions, mask), conical_fsc(half1, half2, directions, mask), **same
    )
    torch.testing.assert_close(
        fsc3d(one, two, mask, limit_shell=8), fsc3d(half1, half2, mask, limit_shell=8), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        whitening_curve(one, 2.0, 16.0, 5.0, mask), whitening_curve(half1, 2.0, 16.0, 5.0, mask), **same
    )
    torch.testing.assert_close(spectrum_ratio(one, one, mask), torch.ones(N // 2 + 1, dtype=torch.float64), **same)


def test_the_level_is_that_of_the_solvent() -> None:
    mask = soft_sphere(N, 5.0, 2.0)
    volume = 7.0 + 30.0 * soft_sphere(N, 5.0, 0.0)
    assert solvent_level(volume, mask) == pytest.approx(7.0, abs=1e-4)
    assert solvent_level(volume) == pytest.approx(7.0)
    assert solvent_level(volume, torch.ones_like(mask)) == pytest.approx(float(volume.mean()), rel=1e-5)


def test_without_a_mask_a_map_stays_as_it_is() -> None:
    volume = torch.rand(8, 8, 8) + 3
    assert masked(volume, None) is volume

"""The corrected map is whole up to its limit, whatever the box, the voxel size and the limit, and goes on beyond it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction import Finish, Plan, finished, prepare
from cryobridge.core.fourier import apply_filter, forward, fsc, last_shell, radial_sum, radius
from cryobridge.core.volume import PhantomPair, cone_regions, phantom_pair


def halves_of(n: int, noise: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """A truth (n, n, n) that falls off, and two half-maps of it."""
    generator = torch.Generator().manual_seed(n)
    fall = torch.exp(-radius(n) / (n / 4))
    truth, *noises = (apply_filter(torch.randn(n, n, n, generator=generator), fall) for _ in range(3))
    return truth, truth + noise * noises[0], truth + noise * noises[1]


def fill(half1: Tensor, half2: Tensor, mask: Tensor | None = None) -> Finish:
    """As `map.correct` does by default."""
    return Finish(keep_beyond=True, halves_fsc=fsc(half1, half2, mask))


# 56.0 came out as 55 where n * a / limit is a little less than whole; the limit is that of a shell of each box.
@pytest.mark.parametrize("n", [24, 25, 32])
@pytest.mark.parametrize("voxel_size_A", [0.83, 1.06, 1.31, 2.1])
@pytest.mark.parametrize("below_nyquist", [0, 1, 2, 5])
def test_the_last_shell_within_the_limit_is_there(n: int, voxel_size_A: float, below_nyquist: int) -> None:
    truth, half1, half2 = halves_of(n)
    shell = (n - 1) // 2 - below_nyquist
    limit_A = n * voxel_size_A / shell
    for asked_A in (limit_A, round(limit_A, 4), n * voxel_size_A / (shell + 0.4)):
        ready = prepare((half1, half2), None, voxel_size_A, Plan(asked_A))
        corrected = finished(ready, 1, truth, fill(half1, half2))
        assert float(fsc(corrected, truth)[shell]) > 0.9
        power = radial_sum(forward(corrected).abs().square(), n) / radial_sum(forward(truth).abs().square(), n)
        assert 0.5 < float(power[shell] / power[shell - 1]) < 2


@pytest.mark.parametrize("limit_A", [2.0, 1.2])
def test_a_limit_at_nyquist_or_beyond_leaves_no_shell_out(limit_A: float) -> None:
    truth, half1, half2 = halves_of(24)
    ready = prepare((half1, half2), None, 1.0, Plan(limit_A))
    corrected = finished(ready, 2, truth, fill(half1, half2))
    assert float(fsc(corrected, truth)[1:12].min()) > 0.9
    assert float(fsc(corrected, half2)[12]) > 0.9


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return phantom_pair()


def test_power_does_not_jump_at_the_limit_in_the_cone_or_out_of_it(pair: PhantomPair) -> None:
    n, last = 48, last_shell(48, pair.voxel_size_A, pair.resolution_A)
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(pair.resolution_A))
    how = fill(pair.half1, pair.half2, pair.mask)
    for network_map in (pair.truth * pair.mask, 0.3 * pair.truth * pair.mask, torch.zeros_like(pair.truth)):
        corrected = finished(ready, 1, network_map, how)
        for region in cone_regions(pair):
            counted = region.double()
            power = radial_sum(forward(corrected.double() * pair.mask).abs().square() * counted, n)
            power = power / radial_sum(counted, n)
            at_limit = power[last - 2 : last + 1].mean()
            # From one shell to the next it falls as the signal does; the half-map as it is has 5 to 170 times as much.
            assert float(power[last + 1] / at_limit) > 0.1
            assert float(power[last + 1 :].max() / at_limit) < 1

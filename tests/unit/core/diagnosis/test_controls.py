"""Controls hold no common signal, have the power they should, and their correction is the published formula."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.diagnosis import controls
from cryobridge.core.fourier.correlation import fsc
from cryobridge.core.fourier.shells import radial_mean
from cryobridge.core.fourier.transforms import forward
from cryobridge.core.volume import phantom
from cryobridge.core.volume.phantom import cone_regions


@pytest.fixture(scope="module")
def pair() -> phantom.PhantomPair:
    return phantom.phantom_pair(40, inside=0.1)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_pairs_are_unrelated_to_each_other_and_to_the_halves(pair: phantom.PhantomPair) -> None:
    first, second = controls.noise_pair(pair.half1, pair.half2, generator())
    for one, two in ((first, second), (first, pair.half1), (second, pair.half1 + pair.half2)):
        curve = fsc(one, two)[4:20]
        assert float(curve.mean().abs()) < 0.03
        assert float(curve.abs().max()) < 0.25
    assert float(fsc(pair.half1, pair.half2)[4:8].mean()) > 0.5  # the halves themselves do agree


def test_noise_has_the_spectrum_of_a_halfs_noise_in_every_direction(pair: phantom.PhantomPair) -> None:
    made = controls.noise_pair(pair.half1, pair.half2, generator())
    own = pair.half1 - pair.truth
    inside, outside = cone_regions(pair)
    for region in (inside, outside):
        power = [radial_mean(forward(volume).abs().square() * region, 40)[6:20] for volume in (*made, own)]
        assert (power[0] / power[2]).mean() == pytest.approx(1.0, abs=0.1)
        assert torch.allclose(power[0], power[1], rtol=1e-3)


def test_a_seed_names_a_control(pair: phantom.PhantomPair) -> None:
    again = [controls.noise_pair(pair.half1, pair.half2, generator(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


def test_phase_randomised_halves_agree_up_to_the_shell_only(pair: phantom.PhantomPair) -> None:
    first, second = controls.phase_randomised_pair(pair.half1, pair.half2, 6, generator())
    curve, original = fsc(first, second), fsc(pair.half1, pair.half2)
    assert torch.allclose(curve[:6], original[:6], atol=1e-5)
    assert float(curve[7:20].abs().mean()) < 0.1


def test_correction_for_a_control() -> None:
    total = torch.tensor([1.0, 0.6, 0.2, 0.5])
    control = torch.tensor([0.0, 0.2, 0.3, -0.1])
    assert controls.corrected_for_control(total, control).tolist() == pytest.approx([1.0, 0.5, 0.0, 0.5])


def test_power_gain_is_that_inside_the_mask() -> None:
    volume = torch.randn(16, 16, 16, generator=generator())
    mask = torch.zeros(16, 16, 16)
    mask[:8] = 1.0
    assert controls.power_gain(volume, 3.0 * volume) == pytest.approx(9.0, rel=1e-4)
    half_only = torch.where(mask > 0, volume, 5.0 * volume)
    assert controls.power_gain(volume, half_only, mask) == pytest.approx(1.0, abs=0.01)

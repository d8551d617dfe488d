"""The final map: measured voxels stay, the rest is filled, and an implausible map is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction.posterior import fill, gain_from_fsc, on_one_scale, on_scale_of, plausible
from cryobridge.core.fourier.transforms import apply_filter, radius

N = 16


def _truth(seed: int = 0) -> Tensor:
    volume = torch.randn(N, N, N, generator=torch.Generator().manual_seed(seed))
    return apply_filter(volume, torch.exp(-((radius(N) / 5) ** 2)))


def _gain() -> Tensor:
    """0.8 where |kz| is small, 0 in a slab about the z axis."""
    kz = torch.fft.fftfreq(N, 1 / N).abs()
    return ((kz < 4).float() * 0.8)[:, None, None].expand(N, N, N // 2 + 1).contiguous()


def test_a_perfect_network_gives_the_truth_whatever_its_scale() -> None:
    truth, gain = _truth(), _gain()
    standard = apply_filter(truth, gain)
    limit = (radius(N) <= N // 2 + 0.5).float()
    result = apply_filter(fill(standard, 7.5 * truth, gain), limit)
    assert torch.allclose(result, apply_filter(truth, limit), atol=1e-5)


def test_fully_measured_voxels_stay_as_measured() -> None:
    truth, gain = _truth(), (_gain() > 0).float()
    standard = apply_filter(truth, gain)
    result = fill(standard, truth + _truth(3), gain)
    assert torch.allclose(apply_filter(result, gain), standard, atol=1e-5)


def test_a_network_that_contradicts_the_data_adds_nothing() -> None:
    truth, gain = _truth(), _gain()
    standard = apply_filter(truth, gain)
    assert torch.allclose(fill(standard, -truth, gain), standard, atol=1e-6)


def test_shells_without_measurement_are_not_invented() -> None:
    truth = _truth()
    gain = (radius(N) < 4).float() * 0.9
    added = on_scale_of(apply_filter(truth, gain), truth, gain)
    assert float(added.abs()[radius(N) > 4.5].max()) == 0


@pytest.mark.parametrize("prior_variance", [1.0, 0.5, 0.1])
def test_a_perfect_network_gives_the_truth_however_much_it_is_trusted(prior_variance: float) -> None:
    truth, gain = _truth(), _gain()
    limit = (radius(N) <= N // 2 + 0.5).float()
    result = fill(apply_filter(truth, gain), truth, gain, prior_variance=prior_variance)
    assert torch.allclose(apply_filter(result, limit), apply_filter(truth, limit), atol=1e-5)


def test_a_narrower_prior_moves_the_result_towards_the_network() -> None:
    truth, gain, network = _truth(), torch.full((N, N, N // 2 + 1), 0.5), _truth() + 0.3 * _truth(1)
    standard = apply_filter(truth, gain)
    scaled = torch.fft.irfftn(on_scale_of(standard, network, gain), s=(N, N, N))
    distances = [float((fill(standard, network, gain, prior_variance=p) - scaled).norm()) for p in (1.0, 0.5, 0.1)]
    assert distances[0] > distances[1] > distances[2]
    with pytest.raises(ValueError, match="prior_variance"):
        fill(standard, network, gain, prior_variance=-0.1)


def test_without_a_prior_variance_the_result_is_the_network_alone() -> None:
    truth, gain, network = _truth(), torch.full((N, N, N // 2 + 1), 0.5), _truth() + 0.3 * _truth(1)
    standard = apply_filter(truth, gain)
    scaled = torch.fft.irfftn(on_scale_of(standard, network, gain), s=(N, N, N))
    torch.testing.assert_close(fill(standard, network, gain, prior_variance=0.0), scaled, atol=1e-5, rtol=1e-4)


def test_the_other_half_tells_the_scale_where_a_network_keeps_its_own_noise() -> None:
    """The least-squares multiplier of the fill is about 1 on the other half, and too large on its own."""
    truth, gain = _truth(), torch.full((N, N, N // 2 + 1), 0.3)
    noise1, noise2 = 1.5 * _truth(5), 1.5 * _truth(6)
    own, other = (apply_filter(truth + noise, gain) for noise in (noise1, noise2))
    network = truth + 0.5 * noise1
    spectrum = torch.fft.rfftn(truth)

    def multiplier(scaled: torch.Tensor) -> float:
        return float((scaled.conj() * spectrum).real.sum() / scaled.abs().square().sum())

    assert multiplier(on_scale_of(own, network, gain)) < 0.75
    assert 0.85 < multiplier(on_scale_of(other, network, gain)) < 1.2


def test_one_factor_for_all_shells_leaves_the_spectrum_of_the_network_as_it_is() -> None:
    """A wrong amplitude in one shell stays wrong with it, and is mended by a factor for each shell."""
    truth, gain = _truth(), torch.full((N, N, N // 2 + 1), 0.5)
    weak = torch.where((radius(N) > 3.5) & (radius(N) < 4.5), 0.5, 1.0)
    network = 7.5 * apply_filter(truth, weak)
    one, by_shell = (f(apply_filter(truth, gain), network, gain) for f in (on_one_scale, on_scale_of))
    spectrum, at = torch.fft.rfftn(truth), radius(N) < N // 2 + 0.5
    ratio = (one.abs() / spectrum.abs().clamp(min=1e-9))[at]
    assert float((ratio / weak[at]).std()) < 1e-3
    assert float((by_shell - spectrum)[at].norm() / spectrum.norm()) < 1e-4
    assert float(on_one_scale(apply_filter(truth, gain), -truth, gain).abs().max()) == 0


def test_scale_is_measured_inside_the_window() -> None:
    truth, gain = _truth(), torch.full((N, N, N // 2 + 1), 0.5)
    window = torch.zeros(N, N, N)
    window[4:12, 4:12, 4:12] = 1
    outside = (1 - window) * torch.randn(N, N, N, generator=torch.Generator().manual_seed(9))
    standard = 0.5 * truth
    with_window = on_scale_of(standard + outside, truth - outside, gain, window)
    assert torch.allclose(with_window, torch.fft.rfftn(truth - outside) * (radius(N) < N // 2 + 0.5), atol=1e-3)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8, 8\)"):
        fill(torch.zeros(N, N, N), torch.zeros(8, 8, 8), _gain())
    with pytest.raises(ValueError, match="half spectrum"):
        fill(torch.zeros(N, N, N), torch.zeros(N, N, N), torch.zeros(N, N, N))


def test_gain_of_an_fsc_is_within_its_range() -> None:
    values = gain_from_fsc(torch.tensor([-0.3, 0.4, 1.0, float("nan")]))
    assert values.tolist() == pytest.approx([0.0, 0.4, 0.999, 0.0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v, None),
        (lambda v: 2 * v + 0.1, None),
        (lambda v: v[:8], "shape"),
        (lambda v: torch.where(v == v.max(), torch.nan, v), "not finite"),
        (lambda v: 100 * v, "deviation"),
        (lambda v: v / 100, "deviation"),
        (lambda v: v + 1000, "mean"),
    ],
)
def test_implausible_maps_are_named(change: object, said: str | None) -> None:
    standard = _truth()
    assert callable(change)
    verdict = plausible(change(standard), standard)
    assert verdict is None if said is None else said in str(verdict)

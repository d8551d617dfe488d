"""Sampling by direction told by the noise of two half-maps, against simulated pairs whose sampling is known."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.directional import fraction_of_signal, mean_phase_cosine, sampling_from_noise
from cryobridge.core.fourier import radial_mean, shell_index
from cryobridge.core.volume import PhantomPair, phantom_pair

N, LIMIT = 48, 18


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return phantom_pair(N)


def _inside(n: int) -> torch.Tensor:
    shell = shell_index(n)
    return (shell >= 4) & (shell < LIMIT)


def test_the_noise_tells_the_sampling(pair: PhantomPair) -> None:
    found = sampling_from_noise(pair.half1, pair.half2, LIMIT).volume[_inside(N)].log()
    true = pair.density[_inside(N)].log()
    assert float(torch.corrcoef(torch.stack([found, true]))[0, 1]) > 0.95


def test_even_sampling_reads_as_even() -> None:
    even = phantom_pair(N, inside=1.0)
    assert float(sampling_from_noise(even.half1, even.half2, LIMIT).volume[_inside(N)].std()) < 0.15


@pytest.mark.parametrize(("scale", "level"), [(1e-4, 0.0), (1e5, 0.0), (1.0, 20.0)])
def test_neither_scale_nor_level_of_the_maps_matters(pair: PhantomPair, scale: float, level: float) -> None:
    plain = sampling_from_noise(pair.half1, pair.half2, LIMIT).volume
    changed = sampling_from_noise(scale * pair.half1 + level, scale * pair.half2 + level, LIMIT).volume
    torch.testing.assert_close(changed, plain, rtol=1e-3, atol=1e-3)


def test_a_coloured_noise_reads_as_a_white_one(pair: PhantomPair) -> None:
    """How the noise falls off with resolution says nothing of directions."""
    shell = shell_index(N).float()
    red = [torch.fft.irfftn(torch.fft.rfftn(half) / (1 + shell), s=(N, N, N)) for half in (pair.half1, pair.half2)]
    plain = sampling_from_noise(pair.half1, pair.half2, LIMIT).volume
    torch.testing.assert_close(sampling_from_noise(red[0], red[1], LIMIT).volume, plain, rtol=1e-3, atol=1e-3)


def test_equal_halves_have_no_noise_to_tell_it(pair: PhantomPair) -> None:
    with pytest.raises(ValueError, match="do not differ"):
        sampling_from_noise(pair.half1, pair.half1, LIMIT)


def test_each_shell_has_the_mean_that_was_measured(pair: PhantomPair) -> None:
    sampling = sampling_from_noise(pair.half1, pair.half2, LIMIT)
    wanted = torch.linspace(0.9, 0.1, N // 2 + 1, dtype=torch.float64)
    found = fraction_of_signal(sampling, wanted, LIMIT)
    inner = slice(4, LIMIT - 1)
    # Every shell has the same mixture of directions only to the accuracy of its grid.
    torch.testing.assert_close(radial_mean(found, N)[inner], wanted[inner], atol=0.03, rtol=0)
    assert float(found[shell_index(N) >= LIMIT].max()) == 0
    assert float(found[0, 0, 0]) == 1


def test_where_nothing_agrees_nothing_is_signal(pair: PhantomPair) -> None:
    sampling = sampling_from_noise(pair.half1, pair.half2, LIMIT)
    found = fraction_of_signal(sampling, torch.full((N // 2 + 1,), -0.1), LIMIT)
    assert float(found.flatten()[1:].max()) == 0


def test_the_fraction_is_that_of_the_simulation(pair: PhantomPair) -> None:
    """Nearer to the true gain of each voxel than a number for each shell could be."""
    sampling = sampling_from_noise(pair.half1, pair.half2, LIMIT)
    agreement = mean_phase_cosine(pair.half1, pair.half2, pair.mask)
    found, inside = fraction_of_signal(sampling, agreement, LIMIT), _inside(N)
    by_shell = radial_mean(pair.gain, N)[shell_index(N).clamp(max=N // 2)].float()
    assert float((found - pair.gain)[inside].square().mean()) < 0.5 * float(
        (by_shell - pair.gain)[inside].square().mean()
    )

"""What crops are weighed by: ours clips a 3DFSC first, the published method averages it first."""

from __future__ import annotations

import pytest
import torch
from support.correction_data import noisy_pair, tiny_options

from cryobridge.core.correction import Draws, Sight, crop_weight, levelled_sight, materials
from cryobridge.core.fourier import shell_index
from cryobridge.core.volume import phantom_pair

N, SIDE = 48, 16


def noisy_fsc3d(mean: float) -> torch.Tensor:
    """A 3DFSC of noise about a mean, 1 in its lowest shells."""
    values = mean + 0.3 * torch.randn(N, N, N // 2 + 1, generator=torch.Generator().manual_seed(3))
    values[shell_index(N) < 9] = 1
    return values * (shell_index(N) < 20)


def test_noise_about_zero_gives_less_weight_when_it_is_averaged_before_it_is_clipped() -> None:
    where = (shell_index(SIDE) > 4) & (shell_index(SIDE) < 6)
    ours, published = (
        crop_weight(noisy_fsc3d(0.0), N, tiny_options(loss=loss, cube_size=SIDE)) for loss in ("improved", "published")
    )
    assert float(ours[where].mean()) > 0.1
    assert float(published[where].mean()) < 0.6 * float(ours[where].mean())


def test_the_published_weight_is_brought_to_the_whole_range() -> None:
    weight = crop_weight(0.4 * noisy_fsc3d(0.5), N, tiny_options(loss="published", cube_size=SIDE))
    rest = weight.flatten()[1:]
    assert float(rest.min()) == 0
    # It is the mean of each voxel and its mate, of which only one need be the greatest.
    assert float(rest.max()) == pytest.approx(1, abs=1e-4)
    assert float(weight[0, 0, 0]) == pytest.approx(1, abs=1e-4)


def test_a_weight_without_any_range_stays() -> None:
    flat = torch.full((N, N, N // 2 + 1), 0.5)
    torch.testing.assert_close(
        crop_weight(flat, N, tiny_options(loss="published", cube_size=SIDE)),
        torch.full((SIDE, SIDE, SIDE // 2 + 1), 0.5),
    )


def test_our_loss_never_sees_a_negative_weight() -> None:
    half1, half2, weight, mask = noisy_pair()
    options = tiny_options()
    device = torch.device("cpu")
    clipped = materials(Sight((half1, half2), (weight - 0.3).clamp(min=0), mask), options, device=device, seed=0)[0]
    signed = materials(Sight((half1, half2), weight - 0.3, mask), options, device=device, seed=0)[0]
    assert torch.equal(clipped.weight, signed.weight)
    assert torch.equal(clipped.pairs[0][0], signed.pairs[0][0])


def test_published_crops_are_never_moved_and_each_is_used_once_in_a_pass() -> None:
    mask = torch.ones(32, 32, 32)
    options = tiny_options(loss="published", cube_size=16, fresh_crops=False, n_subvolume=40, batch=4)
    draws = Draws(mask, options, 1)
    passes = [
        [tuple(c) for step in range(10 * p, 10 * p + 10) for c in draws.at(1, step).corners.tolist()] for p in (0, 1)
    ]
    assert len(set(passes[0])) == 40
    assert set(passes[0]) == set(passes[1])
    assert passes[0] != passes[1]
    # Clamped, a box of 32 would put most of all cubes of 16 at its faces.
    assert sum(0 in corner or 16 in corner for corner in passes[0]) < 25


def test_one_half_alone_is_made_into_two_whose_noise_is_not_correlated() -> None:
    pair = phantom_pair(N)
    sight = levelled_sight((pair.half1, pair.half2), pair.gain, pair.mask, 16, apart=True)
    options = tiny_options(mode="independent", cube_size=SIDE, see_mask=True)
    found = materials(sight, options, device=torch.device("cpu"), seed=1)
    for which, material in enumerate(found, 1):
        assert material.recorrupting is not None
        seen, compared = material.recorrupting
        torch.testing.assert_close(seen, sight.seen(compared))
        noise = sight.starts[which - 1] - sight.start_of(pair.truth, which)
        together = float(((noise + compared) * (noise - compared)).mean())
        assert abs(together) < 0.15 * float(noise.square().mean()), "where nothing is done it is all of it"
    assert not torch.equal(found[0].recorrupting[1], found[1].recorrupting[1])


def test_two_halves_need_no_noise_to_tell_signal_by() -> None:
    pair = phantom_pair(N)
    sight = levelled_sight((pair.half1, pair.half2), pair.gain, pair.mask, 16)
    assert materials(sight, tiny_options(cube_size=SIDE), device=torch.device("cpu"), seed=1)[0].recorrupting is None

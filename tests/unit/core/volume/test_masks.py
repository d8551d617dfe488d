"""Masks have the widths asked for, distances are exact, and a solvent mask finds a known particle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryobridge.core.volume import masks


@pytest.mark.parametrize("n", [24, 25])
def test_a_soft_sphere_is_one_inside_half_in_the_edge_and_zero_outside(n: int) -> None:
    mask = masks.soft_sphere(n, 5.0, 4.0)
    c = n // 2
    line = mask[c, c, c:]
    assert line[5] == 1.0
    assert line[7] == pytest.approx(0.5, abs=1e-6)
    assert line[9:].max() < 1e-6
    torch.testing.assert_close(mask[c, :, c], mask[:, c, c])
    assert masks.soft_sphere(n, 5.0, 0.0).sum() == (ball(n, 5.0)).sum()


def ball(n: int, radius: float) -> torch.Tensor:
    axis = torch.arange(n) - n // 2
    return axis.view(n, 1, 1) ** 2 + axis.view(1, n, 1) ** 2 + axis.view(1, 1, n) ** 2 <= radius**2


@given(
    shape=st.tuples(*[st.integers(3, 9)] * 3),
    share=st.floats(0.01, 0.3),
    reach=st.integers(1, 6),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_distances_are_exact_up_to_the_reach(shape: tuple[int, int, int], share: float, reach: int, seed: int) -> None:
    binary = np.random.default_rng(seed).random(shape) < share
    binary[0, 0, 0] = True
    expected = ndimage.distance_transform_edt(~binary)
    ours = masks.distance_to(torch.from_numpy(binary), reach).numpy()
    within = expected <= reach
    np.testing.assert_allclose(ours[within], expected[within], rtol=1e-6)
    assert np.isinf(ours[~within]).all()


def test_a_soft_edge_of_a_sphere_is_a_soft_sphere() -> None:
    soft = masks.soft_edge(ball(32, 6.0), width=4.0, extend=2.0)
    torch.testing.assert_close(soft, masks.soft_sphere(32, 8.0, 4.0), atol=0.35, rtol=0)
    assert soft[16, 16, 16 + 8] == 1.0
    assert soft[16, 16, 16 + 10] == pytest.approx(0.5, abs=1e-6)
    assert soft[16, 16, 16 + 12] == pytest.approx(0.0, abs=1e-6)


def test_an_edge_of_nothing_is_the_binary_mask_itself() -> None:
    binary = ball(9, 3.0)
    assert torch.equal(masks.soft_edge(binary, 0.0), binary.float())
    assert torch.equal(masks.soft_edge(binary.float() * 0.9, 0.0), binary.float())


def test_otsu_separates_two_well_parted_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(1000, generator=generator), 20 + torch.randn(300, generator=generator)])
    assert 4.0 < masks.otsu_threshold(values) < 17.0
    with pytest.raises(ValueError, match="equal values"):
        masks.otsu_threshold(torch.ones(8))


@pytest.mark.parametrize("n", [40, 41])
def test_the_solvent_mask_covers_a_known_particle_and_leaves_out_solvent_and_specks(n: int) -> None:
    particle = ball(n, 8.0).float()
    volume = particle + 0.3 * torch.randn((n, n, n), generator=torch.Generator().manual_seed(n))
    volume[n // 2, n // 2, 5] += 30.0
    mask = masks.solvent_mask(volume, 2.0, lowpass_A=12.0, extend=2.0, edge=3.0)
    assert mask[particle > 0].min() > 0.95
    assert mask[masks.soft_sphere(n, 15.0, 0.0) == 0].max() == 0.0
    assert mask.sum() < 3.2 * particle.sum()


def test_a_map_without_a_particle_is_refused() -> None:
    with pytest.raises(ValueError, match="equal values"):
        masks.solvent_mask(torch.zeros(8, 8, 8), 1.0)
    with pytest.raises(ValueError, match="not finite"):
        masks.solvent_mask(torch.full((8, 8, 8), math.nan), 1.0)
    with pytest.raises(ValueError, match="threshold"):
        masks.solvent_mask(torch.randn(8, 8, 8), 1.0, threshold=1e6)

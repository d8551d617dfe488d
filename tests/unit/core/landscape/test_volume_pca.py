"""Components of volumes, states and their maps, and what is mapped from latents, against answers that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryobridge.core.landscape import MaskedVolumes, StateMaps, UnionMask, mapped, states_of, volume_space

BOX = 12
RANDOM = np.random.default_rng(5)
MODES = torch.linalg.qr(torch.from_numpy(RANDOM.normal(size=(BOX**3, 2))))[0].T.float()
SCORES = RANDOM.normal(size=(40, 2)) * [4.0, 1.0]
MEAN = torch.linspace(0, 50, BOX**3)
VOLUMES = (MEAN + torch.from_numpy(SCORES).float() @ MODES).reshape(40, BOX, BOX, BOX)
EVERYWHERE = torch.ones((BOX,) * 3, dtype=torch.bool)


def kept(volumes: torch.Tensor, mask: torch.Tensor = EVERYWHERE) -> MaskedVolumes:
    found = MaskedVolumes(mask)
    for chunk in volumes.split(7):
        found.add(chunk)
    return found


class TestVolumeSpace:
    def test_it_holds_the_modes_that_the_volumes_were_made_of(self):
        space = volume_space(kept(VOLUMES), np.ones(40), 5)
        turned = np.linalg.svd((MODES @ space.axes[:2].T).numpy(), compute_uv=False)
        np.testing.assert_allclose(turned, 1, atol=0.02)
        assert space.shares[:2].sum() > 0.99
        np.testing.assert_allclose(
            space.mean.numpy(), MEAN + torch.from_numpy(SCORES.mean(0)).float() @ MODES, atol=0.05
        )

    def test_scores_of_volumes_are_what_they_were_made_with(self):
        space = volume_space(kept(VOLUMES), np.ones(40), 2)
        found = space.scores(VOLUMES)
        explained = np.linalg.lstsq(SCORES - SCORES.mean(0), found, rcond=None)[1] / (found**2).sum(0)
        assert (explained < 0.01).all()

    def test_a_weight_counts_as_so_many_volumes(self):
        weights = RANDOM.integers(1, 4, 40)
        one = volume_space(kept(VOLUMES), weights, 2)
        two = volume_space(kept(VOLUMES.repeat_interleave(torch.from_numpy(weights), 0)), np.ones(weights.sum()), 2)
        np.testing.assert_allclose(one.shares, two.shares, rtol=1e-3)

    def test_what_lies_outside_the_mask_counts_for_nothing(self):
        mask = EVERYWHERE.clone()
        mask[:6] = False
        other = VOLUMES.clone()
        other[:, :6] = torch.randn(40, 6, BOX, BOX, generator=torch.Generator().manual_seed(0)) * 100
        one, two = (volume_space(kept(volumes, mask), np.ones(40), 2) for volumes in (VOLUMES, other))
        torch.testing.assert_close(one.axes, two.axes)
        assert one.component(0)[:6].abs().max() == 0

    def test_volumes_that_do_not_differ_have_no_components(self):
        space = volume_space(kept(VOLUMES[:1].repeat(4, 1, 1, 1)), np.ones(4), 3)
        assert space.shares.tolist() == [0.0]


def test_the_mask_holds_half_the_peak_of_every_volume_and_five_angstrom_more():
    mask = UnionMask()
    for place in (3, 8):
        volume = torch.zeros((1, BOX, BOX, BOX))
        volume[0, place, 6, 6] = 10.0
        volume[0, place, 6, 9] = 4.0
        mask.add(volume)
    made = mask.mask(voxel_size_A=2.5)
    assert made[3, 6, 6]
    assert made[8, 6, 6]
    assert made[3, 4, 6]
    assert not made[3, 3, 6]
    assert not made[3, 6, 9]
    with pytest.raises(ValueError, match="no volumes"):
        UnionMask().mask(1.0)


class TestStates:
    def test_blobs_are_states_and_the_largest_is_the_first(self):
        scores = np.repeat([[0.0], [10], [30]], [2, 5, 3], axis=0) + 0.01 * RANDOM.normal(size=(10, 1))
        found = states_of(scores, np.repeat([1.0, 1.0, 9.0], [2, 5, 3]), 3)
        assert found.tolist() == [2, 2, 1, 1, 1, 1, 1, 0, 0, 0]

    def test_one_volume_is_one_state(self):
        assert states_of(np.zeros((1, 2)), np.ones(1), 4).tolist() == [0]

    def test_mean_and_spread_are_weighted_by_particles(self):
        maps = StateMaps(2)
        weights = RANDOM.integers(1, 9, 40)
        for volume, weight in zip(VOLUMES, weights, strict=True):
            maps.add(volume, 1, float(weight))
        mean, spread = maps.maps(1)
        every = VOLUMES.double().repeat_interleave(torch.from_numpy(weights), 0)
        torch.testing.assert_close(mean, every.mean(0).float())
        torch.testing.assert_close(spread, every.std(0, correction=0).float(), atol=1e-5, rtol=1e-4)
        with pytest.raises(ValueError, match="state 0 has no volume"):
            maps.maps(0)


class TestMapped:
    latents = RANDOM.normal(size=(300, 2))

    def test_a_linear_relation_is_told_in_full(self):
        scores = self.latents @ [[1.0, 2], [0, 3]] + 7
        found = mapped(self.latents[:60], scores[:60], self.latents)
        np.testing.assert_allclose(found.scores, scores, atol=0.05)
        assert (found.held_out_r2 > 0.999).all()

    def test_a_bent_relation_takes_more_than_a_line(self):
        scores = (self.latents**2).sum(axis=1, keepdims=True)
        found = mapped(self.latents, scores, self.latents)
        assert found.fit != "linear"
        assert found.held_out_r2[0] > 0.9

    def test_what_latents_do_not_tell_is_said(self):
        found = mapped(self.latents, RANDOM.normal(size=(300, 1)), self.latents)
        assert found.held_out_r2[0] < 0.2

    def test_with_few_volumes_nothing_is_kept_out(self):
        found = mapped(self.latents[:8], self.latents[:8], self.latents)
        assert found.fit == "linear"
        assert np.isnan(found.held_out_r2).all()

"""Random scenes: they follow from their numbers, and their halves are what they say."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.tomogram import CrossPower, ScenePractice, draw_scene, filtered, wedge_weight


def test_a_scene_follows_from_its_number_alone() -> None:
    first, again, other = draw_scene(1, 4, 24), draw_scene(1, 4, 24), draw_scene(1, 5, 24)
    assert torch.equal(first.halves, again.halves)
    assert first.wedge == again.wedge
    assert not torch.equal(first.truth, other.truth)


def test_halves_are_the_truth_in_the_wedge_and_noise_that_they_do_not_share() -> None:
    sums, expected = CrossPower.none(), torch.zeros(32, dtype=torch.float64)
    for number in range(12):
        scene = draw_scene(2, number, 32)
        weight = wedge_weight(scene.wedge, (32,) * 3)
        noise = scene.halves - filtered(scene.truth, weight)
        share = float((noise[0] * noise[1]).sum() / (noise[0].norm() * noise[1].norm()).clamp(min=1e-9))
        assert abs(share) < 0.05
        outside = filtered(scene.halves[0], (weight == 0).float())
        assert float(outside.square().sum() / scene.halves[0].square().sum()) < 1e-6
        spectra = [torch.fft.rfftn(half) / scene.halves.std() for half in scene.halves]
        sums.add(*spectra, (32,) * 3)
        alone = CrossPower.none()
        alone.add(*spectra, (32,) * 3)
        expected += scene.agreement.values * (alone.first + alone.second) / 2
    found = sums.cross.sum()
    assert float(found) == pytest.approx(float(expected.sum()), rel=0.15)


def test_practice_asks_for_the_truth_with_weights_of_the_wedge() -> None:
    practice = ScenePractice(3, 4, 16)
    batch = practice(7)
    assert batch["seen"].shape == (4, 1, 16, 16, 16)
    assert batch["hidden"].shape == (4, 1, 16, 16, 9)
    assert float((batch["kept"] * batch["hidden"]).max()) < 0.3 * float(batch["kept"].max())
    assert all(torch.equal(batch[name], value) for name, value in practice(7).items())
    assert not torch.equal(batch["target"], practice(8)["target"])

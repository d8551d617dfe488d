"""Random scenes: reproducible, finite, of the kinds they say."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.fourier import forward, fsc, shell_index
from cryobridge.core.phantoms import draw_scene, random_object, random_sampling

N = 32


def test_a_scene_follows_from_its_number() -> None:
    first, second, other = draw_scene(1, 4, N), draw_scene(1, 4, N), draw_scene(1, 5, N)
    assert torch.equal(first.half1, second.half1)
    assert not torch.equal(first.half1, other.half1)


@pytest.mark.parametrize("number", range(8))
def test_halves_hold_the_truth_and_noise_of_their_own(number: int) -> None:
    scene = draw_scene(2, number, N)
    curve = fsc(scene.half1, scene.half2, scene.mask)
    assert float(curve[1:4].mean()) > 0.3
    assert float(fsc(scene.half1, scene.truth, scene.mask)[1:4].mean()) > 0.5
    assert not torch.allclose(scene.half1, scene.half2)
    assert bool(torch.isfinite(torch.stack([scene.half1, scene.half2, scene.truth])).all())
    spectrum = forward(scene.truth).abs()
    assert float(spectrum[shell_index(N) >= scene.limit_shell].max()) < 1e-5 * float(spectrum.max())


@pytest.mark.parametrize("seed", range(12))
def test_objects_fit_their_sphere_and_have_weights(seed: int) -> None:
    atoms, weights = random_object(40.0, torch.Generator().manual_seed(seed))
    assert len(atoms) == len(weights) >= 50
    assert float(atoms.norm(dim=1).max()) < 80
    assert float(atoms.mean(0).abs().max()) < 1e-3
    assert float(weights.min()) > 0


def test_samplings_differ_by_direction_and_are_equal_at_friedel_mates() -> None:
    fields = [random_sampling(N, torch.Generator().manual_seed(seed)) for seed in range(12)]
    spreads = [float(field.std() / field.mean()) for field in fields]
    assert min(spreads) < 0.05 < max(spreads), "even ones and uneven ones"
    for field in fields:
        assert float(field.min()) >= 0
        # In the plane kx = 0 both mates are stored.
        plane = field[1:, 1:, 0]
        # A voxel on the border of two bins may fall into another one than its mate.
        different = ~torch.isclose(plane, plane.flip((0, 1)), rtol=1e-3)
        assert float(different.float().mean()) < 0.1

"""Direction sets are even, bins hold what their middles say, and meshes are closed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import directions
from cryobridge.core.fourier import transforms as fourier


def test_fibonacci_directions_are_even_unit_vectors() -> None:
    vectors = directions.fibonacci_directions(500)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(500))
    # Evenly spread axes have the second moment of the sphere, a third of the identity.
    torch.testing.assert_close(vectors.T @ vectors / 500, torch.eye(3) / 3, atol=2e-3, rtol=0)
    nearest = ((vectors @ vectors.T).abs() - torch.eye(500)).amax(dim=1).clamp(max=1.0).arccos()
    spacing = math.sqrt(2 * math.pi / 500)
    assert nearest.min() > 0.4 * spacing
    assert nearest.max() < 1.5 * spacing


@pytest.mark.parametrize("subdivisions", [0, 1, 3])
def test_the_icosphere_is_closed_and_nearly_a_sphere(subdivisions: int) -> None:
    vertices, triangles = directions.icosphere(subdivisions)
    assert triangles.shape[0] == 20 * 4**subdivisions
    assert vertices.shape[0] == 10 * 4**subdivisions + 2
    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).sort(dim=1).values
    assert bool((torch.unique(edges, dim=0, return_counts=True)[1] == 2).all())
    volume = torch.linalg.det(vertices[triangles].double()).abs().sum() / 6
    coarse = {0: 0.606, 1: 0.877, 3: 0.991}[subdivisions]
    assert float(volume) / (4 / 3 * math.pi) == pytest.approx(coarse, abs=0.005)


@pytest.mark.parametrize("per_face", [1, 5, 16])
def test_the_middle_of_every_bin_is_in_that_bin_and_so_is_its_opposite(per_face: int) -> None:
    middles = directions.bin_directions(per_face)
    expected = torch.arange(3 * per_face**2)
    assert torch.equal(directions.bin_index(middles, per_face), expected)
    assert torch.equal(directions.bin_index(-3.5 * middles, per_face), expected)


@given(st.tuples(*[st.floats(-10, 10)] * 3).filter(lambda v: max(map(abs, v)) > 1e-3))
@settings(max_examples=60, deadline=None)
def test_no_vector_is_further_from_the_middle_of_its_bin_than_a_bins_diagonal(vector: tuple[float, ...]) -> None:
    unit = torch.nn.functional.normalize(torch.tensor(vector), dim=0)
    middle = directions.bin_directions(16)[directions.bin_index(unit, 16)]
    angle = float((unit @ middle).abs().clamp(max=1.0).arccos())
    assert angle < math.radians(90 / 16)


@pytest.mark.parametrize("n", [6, 7, 20])
def test_frequency_bins_are_those_of_each_voxels_vector(n: int) -> None:
    kz, ky, kx = fourier.frequency_axes(n)
    ours = directions.frequency_bins(n, 8)
    for z, y, x in [(0, 0, 1), (1, 0, 0), (n - 1, 2, 3), (2, n - 2, 1)]:
        vector = torch.stack([kz[z, 0, 0], ky[0, y, 0], kx[0, 0, x]])
        assert ours[z, y, x] == directions.bin_index(vector, 8)

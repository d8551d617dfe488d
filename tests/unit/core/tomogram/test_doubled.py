"""Views with a second wedge: what the network is shown lacks exactly what it is asked for."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.tomogram import (
    Curve,
    DoubledViews,
    TomogramBlock,
    Wedge,
    by_place,
    filtered,
    radius,
    random_matrices,
    take,
    take_turned,
    wedge_weight,
)


def block(wedge: Wedge, side: int = 33) -> TomogramBlock:
    shape = (side,) * 3
    weight = wedge_weight(wedge, shape)
    halves = filtered(torch.randn(2, *shape, generator=torch.Generator().manual_seed(5)), weight)
    return TomogramBlock(halves, halves, weight, Curve(torch.ones(32)), wedge)


@pytest.mark.parametrize("wedge", [Wedge.of_range(-60, 60), Wedge.of_range(-40, 60)])
def test_a_turned_view_has_the_tomograms_own_wedge(wedge: Wedge) -> None:
    one = block(wedge)
    views = DoubledViews(one, 16).of_cube(torch.fft.rfftn(one.seen, dim=(-3, -2, -1)))
    assert len(views) == len(by_place(wedge))
    assert sum(len(view.orientations) for view in views) == (20 if wedge.is_symmetric else 22)
    for view in views:
        for orientation in view.orientations:
            turned = orientation.apply(view.volumes[0])
            outside = filtered(turned, 1 - one.weight)
            assert float(outside.square().sum() / turned.square().sum()) < 1e-6


def test_what_is_hidden_was_measured_and_is_not_shown() -> None:
    wedge = Wedge.of_range(-60, 60)
    one = block(wedge)
    (view,) = DoubledViews(one, 33).of_cube(torch.fft.rfftn(one.seen, dim=(-3, -2, -1)))[:1]
    turned = view.orientations[0].apply(one.halves[0])
    shown = view.orientations[0].apply(view.volumes[0])
    difference = torch.fft.rfftn(turned - shown)
    # Corners of the spectrum belong to no shell, and are asked for by nobody.
    inside_sphere = radius(turned.shape) < 0.5
    energy = difference.abs().square() * inside_sphere
    inside = energy[view.hidden > 0].sum() / energy.sum()
    assert float(inside) > 0.999
    assert float((view.kept * view.hidden).max()) == 0
    # Together they are all that the turned half holds.
    everything = torch.fft.rfftn(turned).abs().square() * inside_sphere
    assert float(everything[(view.kept + view.hidden) > 0].sum() / everything.sum()) > 0.999


def test_a_free_view_is_empty_where_the_turned_wedge_is() -> None:
    wedge = Wedge.of_range(-60, 60)
    one = block(wedge)
    matrix = random_matrices(1, torch.Generator().manual_seed(3))
    (view,) = DoubledViews(one, 16).free(torch.fft.rfftn(one.seen, dim=(-3, -2, -1)), matrix)
    again = filtered(view.volumes, wedge_weight(wedge, one.shape, matrix[0].T))
    torch.testing.assert_close(again, view.volumes, atol=1e-4, rtol=0)
    assert view.orientations == ()


def test_random_matrices_are_rotations() -> None:
    matrices = random_matrices(50, torch.Generator().manual_seed(1))
    torch.testing.assert_close(matrices @ matrices.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(50), atol=1e-5, rtol=0)
    assert float(matrices.mean(0).abs().max()) < 0.3


def test_turning_by_a_rotation_of_the_cube_is_exchanging_axes() -> None:
    volume = torch.randn(16, 20, 18, generator=torch.Generator().manual_seed(2))
    corner = torch.tensor([2, 5, 3])
    for orientation in (group[0] for group in by_place(Wedge.of_range(-40, 60))):
        expected = orientation.apply(take(volume, corner, 12))
        found = take_turned(volume, corner, 12, orientation.matrix)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

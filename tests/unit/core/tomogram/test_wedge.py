"""The measured region against sums over central planes and the rule as IsoNet draws it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryobridge.core.tomogram import Wedge, all_orientations, by_place, filtered, keeping, moving, wedge_weight


def full(weight: torch.Tensor, n: int) -> np.ndarray:
    """The whole spectrum of a half one, by its Hermitian symmetry."""
    whole = np.zeros((*weight.shape[:2], n))
    whole[:, :, : n // 2 + 1] = weight.numpy()
    for x in range(n // 2 + 1, n):
        mirror = np.roll(np.flip(whole[:, :, n - x], (0, 1)), (1, 1), (0, 1))
        whole[:, :, x] = mirror
    return whole


def test_a_plane_at_a_tilt_is_inside_and_beyond_the_range_outside() -> None:
    weight = wedge_weight(Wedge.of_range(-40, 60), (65, 65, 65))
    for angle, expected in ((-45, 0), (-38, 1), (0, 1), (58, 1), (63, 0), (90, 0)):
        z, x = round(30 * math.sin(math.radians(angle))), round(30 * math.cos(math.radians(angle)))
        assert float(weight[z, 3, x]) == expected, angle


def test_it_is_the_rule_that_isonet_draws_in_each_xz_plane() -> None:
    """Kept within 60 degrees of the x axis; always the row kz = 0, never the column kx = 0 elsewhere."""
    n = 32
    found = full(wedge_weight(Wedge.of_range(), (n, n, n)), n)
    for z in range(-n // 2 + 1, n // 2):
        for x in range(-n // 2 + 1, n // 2):
            expected = z == 0 or (x != 0 and abs(math.degrees(math.atan(z / x))) < 60)
            assert found[z, 5, x] == expected, (z, x)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 15, 13), (12, 20, 18)])
@pytest.mark.parametrize("limits", [(-60, 60), (-40, 65), (-90, 20)])
def test_filtering_twice_is_filtering_once(shape: tuple[int, int, int], limits: tuple[float, float]) -> None:
    weight = wedge_weight(Wedge.of_range(*limits), shape)
    once = filtered(torch.randn(shape), weight)
    torch.testing.assert_close(filtered(once, weight), once, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 15, 13), (12, 20, 18)])
@pytest.mark.parametrize("limits", [(-60, 60), (-40, 65), (-90, 20)])
def test_opposite_frequencies_have_one_weight(shape: tuple[int, int, int], limits: tuple[float, float]) -> None:
    """Of a half spectrum both of them are there at kx = 0, and at Nyquist of an even axis."""
    weight = wedge_weight(Wedge.of_range(*limits), shape)
    for plane in [0] if shape[2] % 2 else [0, -1]:
        opposite = weight[:, :, plane].flip(0, 1).roll((1, 1), (0, 1))
        torch.testing.assert_close(weight[:, :, plane], opposite, atol=0, rtol=0)


def test_the_part_measured_is_that_of_the_angles() -> None:
    wedge = Wedge.of_range(-60, 60)
    inside = float(wedge_weight(wedge, (96, 8, 96)).mean())
    assert 0.69 < inside < 0.73
    assert wedge.measured_share == pytest.approx(2 / 3)


def test_tilts_stand_for_half_a_step_and_a_missing_one_leaves_a_gap() -> None:
    whole = Wedge.of_tilts([*range(-60, 61, 3)])
    assert whole.sectors_deg == ((-61.5, 61.5),)
    gap = Wedge.of_tilts([angle for angle in range(-60, 61, 3) if angle != 30])
    assert gap.sectors_deg == ((-61.5, 28.5), (31.5, 61.5))
    weight = wedge_weight(gap, (129, 3, 129))
    z, x = round(60 * math.sin(math.radians(30))), round(60 * math.cos(math.radians(30)))
    assert float(weight[z, 0, x]) < 0.4
    assert float(weight[0, 0, 40]) == 1
    with pytest.raises(ValueError, match="1 tilts make no tomogram"):
        Wedge.of_tilts([3.0])


def test_taking_a_sector_out_leaves_the_rest() -> None:
    assert Wedge.of_range(-60, 60).without(40, 60).sectors_deg == ((-60, 40),)
    assert Wedge.of_range(-60, 60).without(-10, 10).sectors_deg == ((-60, -10), (10, 60))
    with pytest.raises(ValueError, match="sectors"):
        Wedge.of_range(-60, 60).without(-70, 70)


@pytest.mark.parametrize(("limits", "kept", "places"), [((-60, 60), 4, 5), ((-40, 60), 2, 11)])
def test_as_many_rotations_keep_a_wedge_as_geometry_says(limits: tuple[float, float], kept: int, places: int) -> None:
    wedge = Wedge.of_range(*limits)
    assert len(set(all_orientations())) == 24
    assert len(keeping(wedge)) == kept
    assert len(set(moving(wedge))) == 24 - kept
    assert len(by_place(wedge)) == places


def test_a_turned_volume_has_no_energy_outside_its_turned_wedge() -> None:
    wedge, n = Wedge.of_range(-40, 60), 24
    volume = filtered(torch.randn(n, n, n, dtype=torch.float64), wedge_weight(wedge, (n, n, n)).double())
    for orientation in moving(wedge):
        turned = orientation.apply(volume)
        torch.testing.assert_close(orientation.undo(turned), volume)
        left = filtered(turned, 1 - wedge_weight(wedge, turned.shape, orientation.matrix).double())
        assert float(left.square().sum() / volume.square().sum()) < 1e-6, orientation


def test_a_rotation_moves_places_as_its_matrix_says() -> None:
    volume = torch.zeros(9, 9, 9)
    place = torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64)
    volume[tuple((place + 4).long())] = 1
    for orientation in all_orientations():
        found = torch.nonzero(orientation.apply(volume))[0].double() - 4
        torch.testing.assert_close(found, orientation.matrix @ place)

"""The empty wedge of made-up tomograms is found where it was made, and nothing is claimed where there is none."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.tomogram import angular_power, wedge_evidence

N = 48


def volume(lowest_deg: float, highest_deg: float, axis: str = "y", seed: int = 0, noise: float = 0.3) -> torch.Tensor:
    """Blobs and noise (2 N, 2 N, 2 N), measured plane by plane within a range of tilts, written out as angles."""
    size = 2 * N
    generator = torch.Generator().manual_seed(seed)
    points = torch.zeros(size, size, size)
    points[tuple(torch.randint(0, size, (3, 400), generator=generator))] = 1.0
    k = torch.fft.fftfreq(size)
    kz, ky, kx = k[:, None, None], k[None, :, None], k[None, None, :]
    blob = torch.exp(-(kz.square() + ky.square() + kx.square()) * 18)
    spectrum = torch.fft.fftn(points) * blob
    spectrum += noise * torch.fft.fftn(torch.randn(size, size, size, generator=generator)) * 0.1
    across = kx if axis == "y" else ky
    angle = torch.rad2deg(torch.atan(kz / torch.where(across == 0, torch.full_like(across, 1e-9), across)))
    measured = (angle >= lowest_deg) & (angle <= highest_deg)
    whole: torch.Tensor = torch.fft.ifftn(torch.where(measured, spectrum, torch.zeros_like(spectrum))).real
    return whole


def cubes(whole: torch.Tensor, side: int = N) -> torch.Tensor:
    starts = (0, whole.shape[0] - side)
    return torch.stack(
        [whole[z : z + side, y : y + side, x : x + side] for z in starts for y in starts for x in starts]
    )


@pytest.mark.parametrize("axis", ["y", "x"])
def test_the_tilt_axis_is_found(axis: str) -> None:
    found = wedge_evidence(cubes(volume(-60, 60, axis)), -60, 60)
    assert found.axis == axis
    assert found.is_turned is None


@pytest.mark.parametrize(("lowest", "highest"), [(-48, 60), (-66, 45), (-40, 66), (-30, 70)])
def test_the_sign_of_a_range_that_is_not_symmetric_is_found(lowest: float, highest: float) -> None:
    parts = cubes(volume(lowest, highest))
    right, wrong = wedge_evidence(parts, lowest, highest), wedge_evidence(parts, -highest, -lowest)
    assert (right.axis, right.is_turned) == ("y", False)
    assert (wrong.axis, wrong.is_turned) == ("y", True)
    assert right.sides == pytest.approx(-wrong.sides)


@pytest.mark.parametrize("side", [24, 32, 40])
def test_small_cubes_are_enough(side: int) -> None:
    found = wedge_evidence(cubes(volume(-45, 60), side), -45, 60)
    assert (found.axis, found.is_turned) == ("y", False)


def test_nothing_is_claimed_of_a_volume_without_a_wedge() -> None:
    noise = torch.randn(8, N, N, N, generator=torch.Generator().manual_seed(1))
    for parts in (noise, cubes(volume(-90, 90)), torch.zeros(2, N, N, N)):
        found = wedge_evidence(parts, -40, 60)
        assert (found.axis, found.is_turned) == (None, None)
        assert abs(found.contrast["y"]) < math.log(1.8)


def test_a_nearly_full_or_nearly_symmetric_range_says_nothing_of_its_sign() -> None:
    assert wedge_evidence(cubes(volume(-88, 88)), -88, 88).axis is None
    assert wedge_evidence(cubes(volume(-58, 60)), -58, 60).is_turned is None


def test_power_by_angle_is_one_where_all_directions_are_alike_and_falls_at_the_ends() -> None:
    angles, flat = angular_power(torch.randn(16, N, N, N, generator=torch.Generator().manual_seed(2)))
    assert angles[0] == -88.5
    assert flat.min() / flat.max() > 0.8
    angles, power = angular_power(cubes(volume(-51, 60)))
    inside = (angles > -45) & (angles < 54)
    outside = (angles < -60) | (angles > 69)
    assert power[inside].min() > 5 * power[outside].max()


@pytest.mark.parametrize(
    ("shape", "low", "high"), [((2, 16, 16, 16), -60, 60), ((N, N, N), -60, 60), ((1, N, N, N), 60, -60)]
)
def test_what_cannot_be_compared_is_refused(shape: tuple[int, ...], low: float, high: float) -> None:
    with pytest.raises(ValueError, match=r"voxels a side|no range of tilts"):
        wedge_evidence(torch.zeros(shape), low, high)

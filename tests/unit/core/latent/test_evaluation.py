"""Volumes of a network of points are those of the spectrum that it gives, whatever is computed together."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryobridge.core.latent import evaluation, half_spectrum_points, spectra_of_latents, volumes_of_spectra

BOX = 16
CPU = torch.device("cpu")


class ShiftedPoint:
    """The spectrum of a single voxel, at a place (x, y, z) that is the latent, times one and a half."""

    width = 8

    def prepared(self, points: Tensor) -> Tensor:
        return points * (2 * math.pi / BOX)

    def values(self, prepared: Tensor, z: Tensor) -> Tensor:
        turns = -(prepared @ z.T).T
        return 1.5 * torch.polar(torch.ones_like(turns), turns)


def test_a_voxel_is_where_the_latent_says() -> None:
    z = torch.tensor([[0.0, 0.0, 0.0], [3.0, -2.0, 5.0]])
    points = half_spectrum_points(BOX, CPU, corners=True)
    volumes = volumes_of_spectra(spectra_of_latents(ShiftedPoint(), z, points), points, BOX)
    for volume, (x, y, depth) in zip(volumes, z.int().tolist(), strict=True):
        place = (depth + BOX // 2, y + BOX // 2, x + BOX // 2)
        assert float(volume[place]) == pytest.approx(1.5, abs=0.01)
        volume[place] = 0
        assert float(volume.abs().max()) < 0.01


@pytest.mark.parametrize("corners", [True, False])
def test_points_and_their_mates_are_the_whole_spectrum(corners: bool) -> None:
    points = half_spectrum_points(BOX, CPU, corners=corners)
    everything = {tuple(point) for point in torch.cat([points, -points]).tolist()}
    # The origin is its own mate, every other point is not.
    assert len(everything) == 2 * len(points) - 1
    half = BOX // 2
    axis = range(-half, half + 1)
    wanted = {(x, y, z) for x in axis for y in axis for z in axis if corners or x * x + y * y + z * z <= half * half}
    assert everything == wanted


def test_any_spectrum_of_a_volume_gives_it_back() -> None:
    volume = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(1))
    spectrum = torch.fft.fftn(torch.fft.ifftshift(volume))
    points = half_spectrum_points(BOX, CPU, corners=True)
    x, y, z = (points % BOX).unbind(dim=1)
    found = volumes_of_spectra(spectrum[z, y, x][None], points, BOX)
    torch.testing.assert_close(found[0], volume, atol=1e-5, rtol=0)


@pytest.mark.parametrize("piece_bytes", [1, 1 << 12, 1 << 24])
def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    points = half_spectrum_points(BOX, CPU)
    whole = ShiftedPoint().values(ShiftedPoint().prepared(points.float()), z)
    monkeypatch.setattr(evaluation, "_CPU_PIECE_BYTES", piece_bytes)
    torch.testing.assert_close(spectra_of_latents(ShiftedPoint(), z, points), whole)


def test_no_latents_are_no_spectra() -> None:
    assert spectra_of_latents(ShiftedPoint(), torch.zeros(0, 3), half_spectrum_points(BOX, CPU)).shape[0] == 0


class Rounding:
    """Whose values lose so many digits wherever matrices are multiplied in half precision."""

    width = 4

    def __init__(self, loss: float) -> None:
        self._loss = loss

    def prepared(self, points: Tensor) -> Tensor:
        return points[:, 0]

    def values(self, prepared: Tensor, z: Tensor) -> Tensor:
        lost = self._loss if torch.is_autocast_enabled("cpu") else 0.0
        return ((1 + lost) * prepared).to(torch.complex64)[None]


@pytest.mark.parametrize(("loss", "allowed"), [(1e-4, True), (0.01, False), (math.inf, False), (math.nan, False)])
def test_half_precision_is_taken_only_where_it_changes_nothing(loss: float, allowed: bool) -> None:
    points = half_spectrum_points(BOX, CPU)
    assert evaluation._may_be_halved(Rounding(loss), torch.zeros(1, 1), points) is allowed

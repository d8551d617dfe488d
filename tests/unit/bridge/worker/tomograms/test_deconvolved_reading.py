"""Tomograms read through a Wiener filter: any part is as if the whole had been filtered at once."""

from __future__ import annotations

import math
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from support.tomogram_tables import write_table

from cryobridge.bridge.worker.tomograms.deconvolved_reading import DeconvolvedReading
from cryobridge.bridge.worker.tomograms.row_contrast import WienerModel
from cryobridge.bridge.worker.tomograms.row_reading import RowReading
from cryobridge.core.tomogram import DeconvolutionFilter, VolumeBlock, Wedge
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume

CPU = torch.device("cpu")
SIZE_A, DEFOCUS_A = 8.0, 30_000.0
OPTICS = DeconvolutionFilter(SIZE_A, DEFOCUS_A, 300.0, 2.7, 0.1, snr_falloff=0.2, strength=1.5, highpass_nyquist=0.05)


def row(folder: Path, shape: tuple[int, int, int], **columns: object) -> tuple[Tomogram, np.ndarray]:
    volume = np.random.default_rng(3).normal(50, 4, shape).astype(np.float32)
    mrc.write_atomically(folder / "a.mrc", volume, SIZE_A)
    told = {
        "rlnIndex": 1,
        "rlnMicrographName": "a.mrc",
        "rlnDefocus": DEFOCUS_A,
        "rlnAmplitudeContrast": 0.1,
        **columns,
    }
    return read_tomogram_table(write_table(folder, [told])).tomograms[0], volume


def filtered(volume: np.ndarray, *, is_flipped: bool = False) -> np.ndarray:
    """By the formula of Warp's filter in double precision, of all of a periodic volume at once, its mean kept."""
    axes = [np.fft.fftfreq(side, SIZE_A) for side in volume.shape]
    kz, ky, kx = np.meshgrid(*axes, indexing="ij")
    per_A = np.minimum(np.sqrt(kz**2 + ky**2 + kx**2), 0.5 / SIZE_A)
    volt = 3e5
    wavelength_A = 12.2643247 / math.sqrt(volt * (1 + 0.978466e-6 * volt))
    phase = math.pi / 2 * (wavelength_A**3 * 2.7e7 * per_A**4 - 2 * wavelength_A * DEFOCUS_A * per_A**2)
    ctf = -math.sqrt(1 - 0.01) * np.sin(phase) + 0.1 * np.cos(phase)
    ctf = np.abs(ctf) if is_flipped else ctf
    at = per_A * 2 * SIZE_A
    snr = np.exp(-100 * 0.2 * at / SIZE_A) * 10**1.5 * (1 - np.cos(math.pi * np.minimum(1, at / 0.05))) + 1e-6
    spectrum = np.fft.fftn(volume - volume.mean()) * ctf / (ctf**2 + 1 / snr)
    return np.fft.ifftn(spectrum).real + volume.mean()


@pytest.mark.parametrize("shape", [(20, 24, 30), (18, 20, 250)])
def test_a_part_is_that_of_the_whole_filtered_and_mirrored(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    """A volume mirrored at its ends is periodic with twice its sides."""
    tomogram, volume = row(tmp_path, shape)
    truth = filtered(np.pad(volume.astype(np.float64), [(0, side) for side in shape], mode="symmetric"))
    reading = DeconvolvedReading(OPTICS)
    with TomogramVolume(tomogram, (tmp_path / "a.mrc",)) as file:
        for spans in (((-8, 30), (-16, 40), (-16, 40)), ((0, 16), (4, 20), (shape[2] - 16, shape[2] + 8))):
            found = reading.read(file, spans, CPU).numpy()
            wanted = truth[np.ix_(*(np.arange(*span) % (2 * side) for span, side in zip(spans, shape, strict=True)))]
            assert found.shape == wanted.shape
            assert np.abs(found - wanted).max() < 0.03 * wanted.std()
            assert (found - wanted).std() < 0.01 * wanted.std()


def test_the_very_volume_is_periodic(tmp_path: Path) -> None:
    tomogram, volume = row(tmp_path, (16, 18, 20))
    with TomogramVolume(tomogram, (tmp_path / "a.mrc",)) as file:
        found = DeconvolvedReading(OPTICS).read(file, ((0, 16), (0, 18), (0, 20)), CPU)
    np.testing.assert_allclose(found.numpy(), filtered(volume.astype(np.float64)), atol=0.02)


@pytest.mark.parametrize("is_flipped", [False, True])
def test_a_row_is_read_by_its_own_optics_and_the_options(tmp_path: Path, is_flipped: bool) -> None:
    tomogram, volume = row(tmp_path, (16, 16, 16))
    options = TomoRefineOptions.model_validate(
        {
            "method": "isonet2",
            "CTF_mode": "wiener",
            "snrfalloff": 0.2,
            "deconvstrength": 1.5,
            "highpassnyquist": 0.05,
            "isCTFflipped": is_flipped,
        }
    )
    reading = RowReading.of_training(options)
    assert reading.source == "whole"
    everything = VolumeBlock(((0, 16),) * 3, ((0, 16),) * 3)
    with reading.opened(tomogram, Wedge.of_range()) as halves:
        even, _ = halves.block(everything, CPU)
        raw, _ = halves.block(everything, CPU, deconvolves=False)
        assert halves.transfer is None
    np.testing.assert_allclose(even.numpy(), filtered(volume.astype(np.float64), is_flipped=is_flipped), atol=0.02)
    np.testing.assert_array_equal(raw.numpy(), volume)


def test_isonet2s_usual_filter_knows_no_falling_snr() -> None:
    assert RowReading.of_training(TomoRefineOptions(method="n2n", ctf_mode="wiener")).wiener == WienerModel(0, 1, 0.02)


def test_a_bfactor_is_in_voxels_of_the_row_and_needs_their_size(tmp_path: Path) -> None:
    reading = RowReading.of_training(TomoRefineOptions(method="isonet2", bfactor=256))
    tomogram, _ = row(tmp_path, (16, 16, 16))
    with reading.opened(tomogram, Wedge.of_range()) as halves:
        assert halves.bfactor_px2 == pytest.approx(256 / 64)
    with mrcfile.open(tmp_path / "a.mrc", "r+") as file:
        file.header.cella = (0, 0, 0)
    with pytest.raises(InputInvalid, match="row 1: neither table nor header tells the voxel size, which 'bfactor'"):
        reading.opened(tomogram, Wedge.of_range()).__enter__()

"""The contrast transfer of a tomogram's row, and what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cryobridge.core.tomogram import ContrastTransfer, DeconvolutionFilter
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table import Tomogram

from .deconvolved_reading import DeconvolvedReading

CtfMode = Literal["none", "phase_only", "wiener", "network"]
_VOLTAGE_KV, _CS_MM, _AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
"""What IsoNet2 takes where a table says nothing."""


@dataclass(frozen=True)
class WienerModel:
    """The signal-to-noise ratio that a Wiener filter goes by; see `DeconvolutionFilter`."""

    snr_falloff: float = 0.0
    strength: float = 1.0
    highpass_nyquist: float = 0.02


_USUAL = WienerModel()


@dataclass(frozen=True)
class RowContrast:
    """What is known of one tomogram's contrast transfer.

    Attributes
    ----------
    transfer
        At the voxels of the files.
    flips
        Phases were not flipped yet: it is done when the tomogram is read.
    in_network
        The network is to answer with the specimen, not with what the transfer leaves of it.
    deconvolved
        Reads the tomogram through a Wiener filter, if it is to be.
    """

    transfer: ContrastTransfer
    flips: bool
    in_network: bool
    deconvolved: DeconvolvedReading | None = None


def contrast_of(
    tomogram: Tomogram,
    pixel_size_A: float | None,
    mode: CtfMode,
    *,
    is_flipped: bool,
    clips_first_peak: bool,
    model: WienerModel = _USUAL,
) -> RowContrast | None:
    """The contrast transfer of a row as a mode treats it; None where it is left as it is.

    Parameters
    ----------
    pixel_size_A
        The table's, else the header's.
    is_flipped
        Whether the phases of its tilts were flipped before.
    model
        Of a Wiener filter.

    Raises
    ------
    InputInvalid
        If its defocus or its voxel size is not known.
    """
    if mode == "none":
        return None
    row = f"{tomogram.source}: row {tomogram.row + 1}"
    if not tomogram.defocus_A:
        raise InputInvalid(
            f"{row} has no defocus, which 'ctf_mode: {mode}' needs; set 'rlnDefocus', in Angstrom, or choose "
            "'ctf_mode: none'"
        )
    if pixel_size_A is None:
        raise InputInvalid(
            f"{row}: neither table nor header tells the voxel size, which 'ctf_mode: {mode}' needs; set 'rlnPixelSize'"
        )
    optics = DeconvolutionFilter(
        pixel_size_A,
        tomogram.defocus_A,
        voltage_kV=_given(tomogram.voltage_kV, _VOLTAGE_KV),
        cs_mm=_given(tomogram.spherical_aberration_mm, _CS_MM),
        amplitude_contrast=_given(tomogram.amplitude_contrast, _AMPLITUDE_CONTRAST),
        phase_shift_deg=_given(tomogram.phase_shift_deg, 0.0),
    )
    transfer = ContrastTransfer(optics, clips_first_peak)
    if mode == "wiener":
        parameters = replace(
            optics,
            snr_falloff=model.snr_falloff,
            strength=model.strength,
            highpass_nyquist=model.highpass_nyquist,
            phase_flipped=is_flipped,
        )
        return RowContrast(transfer, False, False, DeconvolvedReading(parameters))
    return RowContrast(transfer, not is_flipped, mode == "network")


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value

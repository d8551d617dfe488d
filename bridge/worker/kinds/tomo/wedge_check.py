"""Whether a tomogram's own empty wedge lies where its tilt range says, looked at before anything is trained on it."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from cryobridge.core.tomogram import WedgeEvidence, wedge_evidence
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.sample_cubes import sample_cubes

_USUAL_DEG = (-60.0, 60.0)
_SURELY = math.log(3.0)


def checked_wedge(
    path: Path, tilt_min_deg: float | None, tilt_max_deg: float | None
) -> tuple[WedgeEvidence | None, str | None]:
    """Look at a tomogram.

    Parameters
    ----------
    tilt_min_deg, tilt_max_deg
        As far as they are known; else the axis alone is looked at, as of -60 to 60 degrees.

    Returns
    -------
    evidence
        None where there is too little of the tomogram to look at.
    remark
        What may be wrong, if the data say so without much certainty.

    Raises
    ------
    InputInvalid
        If its tilt axis is x, or its range has the other sign for sure.
    """
    cubes = sample_cubes(path, mrc.read_header(path))
    if cubes is None:
        return None, None
    lowest = _USUAL_DEG[0] if tilt_min_deg is None else tilt_min_deg
    highest = _USUAL_DEG[1] if tilt_max_deg is None else tilt_max_deg
    found = wedge_evidence(torch.from_numpy(cubes), lowest, highest)
    if found.axis == "x":
        raise InputInvalid(
            f"{path}: its empty wedge lies about the x axis, the tilt axis must be y; turn it by 90 degrees about z, "
            "or set 'check_wedge' to false"
        )
    if not found.is_turned or tilt_min_deg is None or tilt_max_deg is None:
        return found, None
    said = (
        f"{path}: its empty wedge lies as tilts of {-highest:g} to {-lowest:g} degrees leave it, not of {lowest:g} to "
        f"{highest:g}"
    )
    if found.sides < -_SURELY:
        raise InputInvalid(f"{said}; turn the sign by 'mirrored', or set 'check_wedge' to false")
    return found, f"{said}; see whether the sign is to be turned by 'mirrored'"

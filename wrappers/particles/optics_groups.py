"""RELION's optics groups of CryoSPARC's exposure groups.

Ids of exposure groups are arbitrary, and may stand for images of several pixel sizes; RELION's groups are counted from
1, and all particles of one have the same pixel size, voltage, aberration, amplitude contrast, tilt and magnification.
Beam tilt in mrad is 1000 asin(tilt_A / (Cs in A)); the magnification matrix is the identity and CryoSPARC's `anisomag`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .ctf_bounds import CTF_BOUNDS, NO_VOLTAGE
from .source import LARGEST_BOX, ParticleSource

Table = dict[str, NDArray[np.generic]]

_A_PER_MM = 1e7
_SCALARS = (
    ("ctf/accel_kv", "rlnVoltage"),
    ("ctf/cs_mm", "rlnSphericalAberration"),
    ("ctf/amp_contrast", "rlnAmplitudeContrast"),
)


def optics_groups(source: ParticleSource, remarks: list[str]) -> tuple[Table, NDArray[np.int64]]:
    """The optics table, and the group of each particle from 1 on, in the order of first appearance.

    Raises
    ------
    InputInvalid
        If the images' size is missing, they are not square, or a number cannot be one.
    """
    shape = source.counts("blob/shape", 2)
    wrong = (shape[:, 0] != shape[:, 1]) | (shape[:, 0] == 0) | (shape[:, 0] > LARGEST_BOX)
    source.refuse(wrong, "blob/shape", "is not that of a square image")
    values = {
        "blob/shape": shape[:, :1].astype(np.float64),
        "blob/psize_A": source.pixel_sizes("blob/psize_A")[:, None],
    }
    values |= {column: source.numbers(column)[:, None] for column, _ in _SCALARS if source.has(column)}
    for column, _, least, most, why in CTF_BOUNDS:
        if column in values:
            source.refuse((values[column][:, 0] < least) | (values[column][:, 0] > most), column, why)
    if not values.get("ctf/accel_kv", np.ones(1)).all():
        remarks.append(NO_VOLTAGE)
    for column, width in (("ctf/tilt_A", 2), ("ctf/anisomag", 4)):
        if source.has(column):
            values[column] = source.numbers(column, width)
    exposure = [source.numbers("ctf/exp_group_id")[:, None]] if source.has("ctf/exp_group_id") else []
    _, first, inverse = np.unique(
        np.concatenate([*exposure, *values.values()], axis=1), axis=0, return_index=True, return_inverse=True
    )
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(1, len(first) + 1)
    at = np.sort(first)
    optics = _table({column: found[at] for column, found in values.items()}, source.name, remarks)
    return optics, rank[inverse.ravel()]


def _table(values: dict[str, NDArray[np.float64]], name: str, remarks: list[str]) -> Table:
    """The table of groups that have these values (groups, width)."""
    count = len(values["blob/shape"])
    numbers = np.arange(1, count + 1)
    optics: Table = {
        "rlnOpticsGroupName": np.char.add("opticsGroup", numbers.astype(np.str_)),
        "rlnOpticsGroup": numbers,
    }
    optics |= {label: values[column][:, 0] for column, label in _SCALARS if column in values}
    optics["rlnImagePixelSize"] = values["blob/psize_A"][:, 0]
    optics["rlnImageSize"] = values["blob/shape"][:, 0].astype(np.int64)
    optics["rlnImageDimensionality"] = np.full(count, 2)
    return optics | _tilts(values, name, remarks) | _magnification(values, remarks)


def _tilts(values: dict[str, NDArray[np.float64]], name: str, remarks: list[str]) -> Table:
    tilt, cs_mm = values.get("ctf/tilt_A"), values.get("ctf/cs_mm")
    if tilt is None or not tilt.any():
        return {}
    if cs_mm is None or bool((cs_mm <= 0).any()):
        remarks.append("Beam tilts ('ctf/tilt_A') are left out: without a spherical aberration they are no angles.")
        return {}
    sines = tilt / (cs_mm * _A_PER_MM)
    if bool((np.abs(sines) > 1).any()):
        raise InputInvalid(
            f"{name}: 'ctf/tilt_A' is up to {np.abs(tilt).max():g} A, which is no beam tilt at a spherical aberration "
            f"of {cs_mm.min():g} mm; fit the tilt again"
        )
    remarks.append("Beam tilts are converted as published; programs are not agreed about them. Fit them again.")
    return {label: 1e3 * np.arcsin(sines[:, axis]) for axis, label in enumerate(("rlnBeamTiltX", "rlnBeamTiltY"))}


def _magnification(values: dict[str, NDArray[np.float64]], remarks: list[str]) -> Table:
    anisomag = values.get("ctf/anisomag")
    if anisomag is None or not anisomag.any():
        return {}
    remarks.append(
        "The magnification matrix is the identity and CryoSPARC's; whether the two programs mean the same by it has "
        "not been tried on data. Fit it again."
    )
    matrices = anisomag.reshape(-1, 2, 2) + np.eye(2)
    return {f"rlnMagMat{row}{column}": matrices[:, row, column] for row in range(2) for column in range(2)}

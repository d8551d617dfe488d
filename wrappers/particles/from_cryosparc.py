"""CryoSPARC's particles as RELION 3.1's two tables: optics groups and particles.

Formulas: rotations as `rotations` says; rlnOriginXAngst = shift times the pixel size of the *alignment*, which is not
that of the images after binning; defocus angles and phase shifts in degrees; beam tilt in mrad is
1000 asin(tilt_A / (Cs in A)); the magnification matrix is the identity and CryoSPARC's `anisomag`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.cs_table import Columns
from .rotations import angles_of_vectors

Table = dict[str, NDArray[np.generic]]
Alignment = Literal["refinement", "classes", "none"]

_A_PER_MM = 1e7
_OPTICS = ("blob/psize_A", "blob/shape", "ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "ctf/tilt_A", "ctf/anisomag")
"""What particles of one optics group have in common, besides CryoSPARC's exposure group."""


@dataclass(frozen=True)
class RelionTables:
    """The two tables of a particle STAR file, by column (without the leading underscore), and what has to be said."""

    optics: Table
    particles: Table
    remarks: tuple[str, ...]


def relion_tables(
    columns: Columns, name: str, alignment: Alignment = "refinement", turned_deg: float = 0.0
) -> RelionTables:
    """Convert a table.

    Parameters
    ----------
    columns
        With images ("blob/"), and the rest as far as it is there; tables of what was passed through are joined.
    name
        What to call the table in messages.
    alignment
        refinement: of a 3D refinement ("alignments3D/"); classes: of the best class of a 3D classification.
    turned_deg
        By so much the object is turned about z, for point groups whose axes RELION has elsewhere.

    Raises
    ------
    InputInvalid
        If the images or the alignments are not there, or a number cannot be one.
    """
    if "blob/path" not in columns:
        raise InputInvalid(f"{name}: has no images ('blob/path'); give the passthrough file of the same job as well")
    remarks: list[str] = []
    optics, group = _optics_groups(columns)
    particles: Table = {"rlnImageName": _image_names(columns), "rlnOpticsGroup": group}
    particles |= _of_ctf(columns, remarks)
    particles |= _of_alignment(columns, name, alignment, turned_deg, remarks)
    particles |= _of_location(columns, remarks)
    for column, values in particles.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputInvalid(f"{name}: {column} of particle {row + 1} is no number; export the particles again")
    if "blob/sign" in columns and bool((columns["blob/sign"].astype(np.float64) < 0).any()):
        remarks.append(
            "The particles are dark on bright ('blob/sign' -1), and RELION expects them bright: invert the stacks "
            "(relion_preprocess --invert_contrast), or refine with dark ones only."
        )
    return RelionTables(optics, particles, tuple(remarks))


def _image_names(columns: Columns) -> NDArray[np.generic]:
    # CryoSPARC counts from 0, RELION from 1; exported tables put a ">" before each path.
    numbers = columns["blob/idx"].astype(np.int64) + 1
    paths = np.char.lstrip(columns["blob/path"].astype(np.str_), ">")
    counted = np.char.mod("%06d@", numbers)
    return np.char.add(counted, paths)


def _optics_groups(columns: Columns) -> tuple[Table, NDArray[np.generic]]:
    """The optics table, and the group of each particle from 1 on, in the order of first appearance."""
    rows = len(columns["blob/idx"])
    keys = [column for column in ("ctf/exp_group_id", *_OPTICS) if column in columns]
    flat = np.concatenate(
        [np.asarray(columns[key], np.float64).reshape(rows, -1) for key in keys] or [np.zeros((rows, 1))], axis=1
    )
    _, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(1, len(first) + 1)
    at = np.sort(first)
    group = rank[inverse.ravel()]
    optics: Table = {
        "rlnOpticsGroupName": np.char.add("opticsGroup", np.arange(1, len(at) + 1).astype(np.str_)),
        "rlnOpticsGroup": np.arange(1, len(at) + 1),
    }

    def take(column: str, label: str) -> None:
        if column in columns:
            optics[label] = columns[column][at].astype(np.float64)

    take("ctf/accel_kv", "rlnVoltage")
    take("ctf/cs_mm", "rlnSphericalAberration")
    take("ctf/amp_contrast", "rlnAmplitudeContrast")
    take("blob/psize_A", "rlnImagePixelSize")
    if "blob/shape" in columns:
        optics["rlnImageSize"] = columns["blob/shape"][at].reshape(len(at), -1)[:, -1].astype(np.int64)
    optics["rlnImageDimensionality"] = np.full(len(at), 2)
    _take_aberrations(columns, at, optics)
    return optics, group


def _take_aberrations(columns: Columns, at: NDArray[np.int64], optics: Table) -> None:
    tilt = columns.get("ctf/tilt_A")
    if tilt is not None and bool(np.any(tilt)) and "ctf/cs_mm" in columns:
        cs_A = columns["ctf/cs_mm"][at].astype(np.float64) * _A_PER_MM
        for axis, label in enumerate(("rlnBeamTiltX", "rlnBeamTiltY")):
            optics[label] = 1e3 * np.arcsin(tilt[at, axis].astype(np.float64) / cs_A)
    anisomag = columns.get("ctf/anisomag")
    if anisomag is not None and bool(np.any(anisomag)):
        matrices = anisomag[at].astype(np.float64).reshape(-1, 2, 2) + np.eye(2)
        for row in range(2):
            for column in range(2):
                optics[f"rlnMagMat{row}{column}"] = matrices[:, row, column]


def _of_ctf(columns: Columns, remarks: list[str]) -> Table:
    found: Table = {}
    for column, label, factor in (
        ("ctf/df1_A", "rlnDefocusU", 1.0),
        ("ctf/df2_A", "rlnDefocusV", 1.0),
        ("ctf/df_angle_rad", "rlnDefocusAngle", 180 / np.pi),
        ("ctf/phase_shift_rad", "rlnPhaseShift", 180 / np.pi),
        ("ctf/bfactor", "rlnCtfBfactor", 1.0),
        ("ctf/scale", "rlnCtfScalefactor", 1.0),
    ):
        if column in columns:
            found[label] = columns[column].astype(np.float64) * factor
    for column, what in (
        ("ctf/trefoil_A", "Trefoil aberrations"),
        ("ctf/tetra_A", "Tetrafoil aberrations"),
    ):
        if column in columns and bool(np.any(columns[column])):
            remarks.append(
                f"{what} ('{column}') are left out: how RELION counts them is not agreed on. Fit them again."
            )
    if "ctf/shift_A" in columns and bool(np.any(columns["ctf/shift_A"])):
        remarks.append("Image shifts by the beam ('ctf/shift_A') are left out; what RELION makes of them is not known.")
    if "ctf/anisomag" in columns and bool(np.any(columns["ctf/anisomag"])):
        remarks.append(
            "The magnification matrix is the identity and CryoSPARC's; whether the two programs mean the same by it "
            "has not been tried on data. Fit it again."
        )
    return found


def _of_alignment(columns: Columns, name: str, alignment: Alignment, turned_deg: float, remarks: list[str]) -> Table:
    if alignment == "none":
        return {}
    slot = "alignments3D" if alignment == "refinement" else "alignments3D_multi"
    if alignment == "classes" and f"{slot}/pose" not in columns:
        return _of_old_classes(columns, name, turned_deg, remarks)
    if f"{slot}/pose" not in columns:
        raise InputInvalid(
            f"{name}: has no alignments ('{slot}/pose'); give the passthrough file of the same job as well, another "
            "'alignment', or 'alignment: none'"
        )
    rows = np.arange(len(columns["uid"]))
    pose, shift = columns[f"{slot}/pose"], columns[f"{slot}/shift"]
    found: Table = {}
    if alignment == "classes":
        best = np.argmax(columns[f"{slot}/class_posterior"], axis=1)
        pose, shift = pose[rows, best], shift[rows, best]
        found["rlnClassNumber"] = best + 1
        remarks.append("Poses and shifts are those of each particle's most probable class.")
    elif f"{slot}/class" in columns and len(np.unique(columns[f"{slot}/class"])) > 1:
        found["rlnClassNumber"] = columns[f"{slot}/class"].astype(np.int64) + 1
    psize_A = columns[f"{slot}/psize_A"].astype(np.float64)
    return found | _posed(pose, shift, psize_A, turned_deg) | _subset(columns.get(f"{slot}/split"), remarks)


def _of_old_classes(columns: Columns, name: str, turned_deg: float, remarks: list[str]) -> Table:
    """Classes of versions before 4.5: a slot for each."""
    slots: list[str] = []
    while f"alignments_class_{len(slots)}/class_posterior" in columns:
        slots.append(f"alignments_class_{len(slots)}")
    if not slots:
        raise InputInvalid(f"{name}: has no alignments of classes; give the particles of a 3D classification")
    rows = np.arange(len(columns["uid"]))
    best = np.argmax(np.stack([columns[f"{slot}/class_posterior"] for slot in slots]), axis=0)
    pose = np.stack([columns[f"{slot}/pose"] for slot in slots])[best, rows]
    shift = np.stack([columns[f"{slot}/shift"] for slot in slots])[best, rows]
    psize_A = np.stack([columns[f"{slot}/psize_A"] for slot in slots])[best, rows].astype(np.float64)
    remarks.append("Poses and shifts are those of each particle's most probable class.")
    return {
        "rlnClassNumber": best + 1,
        **_posed(pose, shift, psize_A, turned_deg),
        **_subset(columns.get(f"{slots[0]}/split"), remarks),
    }


def _posed(
    pose: NDArray[np.generic], shift: NDArray[np.generic], psize_A: NDArray[np.float64], turned_deg: float
) -> Table:
    angles = angles_of_vectors(pose.astype(np.float64), turned_deg)
    origin = shift.astype(np.float64) * psize_A[:, None]
    return {
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        "rlnOriginXAngst": origin[:, 0],
        "rlnOriginYAngst": origin[:, 1],
    }


def _subset(split: NDArray[np.generic] | None, remarks: list[str]) -> Table:
    if split is None:
        return {}
    if len(np.unique(split)) < 2:
        remarks.append("All particles are in one half-set, so none is written; RELION will draw new ones.")
        return {}
    return {"rlnRandomSubset": split.astype(np.int64) + 1}


def _of_location(columns: Columns, remarks: list[str]) -> Table:
    needed = ("micrograph_path", "micrograph_shape", "center_x_frac", "center_y_frac")
    if any(f"location/{part}" not in columns for part in needed):
        return {}
    shape = columns["location/micrograph_shape"].astype(np.float64)
    remarks.append(
        "Coordinates are those of CryoSPARC's micrographs. Micrographs that RELION made itself may be upside down "
        "against them; look before extracting anew."
    )
    return {
        "rlnMicrographName": np.char.lstrip(columns["location/micrograph_path"].astype(np.str_), ">"),
        # The shape is rows, then columns.
        "rlnCoordinateX": columns["location/center_x_frac"].astype(np.float64) * shape[:, 1],
        "rlnCoordinateY": columns["location/center_y_frac"].astype(np.float64) * shape[:, 0],
    }


def star_blocks(tables: RelionTables) -> Mapping[str, Mapping[str, object]]:
    """The tables as blocks for a STAR file."""
    return {"optics": _as_text(tables.optics), "particles": _as_text(tables.particles)}


def _as_text(table: Table) -> dict[str, object]:
    return {
        label: np.char.mod("%.6f", values).tolist() if values.dtype.kind == "f" else values.astype(np.str_).tolist()
        for label, values in table.items()
    }

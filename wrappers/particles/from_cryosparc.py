"""CryoSPARC's particles as RELION 3.1's two tables: optics groups and particles.

Formulas: rotations as `rotations` says; rlnOriginXAngst = shift times the pixel size of the *alignment*, which is not
that of the images after binning; defocus angles and phase shifts in degrees; images are counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.cs_table import UID, Columns
from . import UID_LABEL
from .alignments import Alignment, of_alignment
from .half_sets import drawn_half_sets, said_of_torn, torn_apart
from .optics_groups import Table, optics_groups
from .source import ParticleSource

_CTF = (
    ("ctf/df1_A", "rlnDefocusU", 1.0),
    ("ctf/df2_A", "rlnDefocusV", 1.0),
    ("ctf/df_angle_rad", "rlnDefocusAngle", 180 / np.pi),
    ("ctf/phase_shift_rad", "rlnPhaseShift", 180 / np.pi),
    ("ctf/bfactor", "rlnCtfBfactor", 1.0),
    ("ctf/scale", "rlnCtfScalefactor", 1.0),
)
_CTF_NEEDED = ("df1_A", "df2_A", "df_angle_rad", "accel_kv", "cs_mm", "amp_contrast")
_LEFT_OUT = (
    ("ctf/trefoil_A", 2, "Trefoil aberrations", "how RELION counts them is not agreed on. Fit them again."),
    ("ctf/tetra_A", 4, "Tetrafoil aberrations", "how RELION counts them is not agreed on. Fit them again."),
    ("ctf/shift_A", 2, "Image shifts by the beam", "what RELION makes of them is not known."),
)
_LOCATION = ("micrograph_path", "micrograph_shape", "center_x_frac", "center_y_frac")


@dataclass(frozen=True)
class RelionTables:
    """The two tables of a particle STAR file, by column (without the leading underscore), and what has to be said.

    Attributes
    ----------
    slot
        That the poses and shifts come from; empty without any.
    contrast
        Of the images, in words.
    """

    optics: Table
    particles: Table
    remarks: tuple[str, ...]
    slot: str
    contrast: str


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
    source = ParticleSource(columns, name)
    if not source.has("blob/path"):
        raise InputInvalid(f"{name}: has no images ('blob/path'); give the passthrough file of the same job as well")
    remarks: list[str] = []
    optics, group = optics_groups(source, remarks)
    names = _image_names(source)
    particles: Table = {"rlnImageName": names, "rlnOpticsGroup": group}
    particles |= _of_ctf(source, remarks)
    aligned, slot = of_alignment(source, alignment, turned_deg, remarks)
    particles |= aligned | _half_sets(source, slot, names, remarks)
    particles |= _of_location(source, remarks)
    if source.has(UID):
        particles[UID_LABEL] = columns[UID].astype(np.uint64)
    contrast = _contrast(source, remarks)
    return RelionTables(optics, particles, tuple(remarks), slot, contrast)


def star_blocks(tables: RelionTables) -> Mapping[str, Mapping[str, object]]:
    """The tables as blocks for a STAR file."""
    return {"optics": _as_text(tables.optics), "particles": _as_text(tables.particles)}


def _image_names(source: ParticleSource) -> NDArray[np.str_]:
    paths, numbers = source.texts("blob/path"), source.counts("blob/idx") + 1
    known, which = np.unique(paths, return_inverse=True)
    outside = np.array([".." in PurePosixPath(str(path)).parts or "@" in str(path) for path in known])
    source.refuse(outside[which.ravel()], "blob/path", "is no path of a stack in the project")
    names: NDArray[np.str_] = np.char.add(np.char.mod("%06d@", numbers), paths)
    return names


def _half_sets(source: ParticleSource, slot: str, names: NDArray[np.str_], remarks: list[str]) -> Table:
    """RELION's half-sets of an alignment; drawn here only where RELION would tear copies of an image apart."""
    known, images = np.unique(names, return_inverse=True)
    again = source.rows - len(known)
    if again:
        remarks.append(f"{again} particles have an image that an earlier one has, as after symmetry expansion.")
    column = f"{slot}/split"
    split = source.counts(column) if slot and source.has(column) else np.zeros(source.rows, np.int64)
    if len(np.unique(split)) > 1:
        source.refuse(split > 1, column, "is no half-set (0 or 1)")
        remarks += said_of_torn(torn_apart(images.ravel(), split))
        return {"rlnRandomSubset": split + 1}
    if again and slot:
        remarks.append(
            "All particles are in one half-set, so new ones are drawn ('rlnRandomSubset'), with all copies of an image "
            "in the same; RELION itself would put them into both."
        )
        return {"rlnRandomSubset": drawn_half_sets(images.ravel()) + 1}
    if slot:
        remarks.append(
            "All particles are in one half-set, so 'rlnRandomSubset' is left out; RELION will draw new half-sets."
        )
    return {}


def _of_ctf(source: ParticleSource, remarks: list[str]) -> Table:
    missing = [part for part in _CTF_NEEDED if not source.has(f"ctf/{part}")]
    if missing:
        remarks.append(
            f"The table lacks 'ctf/{missing[0]}', without which RELION can do no CTF correction; the passthrough file "
            "may have it."
        )
    found: Table = {}
    for column, label, factor in _CTF:
        if source.has(column):
            found[label] = source.numbers(column) * factor
    for column, width, what, why in _LEFT_OUT:
        if source.has(column) and bool(source.numbers(column, width).any()):
            remarks.append(f"{what} ('{column}') are left out: {why}")
    if bool((found.get("rlnCtfBfactor", np.zeros(1)) != 0).any()):
        remarks.append("'ctf/bfactor' is written as it is; whether the programs mean the same was not tried on data.")
    return found


def _of_location(source: ParticleSource, remarks: list[str]) -> Table:
    if not all(source.has(f"location/{part}") for part in _LOCATION):
        return {}
    if source.is_blank("location/micrograph_path").any():
        remarks.append("Coordinates are left out: not every particle has a micrograph ('location/micrograph_path').")
        return {}
    shape = source.counts("location/micrograph_shape", 2)
    remarks.append(
        "Coordinates are those of CryoSPARC's micrographs. Micrographs that RELION made itself may be upside down "
        "against them (y counted from the other edge; the poses stay as they are): look before extracting anew."
    )
    return {
        "rlnMicrographName": source.texts("location/micrograph_path"),
        # The shape is rows, then columns.
        "rlnCoordinateX": source.numbers("location/center_x_frac") * shape[:, 1],
        "rlnCoordinateY": source.numbers("location/center_y_frac") * shape[:, 0],
    }


def _contrast(source: ParticleSource, remarks: list[str]) -> str:
    """What the table says of the images' contrast; a remark where RELION expects another."""
    if not source.has("blob/sign"):
        return "the table does not say"
    dark = int(np.count_nonzero(source.numbers("blob/sign") < 0))
    if dark == 0:
        return "bright on dark, as RELION expects them"
    if dark == source.rows:
        remarks.append(
            "The particles are dark on bright ('blob/sign' -1), and RELION expects them bright: invert the stacks "
            "(relion_preprocess --invert_contrast), or refine with dark ones only."
        )
        return "dark on bright"
    remarks.append(
        f"{dark} of {source.rows} particles are dark on bright ('blob/sign' -1) and the others are not: invert those "
        "stacks (relion_preprocess --invert_contrast) before they are used together."
    )
    return f"{dark} dark on bright, the others not"


def _as_text(table: Table) -> dict[str, object]:
    return {
        label: np.char.mod("%.6f", values).tolist() if values.dtype.kind == "f" else values.astype(np.str_).tolist()
        for label, values in table.items()
    }

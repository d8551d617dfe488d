"""RELION's particles (3.0; 3.1 to 5 with optics groups) as a table of CryoSPARC: the inverse of `from_cryosparc`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.cs_table import UID, Columns
from ..formats.particle_star import SUBTOMOGRAM, why_subtomograms
from ..formats.star import Block
from . import UID_LABEL
from .ctf_bounds import CTF_BOUNDS, MOST_TILT_MRAD, NO_VOLTAGE
from .half_sets import drawn_half_sets, said_of_torn, torn_apart
from .relion_rows import RelionRows, optics_block, particles_block, pixel_sizes
from .rotations import vectors_of_angles
from .source import LARGEST_BOX
from .unaligned import said_of_unaligned

_A_PER_MM = 1e7
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_CTF_NEEDED = (
    *("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"),
    *("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"),
)
_OF_IMAGES = (
    *("rlnImageName", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality", "rlnDetectorPixelSize"),
    *("rlnMagnification", "rlnMicrographName", "rlnCoordinateX", "rlnOpticsGroup"),
)
_OF_ALIGNMENT = ("rlnOriginX", "rlnOriginY", "rlnOriginXAngst", "rlnOriginYAngst", "rlnClassNumber", "rlnRandomSubset")
_OF_CTF = (
    *("rlnPhaseShift", "rlnCtfScalefactor", "rlnCtfBfactor", "rlnBeamTiltX", "rlnBeamTiltY"),
    *("rlnOddZernike", "rlnEvenZernike"),
)
_READ = frozenset((UID_LABEL, *_ANGLES, *_CTF_NEEDED, *SUBTOMOGRAM, *_OF_IMAGES, *_OF_ALIGNMENT, *_OF_CTF))
_UNSET_DEG, _MOST_DEG = -999.0, 3600.0
"""RELION's value of an angle that was never set; ten turns, beyond which an angle is a damaged number."""
_LARGEST_INDEX = 2**32 - 1


@dataclass(frozen=True)
class CryosparcTable:
    """A particle table, and what has to be said."""

    columns: Columns
    remarks: tuple[str, ...]


def cryosparc_table(
    blocks: Mapping[str, Block],
    name: str,
    pixel_size_A: float | None = None,
    box: int | None = None,
    turned_deg: float = 0.0,
) -> CryosparcTable:
    """Convert the tables of a STAR file.

    Parameters
    ----------
    blocks
        By name; of their columns those that `is_read` names.
    name
        What to call it in messages.
    pixel_size_A, box
        Of the images, for files of RELION 3.0 that do not say; in the place of what newer ones say.
    turned_deg
        By so much the object is turned about z, for point groups whose axes CryoSPARC has elsewhere.

    Raises
    ------
    InputInvalid
        If there is no table of particles, they are subtomograms, or the pixel size is not known.
    """
    why = next((why for block in blocks.values() if (why := why_subtomograms(block.columns))), "")
    if why:
        raise InputInvalid(
            f"{name}: holds subtomograms ({why}), which CryoSPARC does not know; give particles of single images"
        )
    particles = particles_block(blocks, name)
    rows = RelionRows(particles, optics_block(blocks), name)
    remarks: list[str] = []
    columns = _images(rows, name, pixel_size_A, box, remarks)
    columns |= _ctf(rows, remarks)
    columns |= _alignment(rows, columns, turned_deg, remarks)
    again = rows.count - len(set(rows.texts("rlnImageName")))
    if again:
        remarks.append(f"{again} particles are named like an earlier one; each has a 'uid' of its own all the same.")
    if rows.has("rlnCoordinateX"):
        remarks.append(
            "Coordinates are left out: CryoSPARC counts them in parts of a micrograph, whose size is not in the file."
        )
    return CryosparcTable(columns, tuple(remarks))


def is_read(label: str) -> bool:
    """Whether a conversion has a use for a column, be it to tell what must be refused or is left out."""
    return label in _READ or label.startswith(("rlnTomo", "rlnMagMat"))


def _images(rows: RelionRows, name: str, pixel_size_A: float | None, box: int | None, remarks: list[str]) -> Columns:
    numbers, paths = [], []
    for row, entry in enumerate(rows.texts("rlnImageName"), 1):
        number, at, path = entry.partition("@")
        if not at or not path or not number.isdecimal() or not 1 <= int(number[:20]) <= _LARGEST_INDEX:
            raise InputInvalid(f"{name}: {entry[:80]!r} in row {row} is no image of a stack (number@stack)")
        numbers.append(int(number) - 1)
        paths.append(path)
    size_A = pixel_sizes(rows, name, pixel_size_A)
    dimensions = rows.numbers("rlnImageDimensionality")
    if dimensions is not None:
        rows.refuse(dimensions != 2, "rlnImageDimensionality", "is not that of images; give particles of images")
    sides = rows.numbers("rlnImageSize") if box is None else np.full(rows.count, float(box))
    if sides is None:
        raise InputInvalid(f"{name}: does not say how large the images are; give 'box'")
    wrong = (sides < 1) | (sides > LARGEST_BOX) | (sides != np.rint(sides))
    rows.refuse(wrong, "rlnImageSize", "is no size of an image")
    side = np.rint(sides).astype(np.uint32)
    return {
        UID: _own_uids(rows, remarks),
        "blob/path": np.array(paths),
        "blob/idx": np.array(numbers, np.uint32),
        "blob/shape": np.stack([side, side], axis=1),
        "blob/psize_A": size_A.astype(np.float32),
        # RELION's particles are bright.
        "blob/sign": np.ones(rows.count, np.float32),
        "blob/import_sig": np.zeros(rows.count, np.uint64),
    }


def _own_uids(rows: RelionRows, remarks: list[str]) -> NDArray[np.uint64]:
    """The ids that the particles had in CryoSPARC, where they came from there; else new ones."""
    if not rows.has(UID_LABEL):
        return _uids(rows.texts("rlnImageName"))
    texts = rows.texts(UID_LABEL)
    # Not by way of a float, which has not digits enough.
    if all(text.isdecimal() and int(text[:21]) < 2**64 for text in texts) and len(set(texts)) == rows.count:
        remarks.append("Each particle has the 'uid' that it had in CryoSPARC, by which its other slots can be joined.")
        return np.array([int(text) for text in texts], np.uint64)
    remarks.append(f"'{UID_LABEL}' is not an id for each particle, so they get new ones and are not known again.")
    return _uids(rows.texts("rlnImageName"))


def _uids(names: Sequence[str]) -> NDArray[np.uint64]:
    """Ids that are the same whenever the same images are converted, and differ where they do."""
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    found = np.frombuffer(b"".join(digests), np.uint64).copy()
    _, first = np.unique(found, return_index=True)
    again = np.setdiff1d(np.arange(len(found)), first)
    for row in again:
        digest = hashlib.blake2b(f"{names[row]} {row}".encode(), digest_size=8).digest()
        found[row] = np.frombuffer(digest, np.uint64)[0]
    return found


def _ctf(rows: RelionRows, remarks: list[str]) -> Columns:
    count = rows.count

    def column(label: str, factor: float = 1.0, default: float = 0.0) -> NDArray[np.float64]:
        values = rows.numbers(label)
        return np.full(count, default) if values is None else values * factor

    missing = [label for label in _CTF_NEEDED if not rows.has(label)]
    if missing:
        remarks.append(f"{', '.join(missing)}: not in the file, so no CTF is written.")
        return {}
    for _, label, least, most, why in CTF_BOUNDS:
        values = column(label)
        rows.refuse(np.less(values, least) | np.greater(values, most), label, why)
    if not column("rlnVoltage").all():
        remarks.append(NO_VOLTAGE)
    # One exposure group has one optics; files of RELION 3.0 have no groups to tell it by.
    tilts_mrad = np.stack([column("rlnBeamTiltX"), column("rlnBeamTiltY")], axis=1)
    steep = np.hypot(tilts_mrad[:, 0], tilts_mrad[:, 1]) > MOST_TILT_MRAD
    rows.refuse(steep, "rlnBeamTiltX, rlnBeamTiltY", "is no tilt in mrad")
    matrix = np.stack(
        [column(f"rlnMagMat{a}{b}", default=float(a == b)) - float(a == b) for a in range(2) for b in range(2)], axis=1
    )
    optics = np.stack([column(label) for label in _CTF_NEEDED[3:]], axis=1)
    together = np.concatenate([rows.group[:, None].astype(np.float64), optics, tilts_mrad, matrix], axis=1)
    exposure = np.unique(together, axis=0, return_inverse=True)[1].ravel() + 1
    tilt_A = np.sin(tilts_mrad * 1e-3) * optics[:, 1:2] * _A_PER_MM
    if any(rows.has(label) for label in ("rlnOddZernike", "rlnEvenZernike")):
        remarks.append("Zernike coefficients are left out: CryoSPARC counts aberrations otherwise. Fit them again.")
    numbers = {
        "accel_kv": optics[:, 0],
        "cs_mm": optics[:, 1],
        "amp_contrast": optics[:, 2],
        "df1_A": column("rlnDefocusU"),
        "df2_A": column("rlnDefocusV"),
        "df_angle_rad": column("rlnDefocusAngle", np.pi / 180),
        "phase_shift_rad": column("rlnPhaseShift", np.pi / 180),
        "scale": column("rlnCtfScalefactor", default=1.0),
        "scale_const": np.ones(count),
        "shift_A": np.zeros((count, 2)),
        "tilt_A": tilt_A,
        "trefoil_A": np.zeros((count, 2)),
        "tetra_A": np.zeros((count, 4)),
        "anisomag": matrix,
        "bfactor": column("rlnCtfBfactor"),
    }
    return {
        "ctf/type": np.full(count, "imported"),
        "ctf/exp_group_id": exposure.astype(np.uint32),
        **{f"ctf/{part}": values.astype(np.float32) for part, values in numbers.items()},
    }


def _alignment(rows: RelionRows, images: Columns, turned_deg: float, remarks: list[str]) -> Columns:
    angles = [rows.numbers(label) for label in _ANGLES]
    if any(one is None for one in angles):
        remarks.append("The particles have no angles, so no alignments are written.")
        return {}
    known = np.stack([one for one in angles if one is not None], axis=1)
    for axis, label in enumerate(_ANGLES):
        rows.refuse(known[:, axis] == _UNSET_DEG, label, "is -999, which RELION writes where none was found")
        rows.refuse(np.abs(known[:, axis]) > _MOST_DEG, label, "is no angle in degrees")
    remarks += said_of_unaligned(known)
    pose = vectors_of_angles(known, turned_deg)
    psize_A = images["blob/psize_A"].astype(np.float64)
    shift = np.zeros((rows.count, 2))
    for axis, letter in enumerate("XY"):
        in_A, in_pixels = rows.numbers(f"rlnOrigin{letter}Angst"), rows.numbers(f"rlnOrigin{letter}")
        if in_A is not None:
            shift[:, axis] = in_A / psize_A
        elif in_pixels is not None:
            # RELION 3.0 counts in pixels of the images.
            shift[:, axis] = in_pixels
    split, number = _split(rows, remarks), rows.numbers("rlnClassNumber")
    if number is not None:
        wrong = (number < 0) | (number > _LARGEST_INDEX) | (number != np.floor(number))
        rows.refuse(wrong, "rlnClassNumber", "is no number of a class")
    return {
        "alignments3D/split": split,
        "alignments3D/shift": shift.astype(np.float32),
        "alignments3D/pose": pose.astype(np.float32),
        "alignments3D/psize_A": psize_A.astype(np.float32),
        "alignments3D/alpha": np.ones(rows.count, np.float32),
        "alignments3D/class": (np.zeros(rows.count) if number is None else np.maximum(number - 1, 0)).astype(np.uint32),
        "alignments3D/class_posterior": np.ones(rows.count, np.float32),
    }


def _split(rows: RelionRows, remarks: list[str]) -> NDArray[np.uint32]:
    subset = rows.numbers("rlnRandomSubset")
    images = np.unique(np.array(rows.texts("rlnImageName")), return_inverse=True)[1].ravel()
    if subset is None:
        remarks.append(
            "RELION's half-sets are not known; the particles are split image by image, in their order, with all copies "
            "of one in the same."
        )
        return drawn_half_sets(images).astype(np.uint32)
    rows.refuse((subset != 1) & (subset != 2), "rlnRandomSubset", "is no half-set (1 or 2)")
    split = subset.astype(np.int64) - 1
    remarks += said_of_torn(torn_apart(images, split))
    return split.astype(np.uint32)

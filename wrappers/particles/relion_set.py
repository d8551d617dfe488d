"""Particles of a RELION STAR file (3.0; 3.1 to 5 with optics groups) as a set of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.particle_star import SUBTOMOGRAM, why_subtomograms
from ..formats.star import Block
from ..formats.star_columns import read_columns
from .ctf_bounds import CTF_BOUNDS
from .particle_set import CtfColumns, ParticleSet, TiltColumns
from .relion_rows import RelionRows, optics_block, particles_block, pixel_sizes
from .rotations import matrices_of_angles
from .stack_finding import FoundStacks, expect_members, found_stacks
from .table_choice import TableChoice
from .tilt_series import tilt_columns
from .unaligned import said_of_unaligned

_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_CTF = {
    "defocus_u_A": ("rlnDefocusU", None),
    "defocus_v_A": ("rlnDefocusV", None),
    "defocus_angle_deg": ("rlnDefocusAngle", None),
    "voltage_kV": ("rlnVoltage", None),
    "cs_mm": ("rlnSphericalAberration", None),
    "amplitude_contrast": ("rlnAmplitudeContrast", None),
    "phase_shift_deg": ("rlnPhaseShift", 0.0),
    "bfactor_A2": ("rlnCtfBfactor", 0.0),
    "scale": ("rlnCtfScalefactor", 1.0),
}
"""Label of each parameter, and what it is where a file does not say; None where it has to."""
_IMAGES = ("rlnImageName", "rlnImagePixelSize", "rlnImageSize", "rlnDetectorPixelSize", "rlnMagnification")
_ORIGINS = ("rlnOriginX", "rlnOriginY", "rlnOriginXAngst", "rlnOriginYAngst")
_OTHER = ("rlnMicrographName", "rlnOpticsGroup", "rlnOpticsGroupName", "rlnRandomSubset", "rlnGroupName")
_PREMULTIPLIED, _DIMENSIONS = "rlnCtfDataAreCtfPremultiplied", "rlnImageDimensionality"
_WANTED = frozenset(
    (
        *_ANGLES,
        *_IMAGES,
        *_ORIGINS,
        *_OTHER,
        *SUBTOMOGRAM,
        _PREMULTIPLIED,
        _DIMENSIONS,
        *(label for label, _ in _CTF.values()),
    )
)
_UNSET_DEG, _MOST_DEG = -999.0, 3600.0
_SHOWN_LABELS = 12


@dataclass(frozen=True)
class _NamedImages:
    """Where the images of N rows lie."""

    names: tuple[str, ...]
    stack: NDArray[np.int64]
    number: NDArray[np.int64]


def relion_set(path: Path, choice: TableChoice) -> ParticleSet:
    """Read a STAR file of particles.

    Raises
    ------
    InputInvalid
        If it is no table of particle images, or says something that cannot be.
    """
    blocks = read_columns(path, _is_wanted)
    _expect_particles(path, blocks)
    rows = RelionRows(particles_block(blocks, str(path)), optics_block(blocks), str(path))
    images = _images(rows, path)
    found = found_stacks(images.names, path, choice.datadir) if choice.images else None
    if found is not None:
        expect_members(found, images.stack, images.number, path)
    box = _box(rows, found, choice, path, blocks)
    remarks: list[str] = []
    size_A = _pixel_sizes(rows, images, found, choice, path, remarks)
    ctf = _ctf(rows, choice, remarks) if choice.ctf else None
    micrographs, micrograph = _micrographs(rows)
    tilts = tilt_columns(rows)
    if tilts is not None and ctf is not None:
        ctf = _damped(ctf, tilts, remarks)
    rotations, shifts_A = (None, None) if choice.alignment == "none" else _poses(rows, size_A, box, remarks)
    half = rows.numbers("rlnRandomSubset")
    return ParticleSet(
        name=str(path),
        source=path,
        rows=np.arange(rows.count),
        stacks=tuple(map(Path, images.names)) if found is None else found.paths,
        stack=images.stack,
        number=images.number,
        box=box,
        pixel_size_A=size_A,
        optics_group=rows.group,
        micrograph=micrograph,
        micrographs=micrographs,
        half=np.zeros(rows.count, np.int64) if half is None else half.astype(np.int64),
        rotations=rotations,
        shifts_A=shifts_A,
        shifts_in_pixels=any(rows.has(f"rlnOrigin{axis}") and not rows.has(f"rlnOrigin{axis}Angst") for axis in "XY"),
        ctf=ctf,
        tilts=tilts,
        remarks=tuple(remarks),
    )


def _is_wanted(label: str) -> bool:
    return label in _WANTED or label.startswith("rlnTomo")


def _expect_particles(path: Path, blocks: Mapping[str, Block]) -> None:
    """Refuse what is no table of images, by what it is."""
    if not any("rlnImageName" in block.columns for block in blocks.values()):
        there = read_columns(path, lambda _: True)
        labels = [label for block in there.values() for label in block.columns]
        if any(label.startswith("cisTEM") for label in labels):
            what = "is a STAR file of cisTEM; export the refinement for RELION"
        else:
            what = "has no column 'rlnImageName'; give the particles of RELION (run_data.star)"
        shown = ", ".join(labels[:_SHOWN_LABELS]) + (", ..." if len(labels) > _SHOWN_LABELS else "")
        raise InputInvalid(f"{path}: {what} (columns found: {shown or 'none'})")
    why = next((why for block in blocks.values() if (why := why_subtomograms(block.columns))), "")
    if why:
        raise InputInvalid(
            f"{path}: holds subtomograms or 2D stacks of them ({why}), which are not read here; export a tilt series "
            "with an image a row and 'rlnGroupName' for each particle, as Warp and M write it"
        )
    said = [value for block in blocks.values() for value in block.columns.get(_PREMULTIPLIED, ())]
    if any(value == "1" for value in said):
        raise InputInvalid(
            f"{path}: its images are multiplied by their CTF already ({_PREMULTIPLIED}); extract them without that"
        )


def _images(rows: RelionRows, path: Path) -> _NamedImages:
    index: dict[str, int] = {}
    stack, number = np.empty(rows.count, np.int64), np.empty(rows.count, np.int64)
    for row, entry in enumerate(rows.texts("rlnImageName")):
        at, _, name = entry.partition("@")
        if not name or not at.isdecimal() or not 1 <= int(at[:20]) < 2**31:
            raise InputInvalid(
                f"{path}: '{entry[:80]}' in row {row + 1} is no image of a stack (number@stack, numbers from 1 on)"
            )
        number[row] = int(at) - 1
        stack[row] = index.setdefault(name, len(index))
    return _NamedImages(tuple(index), stack, number)


def _box(
    rows: RelionRows, found: FoundStacks | None, choice: TableChoice, path: Path, blocks: Mapping[str, Block]
) -> int:
    """Pixels along a side, which table and stacks must agree about."""
    said = rows.numbers("rlnImageSize")
    if said is not None:
        first = int(said[0])
        other = np.flatnonzero(said != said[0])
        if len(other):
            row = int(other[0])
            raise InputInvalid(
                f"{path}: its optics groups differ in their box, {first} pixels in {_group(blocks, rows, 0)} and "
                f"{said[row]:g} in {_group(blocks, rows, row)}; extract all particles with one box"
            )
        if found is not None and first != found.box:
            raise InputInvalid(
                f"{found.paths[0]}: holds images of {found.box} pixels, and {path} says {first} (rlnImageSize); give "
                "the table of these images"
            )
    if found is not None:
        return found.box
    box = choice.box or (0 if said is None else int(said[0]))
    if box < 1:
        raise InputInvalid(f"{path}: does not say how large the images are; give 'box'")
    return box


def _group(blocks: Mapping[str, Block], rows: RelionRows, row: int) -> str:
    optics = optics_block(blocks)
    names: Sequence[str] = () if optics is None else optics.columns.get("rlnOpticsGroupName", ())
    group = int(rows.group[row])
    return f"'{names[group]}'" if group < len(names) else f"group {group + 1}"


def _pixel_sizes(
    rows: RelionRows,
    images: _NamedImages,
    found: FoundStacks | None,
    choice: TableChoice,
    path: Path,
    remarks: list[str],
) -> NDArray[np.float64]:
    """Of each image: what was given, what the table says, what the stacks' headers say."""
    says = rows.has("rlnImagePixelSize") or (rows.has("rlnDetectorPixelSize") and rows.has("rlnMagnification"))
    if choice.pixel_size_A is None and not says and found is not None and bool((found.pixel_size_A > 0).all()):
        if not choice.sized_elsewhere:
            remarks.append(f"{path} does not say the pixel size; it is taken from the headers of the stacks.")
        return found.pixel_size_A[images.stack]
    return pixel_sizes(rows, str(path), choice.pixel_size_A)


def _ctf(rows: RelionRows, choice: TableChoice, remarks: list[str]) -> CtfColumns | None:
    given = choice.ctf_given
    missing = [
        label
        for name, (label, default) in _CTF.items()
        if default is None and name not in given and not rows.has(label)
    ]
    if missing:
        remarks.append(f"{', '.join(missing)}: not in the table, so there is no CTF.")
        return None
    columns = {}
    for name, (label, default) in _CTF.items():
        values = None if name in given else rows.numbers(label)
        columns[name] = np.full(rows.count, given.get(name, default or 0.0)) if values is None else values
    for _, label, least, most, why in CTF_BOUNDS:
        values = next(columns[name] for name, (other, _) in _CTF.items() if other == label)
        rows.refuse((values < least) | (values > most), label, why)
    rows.refuse(columns["voltage_kV"] == 0, "rlnVoltage", "is 0 kV, with which no CTF can be computed")
    return CtfColumns(**columns)


def _damped(ctf: CtfColumns, tilts: TiltColumns, remarks: list[str]) -> CtfColumns:
    """In tables of tilt series B is -4 times the dose; here it damps, as exp(-dose s^2)."""
    remarks.append("A tilt series: B-factors are read as -4 times the dose, scales as the cosine of the tilt.")
    columns = {name: getattr(ctf, name) for name in _CTF}
    return CtfColumns(**{**columns, "bfactor_A2": 4.0 * tilts.dose_e_A2})


def _poses(
    rows: RelionRows, size_A: NDArray[np.float64], box: int, remarks: list[str]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    angles = [rows.numbers(label) for label in _ANGLES]
    if any(one is None for one in angles):
        remarks.append("The table has no angles, so there are no poses.")
        return None, None
    known = np.stack([one for one in angles if one is not None], axis=1)
    for axis, label in enumerate(_ANGLES):
        rows.refuse(known[:, axis] == _UNSET_DEG, label, "is -999, which RELION writes where none was found")
        rows.refuse(np.abs(known[:, axis]) > _MOST_DEG, label, "is no angle in degrees")
    remarks += said_of_unaligned(known)
    shifts_A = np.zeros((rows.count, 2))
    for axis, letter in enumerate("XY"):
        in_A, in_px = rows.numbers(f"rlnOrigin{letter}Angst"), rows.numbers(f"rlnOrigin{letter}")
        if in_A is not None:
            shifts_A[:, axis] = in_A
        elif in_px is not None:
            shifts_A[:, axis] = in_px * size_A
        too_far = np.abs(shifts_A[:, axis]) > box * size_A
        rows.refuse(too_far, f"rlnOrigin{letter}", "shifts the particle out of its image")
    return matrices_of_angles(known), shifts_A


def _micrographs(rows: RelionRows) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if not rows.has("rlnMicrographName"):
        return (), np.full(rows.count, -1, np.int64)
    names, which = np.unique(np.array(rows.texts("rlnMicrographName")), return_inverse=True)
    return tuple(map(str, names)), which.ravel().astype(np.int64)

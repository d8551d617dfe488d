"""Which of a table's alignments is meant, and what it is to RELION.

A refinement has one slot, "alignments3D". What has several classes has "alignments3D_multi" with a class axis from
CryoSPARC 4.5 on, and one slot for each class before: `alignments_class_0` and so on (ab-initio, heterogeneous
refinement) or `alignments_class3D_0` (3D classification). Those are taken only when they are asked for.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .rotations import angles_of_vectors
from .source import ANY, ParticleSource
from .unaligned import said_of_unaligned

Table = dict[str, NDArray[np.generic]]
Alignment = Literal["refinement", "classes", "none"]

REFINEMENT, CLASSES = "alignments3D", "alignments3D_multi"
_OLD_CLASS = re.compile(r"(alignments_class_|alignments_class3D_)(\d{1,4})")
_MOST_TURNS = 10
"""Programs keep rotations within one or two turns, and what is beyond is a damaged number."""
_ONE_CLASS = "Poses and shifts are those of each particle's most probable class."


def of_alignment(
    source: ParticleSource, alignment: Alignment, turned_deg: float, remarks: list[str]
) -> tuple[Table, str]:
    """Columns of RELION, and the slot that they come from; empty where none was asked for.

    Parameters
    ----------
    turned_deg
        By so much the object is turned about z.

    Raises
    ------
    InputInvalid
        If the alignments are not there, or a number cannot be one.
    """
    if alignment == "none":
        return {}, ""
    if alignment == "refinement":
        return _of_refinement(source, turned_deg, remarks), REFINEMENT
    remarks.append(_ONE_CLASS)
    # A job's own slots come before those that it passed through.
    first = next((slot for slot in source.slots() if _is_of_classes(slot) and source.has(f"{slot}/pose")), "")
    if not first:
        raise InputInvalid(f"{source.name}: has no alignments of classes; give the particles of a 3D classification")
    if first == CLASSES:
        return _of_classes(source, turned_deg, remarks), CLASSES
    return _of_old_classes(source, first, turned_deg, remarks), first


def _is_of_classes(slot: str) -> bool:
    return slot == CLASSES or _OLD_CLASS.fullmatch(slot) is not None


def _of_refinement(source: ParticleSource, turned_deg: float, remarks: list[str]) -> Table:
    if not source.has(f"{REFINEMENT}/pose"):
        classes = any(map(_is_of_classes, source.slots()))
        other = "; it has those of classes: 'alignment: classes' takes the most probable one" if classes else ""
        raise InputInvalid(
            f"{source.name}: has no alignments of a refinement ('{REFINEMENT}/pose'){other}; give the passthrough file "
            "of the same job as well, or 'alignment: none'"
        )
    found: Table = {}
    if source.has(f"{REFINEMENT}/class"):
        number = source.counts(f"{REFINEMENT}/class")
        if len(np.unique(number)) > 1:
            found["rlnClassNumber"] = number + 1
    pose = source.numbers(f"{REFINEMENT}/pose", 3)
    # Shifts are in pixels of the refinement, which are not those of images that were binned before or after it.
    shift_A = source.numbers(f"{REFINEMENT}/shift", 2) * source.pixel_sizes(f"{REFINEMENT}/psize_A")[:, None]
    return found | _posed(source, REFINEMENT, pose, shift_A, turned_deg, remarks)


def _of_classes(source: ParticleSource, turned_deg: float, remarks: list[str]) -> Table:
    posterior = source.numbers(f"{CLASSES}/class_posterior", ANY)
    classes = posterior.shape[1]
    if classes == 0:
        raise InputInvalid(f"{source.name}: '{CLASSES}' has no classes; give the particles of a 3D classification")
    pose = source.numbers(f"{CLASSES}/pose", classes, 3)
    shift = source.numbers(f"{CLASSES}/shift", classes, 2)
    rows, best = np.arange(source.rows), np.argmax(posterior, axis=1)
    remarks += _said_of_ties((posterior == posterior[rows, best][:, None]).sum(axis=1) > 1)
    shift_A = shift[rows, best] * source.pixel_sizes(f"{CLASSES}/psize_A")[:, None]
    return {"rlnClassNumber": best + 1, **_posed(source, CLASSES, pose[rows, best], shift_A, turned_deg, remarks)}


def _of_old_classes(source: ParticleSource, first: str, turned_deg: float, remarks: list[str]) -> Table:
    """Of the classes whose slots are called like the first."""
    found = [match for slot in source.slots() if (match := _OLD_CLASS.fullmatch(slot)) is not None]
    alike = {int(match[2]): match[0] for match in found if first.startswith(match[1])}
    best = np.zeros(source.rows, np.int64)
    most, tied = np.full(source.rows, -np.inf), np.zeros(source.rows, np.bool_)
    pose, shift_A = np.zeros((source.rows, 3)), np.zeros((source.rows, 2))
    # One class at a time: there may be a hundred, and millions of particles.
    for number, slot in sorted(alike.items()):
        has_posterior = len(alike) > 1 or source.has(f"{slot}/class_posterior")
        posterior = source.numbers(f"{slot}/class_posterior") if has_posterior else np.ones(source.rows)
        better = posterior > most
        tied = (tied & ~better) | (posterior == most)
        most[better], best[better] = posterior[better], number
        pose[better] = source.numbers(f"{slot}/pose", 3)[better]
        in_A = source.numbers(f"{slot}/shift", 2) * source.pixel_sizes(f"{slot}/psize_A")[:, None]
        shift_A[better] = in_A[better]
    remarks += _said_of_ties(tied)
    return {"rlnClassNumber": best + 1, **_posed(source, first, pose, shift_A, turned_deg, remarks)}


def _said_of_ties(tied: NDArray[np.bool_]) -> list[str]:
    count = int(np.count_nonzero(tied))
    return [f"{count} particles are as probable in another class; they are put into the first."] if count else []


def _posed(
    source: ParticleSource,
    slot: str,
    pose: NDArray[np.float64],
    shift_A: NDArray[np.float64],
    turned_deg: float,
    remarks: list[str],
) -> Table:
    """Angles and origins."""
    beyond = np.linalg.norm(pose, axis=1) > _MOST_TURNS * 2 * np.pi
    source.refuse(beyond, f"{slot}/pose", "is no rotation in radians")
    angles = angles_of_vectors(pose, turned_deg)
    remarks += said_of_unaligned(angles if turned_deg == 0 else angles_of_vectors(pose))
    return {
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        "rlnOriginXAngst": shift_A[:, 0],
        "rlnOriginYAngst": shift_A[:, 1],
    }

"""Which of a table's alignments is meant, and what it is to RELION.

A refinement has one slot, "alignments3D". A 3D classification has one for each class: `alignments_class_0` and so on
before CryoSPARC 4.5, "alignments3D_multi" with a class axis from then on. Those are taken only when they are asked for.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .rotations import angles_of_vectors
from .source import ANY, ParticleSource
from .unaligned import said_of_unaligned

Table = dict[str, NDArray[np.generic]]
Alignment = Literal["refinement", "classes", "none"]

REFINEMENT, CLASSES, OLD_CLASSES = "alignments3D", "alignments3D_multi", "alignments_class_"
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
    if source.has(f"{CLASSES}/pose"):
        return _of_classes(source, turned_deg, remarks), CLASSES
    return _of_old_classes(source, turned_deg, remarks), f"{OLD_CLASSES}0"


def _of_refinement(source: ParticleSource, turned_deg: float, remarks: list[str]) -> Table:
    if not source.has(f"{REFINEMENT}/pose"):
        classes = any(slot == CLASSES or slot.startswith(OLD_CLASSES) for slot in source.slots())
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
    return found | _posed(source, REFINEMENT, pose, source.numbers(f"{REFINEMENT}/shift", 2), turned_deg, remarks)


def _of_classes(source: ParticleSource, turned_deg: float, remarks: list[str]) -> Table:
    posterior = source.numbers(f"{CLASSES}/class_posterior", ANY)
    classes = posterior.shape[1]
    pose = source.numbers(f"{CLASSES}/pose", classes, 3)
    shift = source.numbers(f"{CLASSES}/shift", classes, 2)
    rows, best = np.arange(source.rows), np.argmax(posterior, axis=1)
    return {
        "rlnClassNumber": best + 1,
        **_posed(source, CLASSES, pose[rows, best], shift[rows, best], turned_deg, remarks),
    }


def _of_old_classes(source: ParticleSource, turned_deg: float, remarks: list[str]) -> Table:
    slots: list[str] = []
    while source.has(f"{OLD_CLASSES}{len(slots)}/class_posterior"):
        slots.append(f"{OLD_CLASSES}{len(slots)}")
    if not slots:
        raise InputInvalid(f"{source.name}: has no alignments of classes; give the particles of a 3D classification")
    best = np.zeros(source.rows, np.int64)
    most = np.full(source.rows, -np.inf)
    pose, shift = np.zeros((source.rows, 3)), np.zeros((source.rows, 2))
    # One class at a time: there may be a hundred, and millions of particles.
    for number, slot in enumerate(slots):
        posterior = source.numbers(f"{slot}/class_posterior")
        better = posterior > most
        most[better], best[better] = posterior[better], number
        pose[better] = source.numbers(f"{slot}/pose", 3)[better]
        shift[better] = source.numbers(f"{slot}/shift", 2)[better]
    return {"rlnClassNumber": best + 1, **_posed(source, slots[0], pose, shift, turned_deg, remarks)}


def _posed(
    source: ParticleSource,
    slot: str,
    pose: NDArray[np.float64],
    shift: NDArray[np.float64],
    turned_deg: float,
    remarks: list[str],
) -> Table:
    """Angles and origins; the pixel size is one a particle, whatever the number of classes."""
    beyond = np.linalg.norm(pose, axis=1) > _MOST_TURNS * 2 * np.pi
    source.refuse(beyond, f"{slot}/pose", "is no rotation in radians")
    angles = angles_of_vectors(pose, turned_deg)
    remarks += said_of_unaligned(angles if turned_deg == 0 else angles_of_vectors(pose))
    # Shifts are in pixels of the refinement, which are not those of images that were binned before or after it.
    origin_A = shift * source.pixel_sizes(f"{slot}/psize_A")[:, None]
    return {
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        "rlnOriginXAngst": origin_A[:, 0],
        "rlnOriginYAngst": origin_A[:, 1],
    }

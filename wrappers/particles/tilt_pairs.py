"""Tilt pairs: every particle recorded twice, the second time with the stage tilted."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .particle_set import CtfColumns, ParticleSet, TiltColumns

_Value = TypeVar("_Value", bound=np.generic)


def tilt_pairs(untilted: ParticleSet, tilted: ParticleSet, tilt_deg: float) -> ParticleSet:
    """The images of both as one set (2 N): first the untilted ones, then the tilted ones, in their order.

    The second view of a particle is Rx(tilt) A of the first's A, with Rx(t) = [[1, 0, 0], [0, cos t, -sin t],
    [0, sin t, cos t]], as cryoDRGN 0.2 has it. What the tilted images do not say of themselves - pixel size, shifts,
    CTF - is that of the untilted ones.

    Raises
    ------
    InputInvalid
        If there are not as many of the one as of the other, in one box, or the untilted ones have no poses.
    """
    count = len(untilted)
    if len(tilted) != count:
        raise InputInvalid(
            f"{tilted.name} (tilt): has {len(tilted)} tilted images of {count} particles in {untilted.name}; give one "
            "of each, in the same order"
        )
    if tilted.box != untilted.box:
        raise InputInvalid(
            f"{tilted.name} (tilt): its images have {tilted.box} pixels, those of {untilted.name} {untilted.box}; "
            "extract both in one box"
        )
    if untilted.rotations is None:
        raise InputInvalid(f"{untilted.name}: has no poses; refine the untilted particles first, or give 'poses'")
    angle = np.radians(tilt_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    size_A = untilted.pixel_size_A if tilted.source is None else tilted.pixel_size_A
    shifts_A = untilted.shifts_A if tilted.shifts_A is None else tilted.shifts_A
    first = np.arange(count)
    return replace(
        untilted,
        rows=_twice(untilted.rows),
        stacks=(*untilted.stacks, *tilted.stacks),
        stack=np.concatenate([untilted.stack, tilted.stack + len(untilted.stacks)]),
        number=np.concatenate([untilted.number, tilted.number]),
        pixel_size_A=np.concatenate([untilted.pixel_size_A, size_A]),
        optics_group=_twice(untilted.optics_group),
        micrograph=_twice(untilted.micrograph),
        half=_twice(untilted.half),
        rotations=np.concatenate([untilted.rotations, turn @ untilted.rotations]),
        shifts_A=_both(untilted.shifts_A, shifts_A, (count, 2)),
        ctf=_both_ctf(untilted.ctf, tilted.ctf),
        uid=None if untilted.uid is None else _twice(untilted.uid),
        tilts=TiltColumns(
            np.concatenate([first, first]), np.repeat([0.0, abs(tilt_deg)], count), np.repeat([0.0, 1.0], count)
        ),
        remarks=(*untilted.remarks, *(f"Of the tilted images: {one}" for one in tilted.remarks)),
    )


def untilted_of(pairs: ParticleSet) -> ParticleSet:
    """The first images of pairs, as they came."""
    return replace(pairs.of(np.arange(len(pairs) // 2)), tilts=None)


def _twice(values: NDArray[_Value]) -> NDArray[_Value]:
    return np.concatenate([values, values])


def _both(
    first: NDArray[np.float64] | None, second: NDArray[np.float64] | None, shape: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Numbers of both, 0 where one has none; None where neither has."""
    if first is None and second is None:
        return None
    return np.concatenate([np.zeros(shape) if one is None else one for one in (first, second)])


def _both_ctf(first: CtfColumns | None, second: CtfColumns | None) -> CtfColumns | None:
    """That of the untilted images for both, where the tilted ones have none; None where the untilted have none."""
    if first is None:
        return None
    other = first if second is None else second
    return CtfColumns(
        **{
            field.name: np.concatenate([getattr(first, field.name), getattr(other, field.name)])
            for field in fields(first)
        }
    )

"""Images of particles, where they lie and what is known of each, whatever program's table they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Contrast = Literal["bright", "dark"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class CtfColumns:
    """CTF parameters of N particles, (N,) float64 each; as `core.particles.Ctf` has them."""

    defocus_u_A: Numbers
    defocus_v_A: Numbers
    defocus_angle_deg: Numbers
    voltage_kV: Numbers
    cs_mm: Numbers
    amplitude_contrast: Numbers
    phase_shift_deg: Numbers
    bfactor_A2: Numbers
    scale: Numbers

    def of(self, members: NDArray[np.int64]) -> Self:
        """The parameters of some particles."""
        return type(self)(*(getattr(self, field.name)[members] for field in fields(self)))


@dataclass(frozen=True)
class TiltColumns:
    """Which images show one object in several tilts, (N,) each.

    particle
        Number of the object, from 0 on.
    tilt_deg
        Angle of the stage, 0 where it is not known.
    dose_e_A2
        Dose before the image, in electrons per square Angstrom; 0 where it is not known.
    """

    particle: NDArray[np.int64]
    tilt_deg: Numbers
    dose_e_A2: Numbers


@dataclass(frozen=True)
class ParticleSet:
    """N images of particles. Row i of every column is about image i, which is found by its stack and number.

    Attributes
    ----------
    name
        What to call the set in messages: the path of its table.
    source
        The table that rows come from, for selections to be written from; None where there was a bare stack.
    rows
        (N,) the row of the source that each image is, from 0 on.
    stacks
        The stacks, each once.
    stack, number
        (N,) which stack, and which of its images, both from 0 on.
    box
        Pixels along a side of the images.
    pixel_size_A
        (N,) of each image.
    rotations
        (N, 3, 3) object to view, as RELION's; None where there are no poses.
    shifts_A
        (N, 2) in x, y: what recentres an image, as RELION's origins.
    shifts_in_pixels
        Whether the table has them in pixels, which stay the same pixels when another pixel size is given later.
    ctf
        None where there is none, as for images that were phase-flipped.
    optics_group
        (N,) numbers from 0 on.
    micrograph
        (N,) numbers from 0 on, -1 where unknown; `micrographs` are their names.
    half
        (N,) half-set 1 or 2, 0 where unknown.
    uid
        (N,) CryoSPARC's ids, None where there are none.
    tilts
        Of tilt series and pairs, else None.
    contrast
        What the table says: whether particles are bright on dark; None where it says nothing.
    remarks
        What a reader must know of how the table was read.
    table_rows
        How many rows the table has, where they were selected from; None where all are here, in their order.
    """

    name: str
    source: Path | None
    rows: NDArray[np.int64]
    stacks: tuple[Path, ...]
    stack: NDArray[np.int64]
    number: NDArray[np.int64]
    box: int
    pixel_size_A: Numbers
    optics_group: NDArray[np.int64]
    micrograph: NDArray[np.int64]
    half: NDArray[np.int64]
    micrographs: tuple[str, ...] = ()
    rotations: Numbers | None = None
    shifts_A: Numbers | None = None
    shifts_in_pixels: bool = False
    ctf: CtfColumns | None = None
    uid: NDArray[np.uint64] | None = None
    tilts: TiltColumns | None = None
    contrast: Contrast | None = None
    remarks: Sequence[str] = ()
    table_rows: int | None = None

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.rows)

    def of(self, members: NDArray[np.int64]) -> Self:
        """Some of the images (K,), in that order; the stacks stay as they are."""
        tilts = self.tilts
        return replace(
            self,
            rows=self.rows[members],
            stack=self.stack[members],
            number=self.number[members],
            pixel_size_A=self.pixel_size_A[members],
            optics_group=self.optics_group[members],
            micrograph=self.micrograph[members],
            half=self.half[members],
            rotations=None if self.rotations is None else self.rotations[members],
            shifts_A=None if self.shifts_A is None else self.shifts_A[members],
            ctf=None if self.ctf is None else self.ctf.of(members),
            uid=None if self.uid is None else self.uid[members],
            tilts=None
            if tilts is None
            else TiltColumns(tilts.particle[members], tilts.tilt_deg[members], tilts.dose_e_A2[members]),
        )

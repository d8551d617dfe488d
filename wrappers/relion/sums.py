"""What RELION hands over in one external-reconstruct call, read from descriptors or paths and checked.

The stock program believes everything it reads: a truncated volume, a NaN or a box of another size still ends in exit
status 0 and a map. Here every such input is an `InputInvalid` that names the file.

Layouts of RELION 3.1 and of 4.0/5.x: they differ in two items (pixel size and particle diameter) that 3.1 lacks.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.relion import SumsGeometry
from cryobridge.schemas.errors import InputInvalid

from ..formats import mrc, star

Source = int | str | os.PathLike[str]

MAX_STAR_BYTES = 4 << 20
MAX_BOX = 2048
MAX_PADDING = 8.0


@dataclass(frozen=True)
class CallDescription:
    """The STAR file of a call: where its volumes are and how to reconstruct from them."""

    source: str
    data_real: str
    data_imag: str
    weight: str
    result: str
    geometry: SumsGeometry
    tau2: NDArray[np.float64]
    """(box//2 + 1,) prior power per shell; the fudge factor is in it once already."""
    fsc: NDArray[np.float64]
    """(box//2 + 1,) half-map FSC of this iteration; zeros in Class3D."""
    fudge: float
    pixel_size_A: float | None
    """None with RELION 3.1, which does not write it here."""
    particle_diameter_A: float | None

    @property
    def is_relion4_or_newer(self) -> bool:
        """Whether RELION 4.0 or later made the call."""
        return self.pixel_size_A is not None

    @property
    def style(self) -> Literal["relion3", "relion5"]:
        """The reconstruction that the calling RELION would have made itself."""
        return "relion5" if self.is_relion4_or_newer else "relion3"


@dataclass(frozen=True)
class Sums:
    """The back-projected sums of one call."""

    description: CallDescription
    data: torch.Tensor
    """(P, P, P//2 + 1) complex64, FFTW order (not shifted): sum of CTF * image / sigma2."""
    weight: torch.Tensor
    """(P, P, P//2 + 1) float32: sum of CTF^2 / sigma2, without the prior."""


def read_description(source: Source, *, name: str | None = None) -> CallDescription:
    """Read and check the STAR file of a call.

    Raises
    ------
    InputInvalid
        If it is cut off, lacks something, is of a 2D reference, or its numbers make no sense.
    """
    file = star.read(source, name=name, max_bytes=MAX_STAR_BYTES)
    if not file.whole_lines:
        raise InputInvalid(f"{file.source}: its last line is not ended; it was cut off (disk full?)")
    general = file.block("external_reconstruct_general")
    if (dimensions := general.integer("rlnReferenceDimensionality")) != 3:
        raise InputInvalid(f"{file.source}: a reference of {dimensions} dimensions; only 3D is reconstructed here")
    geometry = _geometry(general)
    table = file.block("external_reconstruct_tau2")
    table.expect_rows(geometry.box // 2 + 1)
    if not np.array_equal(table.numbers("rlnSpectralIndex"), np.arange(table.n_rows)):
        raise InputInvalid(f"{file.source}: rlnSpectralIndex does not count 0, 1, 2, ...; the table is damaged")
    tau2 = table.numbers("rlnReferenceTau2")
    if (tau2 < 0).any():
        raise InputInvalid(f"{file.source}: rlnReferenceTau2 is negative in row {int(np.argmax(tau2 < 0))}")
    return CallDescription(
        source=file.source,
        data_real=general.text("rlnExtReconsDataReal"),
        data_imag=general.text("rlnExtReconsDataImag"),
        weight=general.text("rlnExtReconsWeight"),
        result=general.text("rlnExtReconsResult"),
        geometry=geometry,
        tau2=tau2,
        fsc=table.numbers("rlnGoldStandardFsc"),
        fudge=_positive(general, "rlnTau2FudgeFactor"),
        pixel_size_A=_positive(general, "rlnPixelSize") if "rlnPixelSize" in general.items else None,
        particle_diameter_A=general.optional_number("rlnParticleDiameter"),
    )


def read_sums(
    description: CallDescription, data_real: Source, data_imag: Source, weight: Source, *, device: str = "cpu"
) -> Sums:
    """Read the three volumes of a call straight into their tensors.

    Parameters
    ----------
    description
        The call's STAR file; it gives the shape that each volume must have.
    data_real, data_imag, weight
        Paths or open descriptors.
    device
        Where the tensors go.

    Raises
    ------
    InputInvalid
        If a volume is cut off, of another shape, not finite, or a weight is negative.
    """
    names = (description.data_real, description.data_imag, description.weight)
    sources = (data_real, data_imag, weight)
    # All three headers first: nothing is allocated for a call that cannot be answered.
    real, imag, weights = (
        _checked_header(source, name, description) for source, name in zip(sources, names, strict=True)
    )
    shape = description.geometry.sums_shape
    data = torch.empty((*shape, 2), dtype=torch.float32)
    for start, slab in mrc.read_slabs(data_real, real, name=names[0]):
        data[start : start + len(slab), :, :, 0] = torch.from_numpy(slab)
    for start, slab in mrc.read_slabs(data_imag, imag, name=names[1]):
        data[start : start + len(slab), :, :, 1] = torch.from_numpy(slab)
    weight_sums = torch.empty(shape, dtype=torch.float32)
    for start, slab in mrc.read_slabs(weight, weights, name=names[2]):
        if slab.min() < 0:
            raise InputInvalid(f"{names[2]}: holds negative weights; it is damaged")
        weight_sums[start : start + len(slab)] = torch.from_numpy(slab)
    return Sums(description, torch.view_as_complex(data).to(device), weight_sums.to(device))


def read_call(path: str | os.PathLike[str]) -> Sums:
    """Read a whole call by path; the volumes are where the STAR file says, else beside it.

    Raises
    ------
    InputInvalid
        As `read_description` and `read_sums`.
    """
    description = read_description(path)
    beside = Path(path).parent
    sources = []
    for name in (description.data_real, description.data_imag, description.weight):
        here = Path(name)
        sources.append(here if here.exists() else beside / here.name)
    return read_sums(description, *sources)


def _geometry(general: star.Block) -> SumsGeometry:
    box = general.integer("rlnOriginalImageSize")
    current = general.integer("rlnCurrentImageSize")
    padding = general.number("rlnPaddingFactor")
    if not 4 <= box <= MAX_BOX:
        raise InputInvalid(f"{general.source}: rlnOriginalImageSize is {box}; boxes of 4 to {MAX_BOX} are read")
    if not 1 <= padding <= MAX_PADDING:
        raise InputInvalid(f"{general.source}: rlnPaddingFactor is {padding}; 1 to {MAX_PADDING:g} are read")
    if not 2 <= current <= box + 1:
        raise InputInvalid(f"{general.source}: rlnCurrentImageSize is {current} with a box of {box}")
    return SumsGeometry(box=box, padding=padding, current_size=current)


def _positive(block: star.Block, key: str) -> float:
    value = block.number(key)
    if value <= 0 or math.isclose(value, 0.0):
        raise InputInvalid(f"{block.source}: '{key}' is {value}; it should be larger than 0")
    return value


def _checked_header(source: Source, name: str, description: CallDescription) -> mrc.MrcHeader:
    header = mrc.read_header(source, name=name, exact=True)
    expected = description.geometry.sums_shape
    if header.stored_shape != expected:
        raise InputInvalid(
            f"{name}: has (z, y, x) = {header.stored_shape} voxels, {description.source} calls for {expected}; "
            "it belongs to another call"
        )
    if header.dtype != np.dtype("f4") or header.axes != (1, 2, 3):
        raise InputInvalid(f"{name}: is not little-endian float32 in the order x, y, z, as RELION writes it")
    return header

"""`map.diagnose`, the part without a network: FSC curves, directions, views, and what a correction changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.diagnosis import (
    Consistency,
    consistency,
    power_changed,
    power_changed_by_measure,
    rms_difference,
)
from cryobridge.core.directional import (
    Directions,
    SamplingCompensation,
    by_direction,
    cone_areas,
    sampling_compensation,
    symmetric_views,
    view_density,
    view_directions,
)
from cryobridge.core.fourier import fibonacci_directions, fsc, resolution
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.particles import read_views

from ..measured import Measured

_DIRECTIONS = 300


@dataclass(frozen=True)
class Views:
    """The views of a particle set: how many, how evenly they sample, and their density (d,) by direction (d, 3).

    Density and evenness are those with all symmetric views.
    """

    count: int
    compensation: SamplingCompensation
    vectors: Tensor
    density: Tensor


@dataclass(frozen=True)
class Changed:
    """What a correction changed.

    power
        Share of the power, (n // 2 + 1, polar bins) about the worst direction.
    well, badly
        Share of the power in well and in badly measured Fourier voxels; NaN where there are none.
    moved
        RMS difference inside the mask over the map's deviation.
    fsc
        FSC between the corrected half-maps.
    directions
        The same by direction.
    consistency
        How the corrected maps stand to what was measured.
    """

    power: Tensor
    well: float
    badly: float
    moved: float
    fsc: Tensor
    directions: Directions
    consistency: Consistency


def views_of(path: Path, symmetry: Tensor | None, device: torch.device) -> Views:
    """Read the views of particles and say how evenly they sample Fourier space under `symmetry`, (k, 3, 3) or None.

    Raises
    ------
    InputInvalid
        If the file cannot be used.
    """
    views = view_directions(torch.from_numpy(read_views(path)).to(device))
    try:
        compensation = sampling_compensation(views, symmetry)
    except ValueError as error:
        raise InputInvalid(f"{path}: {error}; give all particles of the refinement") from error
    vectors = fibonacci_directions(_DIRECTIONS, device)
    every = views if symmetry is None else symmetric_views(views, symmetry)
    return Views(len(views), compensation, vectors, view_density(every.float(), vectors))


def changed(
    measured: Measured,
    corrected1: Tensor,
    corrected2: Tensor,
    fsc3d: Tensor,
    half_angle_deg: float,
) -> Changed:
    """What a correction did to the mean of the half-maps, and how its half-maps agree.

    `corrected1` and `corrected2` are (n, n, n), `fsc3d` is (n, n, n // 2 + 1).
    """
    mask, voxel_A = measured.mask, measured.voxel_size_A
    curve = fsc(corrected1, corrected2, mask)
    overall_A = resolution(curve, voxel_A, box=measured.half1.shape[-1])
    before, after = (measured.half1 + measured.half2) / 2, (corrected1 + corrected2) / 2
    well, badly = power_changed_by_measure(before, after, fsc3d, fsc3d != 0.0, mask)
    return Changed(
        power=power_changed(before, after, measured.directions.vectors[measured.directions.worst], mask),
        well=well,
        badly=badly,
        moved=rms_difference(before, after, mask),
        fsc=curve,
        consistency=consistency(
            (measured.half1, measured.half2), (corrected1, corrected2), mask, measured.directions, measured.judged_shell
        ),
        directions=by_direction(
            corrected1, corrected2, mask, voxel_A, overall_A=overall_A, half_angle_deg=half_angle_deg
        ),
    )


def direction_table(directions: Directions, after: Directions | None) -> str:
    """Resolution by direction as CSV: unit vectors x, y, z, and the area under the curve as a share of the largest."""
    areas = cone_areas(directions.curves)
    columns = {
        "resolution_A": directions.resolutions_A,
        "area": areas / areas.max().clamp(min=1e-12),
    }
    if after is not None:
        columns["after_correction_fsc_0.143_A"] = after.resolutions_A
    return _by_vector(directions.vectors, columns)


def view_table(views: Views) -> str:
    """Density of views by direction as CSV; 1 is that of evenly spread views."""
    return _by_vector(views.vectors, {"density": views.density})


def curve_bands(directions: Directions) -> dict[str, Tensor]:
    """Mean, standard deviation, extremes, and best and worst direction's curve of the conical FSC."""
    curves = directions.curves
    return {
        "mean": curves.mean(0),
        "deviation": curves.std(0, correction=0),
        "minimum": curves.amin(0),
        "maximum": curves.amax(0),
        "best": curves[directions.best],
        "worst": curves[directions.worst],
    }


def change_table(power: Tensor) -> dict[str, Tensor]:
    """Columns of a table of the change by shell and polar bin, (n // 2 + 1, bins)."""
    step = 90 / power.shape[1]
    return {f"{i * step:g}-{(i + 1) * step:g}_deg": power[:, i] for i in range(power.shape[1])}


def _by_vector(vectors: Tensor, columns: dict[str, Tensor]) -> str:
    """Columns (d,) as CSV behind the unit vectors (d, 3), which are kept in z, y, x order and written as x, y, z."""
    every = {"x": vectors[:, 2], "y": vectors[:, 1], "z": vectors[:, 0], **columns}
    rows = [",".join(every)]
    values = (column.tolist() for column in every.values())
    rows += [",".join(f"{value:.5f}" for value in row) for row in zip(*values, strict=True)]
    return "\n".join(rows) + "\n"

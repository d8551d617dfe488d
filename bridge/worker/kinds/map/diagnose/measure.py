"""`map.diagnose`, the part without a network: FSC curves, directions, views, and what a correction changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.diagnosis import power_changed, power_changed_by_measure, rms_difference
from cryobridge.core.directional import (
    area_ratio,
    conical_fsc,
    resolution_by_direction,
    symmetric_views,
    view_directions,
)
from cryobridge.core.directional import compensation as scf
from cryobridge.core.fourier import CorrectedFsc, corrected_fsc, fibonacci_directions, fsc, resample, resolution
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.particles import read_views

from ....jobs.volumes import Pair
from ..measured import Measured

_DIRECTIONS = 300
_FEWEST_SHELLS = 16


@dataclass(frozen=True)
class OverallFsc:
    """How far the half-maps agree over all directions.

    curves
        By name, (n // 2 + 1,) each: unmasked and, with a mask, masked, randomised and corrected for the mask.
    used
        The curve that the resolution is read from.
    resolution_A, half_A
        Where it falls below 0.143 and 0.5; infinite where it never is above.
    randomised_from
        Shell from which phases were randomised; None without a mask, or where the FSC is too high to randomise.
    """

    curves: dict[str, Tensor]
    used: Tensor
    resolution_A: float
    half_A: float
    randomised_from: int | None


@dataclass(frozen=True)
class Directions:
    """Conical FSC curves by direction.

    vectors
        (d, 3) unit vectors z, y, x.
    curves
        (d, n // 2 + 1), 1 in the shells where a cone holds hardly a voxel.
    resolutions_A
        (d,), where they fall below 0.143.
    worst, best
        Numbers of the directions with the smallest and the largest area under the curve.
    """

    vectors: Tensor
    curves: Tensor
    resolutions_A: Tensor
    worst: int
    best: int

    @property
    def cfar(self) -> float:
        """Conical FSC area ratio."""
        return area_ratio.cfar(self.curves)

    @property
    def spread(self) -> area_ratio.DirectionSpread:
        """Resolution over directions."""
        return area_ratio.direction_spread(self.resolutions_A)


@dataclass(frozen=True)
class Views:
    """The views of a particle set: how many, how evenly they sample, and their density (d,) by direction (d, 3).

    Density and evenness are those with all symmetric views.
    """

    count: int
    compensation: scf.SamplingCompensation
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
    """

    power: Tensor
    well: float
    badly: float
    moved: float
    fsc: Tensor
    directions: Directions


def agreement(measured: Measured, pair: Pair, seed: int) -> OverallFsc:
    """FSC of the half-maps, corrected for the mask where there is one."""
    n, voxel_size_A = pair.box, pair.voxel_size_A
    if measured.mask is None:
        curves, used, start = {"unmasked": measured.curve}, measured.curve, None
    else:
        found: CorrectedFsc = corrected_fsc(measured.half1, measured.half2, measured.mask, seed)
        names = ("unmasked", "masked", "randomised", "corrected")
        curves = {name: getattr(found, name) for name in names}
        used, start = pair.held(found.corrected), found.randomised_from
    at = [resolution(used, voxel_size_A, threshold, box=n) for threshold in (0.143, 0.5)]
    return OverallFsc(curves, used, at[0], at[1], start)


def by_direction(
    half1: Tensor, half2: Tensor, mask: Tensor | None, voxel_size_A: float, limit_shell: int, half_angle_deg: float
) -> Directions:
    """Conical FSC curves of two maps (n, n, n); twice as far as the limit and no further, beyond they are 0."""
    n = half1.shape[-1]
    vectors = fibonacci_directions(_DIRECTIONS, half1.device)
    first, second = half1 - half1.mean(), half2 - half2.mean()
    if mask is not None:
        first, second = first * mask, second * mask
    reach = min((n - 1) // 2, max(2 * limit_shell, _FEWEST_SHELLS))
    low = conical_fsc(
        resample(first, 2 * reach + 1), resample(second, 2 * reach + 1), vectors, half_angle_deg=half_angle_deg
    )
    curves = torch.zeros((_DIRECTIONS, n // 2 + 1), dtype=low.dtype, device=low.device)
    curves[:, : reach + 1] = area_ratio.judged(low, half_angle_deg)
    # A direction that is lost in shell 1 is worse than any, but its resolution is still a number.
    resolutions = resolution_by_direction(curves, n, voxel_size_A).clamp(max=n * voxel_size_A)
    areas = area_ratio.cone_areas(curves)
    return Directions(vectors, curves, resolutions, int(areas.argmin()), int(areas.argmax()))


def views_of(path: Path, symmetry: Tensor | None, device: torch.device) -> Views:
    """Read the views of particles and say how evenly they sample Fourier space under `symmetry`, (k, 3, 3) or None.

    Raises
    ------
    InputInvalid
        If the file cannot be used.
    """
    views = view_directions(torch.from_numpy(read_views(path)).to(device))
    try:
        compensation = scf.sampling_compensation(views, symmetry)
    except ValueError as error:
        raise InputInvalid(f"{path}: {error}; give all particles of the refinement") from error
    vectors = fibonacci_directions(_DIRECTIONS, device)
    every = views if symmetry is None else symmetric_views(views, symmetry)
    return Views(len(views), compensation, vectors, scf.view_density(every.float(), vectors))


def changed(
    measured: Measured,
    corrected1: Tensor,
    corrected2: Tensor,
    directions: Directions,
    fsc3d: Tensor,
    voxel_size_A: float,
    half_angle_deg: float,
) -> Changed:
    """What a correction did to the mean of the half-maps, and how its half-maps agree.

    `corrected1` and `corrected2` are (n, n, n), `fsc3d` is (n, n, n // 2 + 1).
    """
    mask = measured.mask
    before, after = (measured.half1 + measured.half2) / 2, (corrected1 + corrected2) / 2
    well, badly = power_changed_by_measure(before, after, fsc3d, fsc3d != 0.0, mask)
    return Changed(
        power=power_changed(before, after, directions.vectors[directions.worst], mask),
        well=well,
        badly=badly,
        moved=rms_difference(before, after, mask),
        fsc=fsc(corrected1, corrected2, mask),
        directions=by_direction(corrected1, corrected2, mask, voxel_size_A, measured.limit_shell, half_angle_deg),
    )


def direction_table(directions: Directions, after: Directions | None) -> str:
    """Resolution by direction as CSV: unit vectors x, y, z, and the area under the curve as a share of the largest."""
    areas = area_ratio.cone_areas(directions.curves)
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

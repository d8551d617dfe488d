"""`map.postprocess`: a sharpened map of two half-maps, with their mask-corrected FSC."""

from __future__ import annotations

import dataclasses
import math
from typing import TypedDict

from cryobridge.core.fourier import resolution, resolution_shell
from cryobridge.core.relion import Agreement, Sharpened, agreement, sharpen
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.map.postprocess import MapPostprocessJob, PostprocessOptions

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.limits import within_grid
from ....jobs.runner import JobSteps
from ....jobs.tables import curve_table
from ....jobs.volumes import Pair, read_pair
from ....loop import Progress
from ....report import chimerax
from ....report.levels import contour_levels
from ..measured import curve_remarks
from .report import STATEMENT, named_curves, page


class _Limits(TypedDict):
    """Resolutions in Angstrom that `sharpen` takes."""

    fit_from_A: float
    fit_to_A: float | None
    low_pass_A: float | None


RESULT = "postprocessed.mrc"
MASKED = "postprocessed_masked.mrc"


def run(job: MapPostprocessJob, context: Context) -> JobSteps:
    """Write the sharpened map, alone and masked, the curves it was made by, and the report."""
    device, folder = context.device, context.folder
    options = job.options
    pair = read_pair(job.inputs, options.voxel_size_A, device)
    limits = _limits(options, pair)
    folder.mark("read")
    yield Progress(f"read two half-maps of {pair.box}^3 at {pair.voxel_size_A:g} A", 0.2)

    half1, half2 = pair.half1.data.to(device), pair.half2.data.to(device)
    mask = None if pair.mask is None else pair.mask.data.to(device)
    agreed = agreement(half1, half2, mask, randomise_below=options.randomise_below_fsc, seed=options.seed)
    agreed = dataclasses.replace(agreed, used=pair.held(agreed.used))
    remarks = [*pair.remarks, *curve_remarks(agreed.used, pair)]
    yield from context.remarked(remarks)
    yield Progress("compared the half-maps", 0.5)
    average = (half1 + half2) / 2
    try:
        sharpened = sharpen(
            average,
            agreed.used,
            pair.voxel_size_A,
            sharpening=options.sharpening,
            b_factor_A2=options.b_factor_A2,
            **limits,
            mask=mask,
        )
    except ValueError as error:
        raise InputInvalid(f"{job.inputs.half1} and {job.inputs.half2}: {error}") from error
    folder.mark("compute")
    b_factor = "" if sharpened.b_factor_A2 is None else f", B-factor {sharpened.b_factor_A2:.1f} A^2"
    found = f"resolution {sharpened.resolution_A:.2f} A{b_factor}"
    yield Progress(found, 0.8)
    folder.log(found)
    folder.write_map(RESULT, sharpened.volume, pair.voxel_size_A, pair.position)
    if mask is not None:
        folder.write_map(MASKED, sharpened.volume * mask, pair.voxel_size_A, pair.position)
    folder.write_text("fsc.csv", curve_table(named_curves(pair, agreed), pair.box, pair.voxel_size_A))
    folder.write_text("guinier.csv", _guinier_table(sharpened))
    levels = contour_levels({RESULT: sharpened.volume}, mask)
    folder.write_text("postprocessed.cxc", chimerax.script(list(levels.items())))
    notes = warnings(agreed, sharpened, pair)
    for note in notes:
        folder.log(note)
    folder.write_text(REPORT_NAME, page(job, pair, agreed, average.cpu(), sharpened, [*remarks, *notes]))
    return folder.finish(
        metrics=_metrics(pair, agreed, sharpened),
        options={**options.model_dump(mode="json"), **limits},
        statements=[STATEMENT, *notes],
        seeds={"phases": options.seed},
    )


def _metrics(pair: Pair, agreed: Agreement, sharpened: Sharpened) -> dict[str, float | int | None]:
    """The numbers of the result."""
    line = sharpened.guinier.line
    half_A = resolution(agreed.used, pair.voxel_size_A, 0.5, box=pair.box)
    return {
        "box": pair.box,
        "voxel_size_A": pair.voxel_size_A,
        "resolution_A": round(sharpened.resolution_A, 4),
        "resolution_0.5_A": round(half_A, 4) if math.isfinite(half_A) else None,
        "low_pass_A": round(sharpened.low_pass_A, 4),
        "b_factor_A2": None if sharpened.b_factor_A2 is None else round(sharpened.b_factor_A2, 2),
        "fit_r_squared": None if line is None else round(line.r_squared, 4),
        "randomised_from_shell": agreed.curves.randomised_from,
    }


def _limits(options: PostprocessOptions, pair: Pair) -> _Limits:
    """The resolutions of the options as they are used.

    Raises
    ------
    InputInvalid
        If one that was chosen is beyond what the maps can hold.
    """

    def used(name: str, value_A: float | None) -> float | None:
        if value_A is None or name not in options.model_fields_set:
            return value_A
        return within_grid(name, value_A, pair.half1.path, pair.box, pair.voxel_size_A)

    return {
        "fit_from_A": used("fit_from_A", options.fit_from_A) or options.fit_from_A,
        "fit_to_A": used("fit_to_A", options.fit_to_A),
        "low_pass_A": used("low_pass_A", options.low_pass_A),
    }


def warnings(agreed: Agreement, sharpened: Sharpened, pair: Pair) -> list[str]:
    """Say what a user should look at before trusting the map."""
    found = []
    shell = resolution_shell(agreed.used)
    if pair.mask is None:
        found.append("No mask was given: the solvent's noise counts, and the resolution reads worse than it is.")
    elif agreed.mask_hurts:
        found.append(
            f"{pair.mask.path}: the FSC inside the mask is worse than without it, so the mask was not used for the "
            "resolution; does it cover the particle?"
        )
    elif agreed.curves.randomised_from is None:
        found.append("The FSC stays so high that no phases could be randomised: nothing is corrected for the mask.")
    elif float(agreed.curves.randomised[shell]) > 0.1:
        found.append(
            "At the resolution the FSC with random phases is above 0.10: the mask itself correlates; take a softer or "
            "wider one."
        )
    if shell == pair.box // 2:
        found.append("The FSC stays above 0.143 up to Nyquist: a smaller voxel size may hold more.")
    if sharpened.b_factor_A2 is not None and sharpened.b_factor_A2 > 0:
        found.append("The B-factor is positive, so the map was blurred, not sharpened.")
    return found


def _guinier_table(sharpened: Sharpened) -> str:
    plot = sharpened.guinier
    rows = ["inverse_d2,averaged,weighted,sharpened"]
    columns = (plot.inverse_d2, plot.averaged, plot.weighted, plot.sharpened)
    rows += [",".join(f"{value:.6g}" for value in row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    return "\n".join(rows) + "\n"

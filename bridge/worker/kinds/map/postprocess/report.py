"""The page about a sharpened map."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cryobridge.core.fourier import resolution as fsc_resolution
from cryobridge.core.relion import Agreement, Sharpened
from cryobridge.schemas.kinds.map.postprocess import MapPostprocessJob, PostprocessOptions

from ....jobs.volumes import Pair
from ....report import figures, methods, readings
from ....report.page import Figure, Report, as_html
from ....report.quantities import angstrom

STATEMENT = "The resolution is true as far as the two half-maps were made independently of each other."


def named_curves(pair: Pair, agreed: Agreement) -> dict[str, torch.Tensor]:
    """Return the curves that mean something: without a mask there is only one."""
    curves = agreed.curves
    if pair.mask is None:
        return {"unmasked": curves.unmasked}
    return {
        "unmasked": curves.unmasked,
        "masked": curves.masked,
        "randomised": curves.randomised,
        "corrected": curves.corrected,
    }


def page(
    job: MapPostprocessJob,
    pair: Pair,
    agreed: Agreement,
    average: torch.Tensor,
    sharpened: Sharpened,
    notes: Sequence[str],
) -> str:
    """Return the page as HTML; `average` (n, n, n) is the map before."""
    resolution = angstrom(sharpened.resolution_A)
    how = _how(job.options, sharpened)
    corrected = pair.mask is not None and not agreed.mask_hurts
    fsc_reading = _of_fsc(pair, agreed, sharpened, corrected=corrected)
    curves = {name: curve.cpu() for name, curve in named_curves(pair, agreed).items()}
    before_after = {"average of the halves": average, "postprocessed": sharpened.volume.cpu()}
    paragraphs, references = methods.write(_passages(job.options, pair, agreed, sharpened, corrected=corrected))
    report = Report(
        title="Sharpened map",
        summary=f"Resolution {resolution} (FSC 0.143); {how}, low-passed at {angstrom(sharpened.low_pass_A)}.",
        facts={
            "half-map 1": str(job.inputs.half1),
            "half-map 2": str(job.inputs.half2),
            "mask": str(job.inputs.mask or "none"),
            "box": f"{pair.box} voxels of {angstrom(pair.voxel_size_A)}",
            "resolution": resolution,
            "sharpening": how,
            "low-pass": angstrom(sharpened.low_pass_A),
        },
        figures=[
            Figure(
                "Fourier shell correlation",
                figures.fsc_curves(curves, pair.voxel_size_A, pair.box),
                fsc_reading,
                table="fsc.csv",
            ),
            _guinier(job.options, sharpened),
            Figure(
                "Map before and after",
                figures.orthoslices(before_after, pair.voxel_size_A),
                "Detail should gain contrast; a grainy look all over means that it was sharpened too much.",
                is_tile=True,
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=[*notes, *readings.alarms([fsc_reading])],
        references=references,
    )
    return as_html(report)


def _of_fsc(pair: Pair, agreed: Agreement, sharpened: Sharpened, *, corrected: bool) -> readings.Reading:
    if not corrected:
        return readings.fsc(sharpened.resolution_A, pair.voxel_size_A, float(agreed.used[-1]))
    masked_A = fsc_resolution(agreed.curves.masked, pair.voxel_size_A, box=pair.box)
    return readings.mask_effect(masked_A, sharpened.resolution_A)


def _passages(
    options: PostprocessOptions, pair: Pair, agreed: Agreement, sharpened: Sharpened, *, corrected: bool
) -> list[methods.Passage]:
    start = agreed.curves.randomised_from if corrected else None
    fitted = sharpened.guinier.line is not None
    return [
        methods.fsc(
            masked=corrected, randomised_from_A=None if start is None else pair.box * pair.voxel_size_A / start
        ),
        methods.postprocessing(
            sharpened.b_factor_A2, sharpened.low_pass_A, fitted=fitted, sharpened=options.sharpening != "none"
        ),
    ]


def _guinier(options: PostprocessOptions, sharpened: Sharpened) -> Figure:
    plot = sharpened.guinier
    line = None if plot.line is None else (plot.line.intercept, plot.line.slope)
    fit_range_A = (options.fit_from_A, options.fit_to_A or sharpened.resolution_A)
    names = {"averaged": plot.averaged, "weighted by FSC": plot.weighted, "sharpened": plot.sharpened}
    spectra = {name: values.cpu() for name, values in names.items()}
    picture = figures.guinier(spectra, plot.inverse_d2.cpu(), line, None if line is None else fit_range_A)
    return Figure("Guinier plot", picture, _of_fit(sharpened), table="guinier.csv")


def _how(options: PostprocessOptions, sharpened: Sharpened) -> str:
    if sharpened.b_factor_A2 is not None:
        origin = "fitted" if sharpened.guinier.line is not None else "given"
        return f"B-factor {sharpened.b_factor_A2:.1f} Å² ({origin})"
    if options.sharpening == "flatten":
        return f"spectrum level from {angstrom(options.fit_from_A)} on"
    return "not sharpened"


def _of_fit(sharpened: Sharpened) -> str:
    line = sharpened.guinier.line
    if line is None:
        return "The last curve should neither fall steeply nor rise towards high resolution."
    if line.r_squared < 0.8:
        return (
            f"The fall-off is no straight line (r² {line.r_squared:.2f}), so one B-factor describes it badly; "
            "give one by hand or level the spectrum instead."
        )
    return f"The fall-off is well described by one B-factor (r² {line.r_squared:.2f})."

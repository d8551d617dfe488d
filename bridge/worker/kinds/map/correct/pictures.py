"""The figures on the page about a correction, each with one line that says what it shows."""

from __future__ import annotations

from torch import Tensor

from cryobridge.core.fourier import last_shell, lowpass, resolution
from cryobridge.core.volume import sections_along

from ....report import figures, readings
from ....report.page import Figure
from ....report.quantities import angstrom
from ..measured import sphericity_or_none
from . import shown, words
from .correction import Correction
from .measures import CONE_DEG

_ORIENTED = ("worst axis upright", "the same, turned by 90°", "across the worst axis")


def pictures(correction: Correction) -> list[Figure]:
    """All of them, in the order of the page."""
    return [
        _maps(correction),
        _oriented(correction),
        *_spread(correction),
        *_agreement(correction),
        *_directions(correction),
        *_training(correction),
        _change(correction),
        _amplitudes(correction),
        *_sharpening(correction),
    ]


def _maps(correction: Correction) -> Figure:
    prepared, found = correction.prepared, correction.found
    voxel_A, limit_A = prepared.pair.voxel_size_A, prepared.limit_A
    before = (prepared.pair.half1.data + prepared.pair.half2.data) / 2
    maps = {"before": before, "corrected": found.mean}
    return Figure(
        f"Mean of the half-maps before and after, to {angstrom(limit_A)}",
        figures.orthoslices({name: lowpass(one, voxel_A, limit_A) for name, one in maps.items()}, voxel_A),
        words.read_similarity(found.correlation),
        is_tile=True,
    )


def _oriented(correction: Correction) -> Figure:
    """Sections in which the worst axis stands upright, of the maps that are made for looking at."""
    prepared, axis = correction.prepared, correction.measures.worst
    names = ("before", "corrected", "amplitudes restored")
    maps = zip(names, correction.looking.maps.values(), strict=False)
    rows = {name: list(sections_along(volume.float(), axis)) for name, volume in maps}
    picture = figures.section_rows(rows, _ORIENTED, prepared.pair.voxel_size_A)
    return Figure(
        f"Along and across the worst direction (x, y, z = {_in_words(axis)})", picture, shown.read_oriented(axis)
    )


def _in_words(axis: Tensor) -> str:
    return ", ".join(f"{value:.2f}" for value in axis.flip(0).tolist())


def _spread(correction: Correction) -> list[Figure]:
    found = correction.found
    if found.spread is None:
        return []
    picture = figures.spread_slices(found.mean, found.spread, correction.prepared.pair.voxel_size_A)
    reading = words.read_spread(found.relative_spread, len(correction.trained))
    return [Figure("How far the networks agree", picture, reading)]


def _agreement(correction: Correction) -> list[Figure]:
    prepared, found = correction.prepared, correction.found
    voxel_A, box = prepared.pair.voxel_size_A, prepared.pair.box
    shared = correction.network.mode == "shared"
    before_A = prepared.measured.resolution_A
    after_A = resolution(found.fsc_after, voxel_A, 0.143, box=box)
    read = words.read_shared_network if shared else words.read_independent_networks
    curves = {
        "half-maps": prepared.measured.curve.cpu(),
        "corrected, not a resolution" if shared else "corrected, each by itself": found.fsc_after,
    }
    measures = correction.measures
    cones = {
        f"worst, {shown.AFTER if shared else 'corrected'}": measures.cones_after[0],
        "worst, half-maps": measures.cones_before[0],
        f"best, {shown.AFTER if shared else 'corrected'}": measures.cones_after[1],
        "best, half-maps": measures.cones_before[1],
    }
    unread = [name for name in (*curves, *cones) if shared and "half-maps" not in name]
    return [
        Figure(
            "Fourier shell correlation before and after",
            figures.fsc_curves(curves, voxel_A, box, no_resolutions=unread),
            read(before_A, after_A),
            table="fsc.csv",
        ),
        Figure(
            f"FSC in cones of {CONE_DEG:g}° about the worst and the best direction, before and after",
            figures.fsc_curves(cones, voxel_A, box, no_resolutions=unread),
            shown.read_cones(shared=shared),
            table="cones.csv",
        ),
    ]


def _directions(correction: Correction) -> list[Figure]:
    prepared, found = correction.prepared, correction.measures
    voxel_A, volume = prepared.pair.voxel_size_A, prepared.fsc3d.cpu()
    directions, resolutions = found.directions, found.resolutions_A
    best_A, worst_A = float(resolutions.min()), float(resolutions.max())
    return [
        Figure(
            "3DFSC of the half-maps, central sections",
            figures.fsc3d_slices(volume, voxel_A),
            readings.anisotropy(best_A, worst_A, sphericity_or_none(volume)),
        ),
        Figure(
            "Resolution of the half-maps by direction",
            figures.resolution_sphere(directions, resolutions),
            readings.directions(best_A, worst_A, prepared.measured.directions.spread.deviation_A),
            table="directions.csv",
        ),
        Figure(
            "How many directions reach which resolution",
            figures.resolution_histogram(resolutions),
            shown.read_histogram(found.resolution_spread),
            table="directions.csv",
        ),
        Figure(
            "What a view from each direction holds of signal",
            figures.signal_sphere(directions, found.seen),
            shown.read_views(found.seen),
        ),
    ]


def _training(correction: Correction) -> list[Figure]:
    first = correction.trained[0].record
    if not first.losses:
        return []
    title = "Training" if len(correction.trained) == 1 else "Training of the first network"
    warm = correction.began_trained
    picture = figures.loss_curve(first.losses, first.held_out, correction.network.held_out_every)
    return [Figure(title, picture, readings.loss(first.losses, first.held_out, warm=warm), table="loss.csv")]


def _change(correction: Correction) -> Figure:
    prepared, found = correction.prepared, correction.found
    last = last_shell(prepared.pair.box, prepared.pair.voxel_size_A, prepared.limit_A)
    return Figure(
        f"What was changed, by shell and by angle to the worst direction (x, y, z = {_in_words(found.axis)})",
        figures.change_map(
            found.change[: last + 1], prepared.pair.voxel_size_A, prepared.pair.box, axis="the worst direction"
        ),
        readings.change(found.changed_well, found.changed_badly),
        table="change.csv",
    )


def _amplitudes(correction: Correction) -> Figure:
    prepared, found = correction.prepared, correction.measures.amplitudes
    curves = {
        "measured badly: corrected over measured": found.kept_badly,
        "measured well: corrected over measured": found.kept_well,
        "measured badly: corrected over signal": found.signal_badly,
        "measured well: corrected over signal": found.signal_well,
    }
    if not bool(found.kept_badly.isfinite().any()):
        curves = {name: curve for name, curve in curves.items() if "badly" not in name}
    picture = figures.amplitude_ratios(curves, prepared.pair.voxel_size_A, prepared.pair.box)
    reading = shown.read_amplitudes(correction.measures.signal_badly)
    return Figure("Amplitudes, by shell", picture, reading, table="amplitudes.csv")


def _sharpening(correction: Correction) -> list[Figure]:
    sharpened = correction.looking.sharpened
    if sharpened is None or sharpened.b_factor_A2 is None:
        return []
    plot = sharpened.guinier
    spectra: dict[str, Tensor] = {
        "corrected": plot.averaged.cpu(),
        "weighted by FSC": plot.weighted.cpu(),
        "sharpened": plot.sharpened.cpu(),
    }
    line = None if plot.line is None else (plot.line.intercept, plot.line.slope)
    picture = figures.guinier(spectra, plot.inverse_d2.cpu(), line, None)
    return [Figure("Guinier plot", picture, words.read_sharpening(sharpened.b_factor_A2, sharpened.low_pass_A))]

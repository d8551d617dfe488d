"""The report of `vae.volumes`."""

from __future__ import annotations

import numpy as np

from cryobridge.core.latent import Nearness
from cryobridge.schemas.kinds.vae.volumes import VaeVolumesJob

from ....heterogeneity.finishing import Finishing
from ....heterogeneity.run_folder import LatentRun, Latents
from ....heterogeneity.series import HALF
from ....heterogeneity.words import CRYODRGN
from ....report import figures, methods
from ....report.page import Figure, Report
from ....report.quantities import angstrom, percent
from .chosen import ChosenLatents
from .series import MOST_CURVES, SeriesFindings
from .tables import differ_from_A

STATEMENTS = (
    "Each volume is what the model makes of one latent, not a reconstruction of particles of its own: before anything "
    "is built or claimed, select the particles about it (vae.select) and reconstruct them by themselves.",
    "How alike two of these volumes are says nothing of the resolution of either: both come from one model.",
    "A series of volumes is an order along latents, not in time, and the distance between latents is no energy.",
)
_NAMED = 8
"""Volumes that a warning names."""


def doubts(near: Nearness | None, z: Latents, first_number: int) -> list[str]:
    """Say which volumes lie where no particles are."""
    if near is None:
        return []
    off = np.flatnonzero(near.off_data)
    if not off.size:
        return []
    named = ", ".join(str(first_number + place) for place in off[:_NAMED].tolist())
    more = f" and {off.size - _NAMED} more" if off.size > _NAMED else ""
    farthest = float((near.distance / max(near.edge, 1e-12)).max())
    return [
        f"{off.size} of {len(z)} latents lie off the data (volumes {named}{more}): the nearest particle is farther "
        f"than 99 of 100 particles are from their nearest neighbour, up to {farthest:.3g} times that. What the model "
        "makes there no particle supports."
    ]


def page_of(
    job: VaeVolumesJob,
    run: LatentRun,
    chosen: ChosenLatents,
    finishing: Finishing,
    names: list[str],
    findings: SeriesFindings,
    near: Nearness | None,
) -> Report:
    """Build the page."""
    paragraphs, references = methods.write(
        [passage(chosen.words, run.model.name, run.model.zdim, len(names)), methods.display()]
    )
    facts = {
        "run": str(run.path),
        "model": f"{run.model.name}, {run.model.zdim} latents",
        "latents": chosen.words,
        "volumes": str(len(names)),
        "box": f"{finishing.box} voxels of {angstrom(finishing.voxel_size_A)}",
    }
    if job.options.epoch is not None:
        facts["epoch of the latents"] = str(job.options.epoch)
    if finishing.low_pass_A is not None:
        facts["low-passed at"] = angstrom(finishing.low_pass_A)
    done = [word for word, was in (("mirrored", finishing.flip), ("inverted", finishing.invert)) if was]
    if done:
        facts["changed"] = ", ".join(done)
    return Report(
        title="Volumes of latents",
        summary=_summary(len(names), findings, near),
        facts=facts,
        figures=_figures(finishing, names, findings),
        statements=STATEMENTS,
        methods=paragraphs,
        warnings=[*run.remarks, *doubts(near, chosen.z, job.options.first_number)],
        references=references,
    )


def passage(latents: str, model: str, zdim: int, count: int) -> methods.Passage:
    """What was done, for the methods text."""
    text = f"{count} volumes were computed from {latents} with a model of {zdim} latent dimensions"
    if model == "coordinate":
        return methods.Passage(f"{text} ({CRYODRGN.short}).", (CRYODRGN,))
    return methods.Passage(f"{text}.")


def _summary(count: int, findings: SeriesFindings, near: Nearness | None) -> str:
    text = f"{count} volumes." if count > 1 else "One volume."
    if findings.neighbours:
        largest = max(found.change for found in findings.neighbours)
        text += f" From one to the next they change by up to {percent(largest)} of their own deviation."
    if near is not None:
        text += f" {count - int(near.off_data.sum())} lie where particles are."
    return text


def _figures(finishing: Finishing, names: list[str], findings: SeriesFindings) -> list[Figure]:
    sections = {names[place]: section for place, section in findings.sections.items()}
    shown = [
        Figure(
            "Volumes",
            figures.volume_strip(sections, finishing.voxel_size_A),
            "Projections along z, all on one grey scale, in the order of the latents."
            + (f" {len(sections)} of {len(names)} are shown." if len(sections) < len(names) else ""),
            table="volumes.csv",
            is_tile=True,
        )
    ]
    spread = findings.spread()
    if spread is not None:
        first = next(iter(sections.values()))
        differences = {name: section - first for name, section in list(sections.items())[1:]}
        shown.append(
            Figure(
                "What changes",
                figures.difference_strip(differences, finishing.voxel_size_A),
                f"Projections less that of {names[0]}: red where there is more density, blue where there is less.",
            )
        )
        shown.append(
            Figure(
                "Where it changes",
                figures.spread_slices(*spread, finishing.voxel_size_A),
                "Bright where the volumes differ. What is bright all over, or only at the edge of the box, is noise.",
            )
        )
    curves = findings.curves()
    if curves:
        named = {
            f"{names[place]} and next, from {angstrom(differ_from_A(findings.neighbours[place], finishing))} on": curve
            for place, curve in curves.items()
        }
        shown.append(
            Figure(
                "Neighbours",
                figures.fsc_curves(named, finishing.voxel_size_A, finishing.box, (HALF,), no_resolutions=named),
                f"Fourier shell correlation of each volume and the next, those {MOST_CURVES} that differ most. Where a "
                "curve is low the two differ; it is no resolution.",
                table="neighbours.csv",
            )
        )
    return shown

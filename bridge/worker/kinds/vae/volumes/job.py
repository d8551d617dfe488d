"""The steps of `vae.volumes`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from cryobridge.core.latent import Nearness, nearness
from cryobridge.schemas.kinds.vae.volumes import VaeVolumesJob

from ....beside import beside
from ....heterogeneity.decoding import decoded, expect_room_on_disk, together_at_most
from ....heterogeneity.finishing import Finishing, finishing_of
from ....heterogeneity.run_folder import LatentRun, Latents, read_run
from ....heterogeneity.series import z_text
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress
from ....report import chimerax
from ....report.page import as_html
from .chosen import ChosenLatents, chosen_latents
from .page import STATEMENTS, doubts, page_of
from .series import SeriesFindings
from .tables import neighbour_table, volume_table

SPREAD, SCRIPT = "spread.mrc", "volumes.cxc"
_LEAST_PARTICLES = 10


def run(job: VaeVolumesJob, context: Context) -> JobSteps:
    """Write the volumes, their latents, what is found out about them, and the report."""
    folder, options = context.folder, job.options
    found = read_run(job.inputs.run, context.device, options.epoch)
    chosen, finishing = chosen_latents(job, found), finishing_of(options, found, options.target_voxel_size_A)
    count = len(chosen.z)
    expect_room_on_disk(folder.path, count, finishing.box)
    together = together_at_most(found.model.box, context.device)
    near = yield from beside(partial(near_particles, chosen.z, found))
    yield from context.remarked([*found.remarks, *doubts(near, chosen.z, options.first_number)])
    folder.mark("read")
    yield Progress(f"read a model of {found.model.zdim} latents and box {found.model.box}", 0.02)

    names = [f"{options.prefix}{options.first_number + place:03d}.mrc" for place in range(count)]
    findings = SeriesFindings(count, follow=chosen.follow)
    with context.parking.holding(found.model.held):
        yield from _written(job, context, found, chosen, finishing, names, findings)
    folder.mark("volumes")

    spread = findings.spread()
    if spread is not None:
        folder.write_map(SPREAD, spread[1], finishing.voxel_size_A, finishing.position)
    folder.write_text("z_values.txt", z_text(chosen.z))
    folder.write_text("volumes.csv", volume_table(names, chosen.z, near))
    if findings.neighbours:
        folder.write_text("neighbours.csv", neighbour_table(names, findings.neighbours, finishing))
    folder.write_text(SCRIPT, chimerax.series(list(zip(names, findings.levels, strict=True))))
    folder.write_text(REPORT_NAME, as_html(page_of(job, found, chosen, finishing, names, findings, near)))
    off = 0 if near is None else int(near.off_data.sum())
    return folder.finish(
        metrics={
            "volumes": count,
            "box": finishing.box,
            "voxel_size_A": round(finishing.voxel_size_A, 6),
            "off_the_data": off,
            "together": min(together, options.batch or together),
        },
        options={**options.model_dump(mode="json"), "box": finishing.resampled},
        statements=STATEMENTS,
    )


def near_particles(z: Latents, run_: LatentRun) -> Nearness | None:
    """How near latents (K, zdim) are to the run's particles, told by their first images; None where they are few."""
    firsts = run_.objects.firsts
    if z.shape[1] == 0 or len(firsts) < _LEAST_PARTICLES:
        return None
    found = nearness(z, run_.latents[firsts])
    return replace(found, nearest=firsts[found.nearest])


def _written(
    job: VaeVolumesJob,
    context: Context,
    found: LatentRun,
    chosen: ChosenLatents,
    finishing: Finishing,
    names: list[str],
    findings: SeriesFindings,
) -> JobSteps:
    """Compute, finish, write and look at each volume in turn."""
    z = np.ascontiguousarray(chosen.z)
    number = 0
    for raw in decoded(found.model, z, context.device, job.options.batch):
        if raw is None:
            yield None
            continue
        volume = finishing.of(raw)
        findings.add(volume)
        context.folder.write_map(names[number], volume, finishing.voxel_size_A, finishing.position)
        number += 1
        yield Progress(f"volume {number} of {len(names)}", 0.02 + 0.9 * number / len(names))
    return {}

"""The steps of `vae.landscape`."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.landscape import (
    Clusters,
    MaskedVolumes,
    StateMaps,
    UnionMask,
    VolumeSpace,
    distinct,
    k_means,
    mapped,
    states_of,
    volume_space,
)
from cryobridge.schemas.kinds.vae.landscape import VaeLandscapeJob

from ....beside import beside
from ....heterogeneity.chosen import chosen_latents
from ....heterogeneity.decoding import expect_room_on_disk
from ....heterogeneity.finishing import Finishing, finishing_of
from ....heterogeneity.objects import Objects
from ....heterogeneity.run_folder import read_run
from ....heterogeneity.series import Series, SeriesLook, write_script
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....jobs.volumes import Volume, read_mask
from ....loop import Progress
from ....report.page import as_html
from .again import VolumesAgain
from .findings import (
    LandscapeFindings,
    Numbers,
    component_table,
    indices_bytes,
    state_table,
    states_bytes,
    volume_table,
)
from .page import page_of, spread_in

_INSIDE = 0.5
_FEWER = "There are {} volumes: k-means in batches left the other clusters without particles."


def run(job: VaeLandscapeJob, context: Context) -> JobSteps:
    """Compare volumes, join them to states, write the states' maps and particles, and the report."""
    options, folder = job.options, context.folder
    run_ = read_run(job.inputs.run, context.device)
    chosen = chosen_latents(run_, options.epoch)
    objects = run_.objects_in(chosen)
    latents = chosen[objects.firsts].astype(np.float64)
    finishing = finishing_of(options, run_)
    mask = _given_mask(job, finishing, context)
    different, _ = yield from beside(partial(distinct, latents))
    count = min(options.volumes_on(context.device.type), len(different))
    written = 2 * options.states + options.components + (count if options.keep_volumes else 0)
    expect_room_on_disk(folder.path, written, finishing.box)
    clusters = yield from beside(partial(k_means, latents, count, options.seed))
    if len(clusters.counts) < count:
        count = len(clusters.counts)
        yield from context.remarked([_FEWER.format(count)])
    series = Series("kmeans_", latents[clusters.centres])
    yield Progress(f"{count} volumes of {objects.counted} are compared", 0.05)

    def write(number: int, volume: Tensor) -> None:
        folder.write_map(series.names[number], volume, finishing.voxel_size_A, finishing.position)

    volumes = VolumesAgain(run_, series, finishing, context.device, write if options.keep_volumes else None)
    with context.parking.holding(run_.model.held):
        if mask is None:
            mask = yield from _union(job, volumes, count, finishing)
        folder.write_map("mask.mrc", mask.float(), finishing.voxel_size_A, finishing.position)
        found = yield from _compared(job, objects, latents, clusters, volumes, mask)
        folder.mark("compared")
        _write_numbers(context, found)
        maps = StateMaps(found.count)
        number = 0
        for volume in volumes:
            if volume is None:
                yield None
                continue
            maps.add(volume, int(found.states[number]), float(clusters.counts[number]))
            number += 1
            yield Progress(f"states: volume {number} of {count}", 0.65 + 0.2 * number / count)
    look = _write_maps(context, found, maps, finishing)
    folder.mark("states")
    yield Progress("figures", 0.9)
    page, remarks = page_of(job, run_, found, finishing, look)
    folder.remark(remarks)
    folder.write_text(REPORT_NAME, as_html(page))
    return folder.finish(
        metrics=_metrics(found),
        options={**options.model_dump(mode="json"), "box": finishing.resampled, "volumes": count},
        seeds={"k-means": options.seed},
    )


def _given_mask(job: VaeLandscapeJob, finishing: Finishing, context: Context) -> Tensor | None:
    """The mask that was given, bool on the device; None where there is none."""
    if job.inputs.mask is None:
        return None
    empty = torch.zeros((finishing.box,) * 3)
    like = Volume(job.inputs.run, empty, finishing.voxel_size_A, finishing.position)
    mask = read_mask(job.inputs.mask, like)
    context.folder.remark(mask.remarks)
    return mask.data.to(context.device) > _INSIDE


def _union(
    job: VaeLandscapeJob, volumes: VolumesAgain, count: int, finishing: Finishing
) -> Generator[Progress | None, None, Tensor]:
    """The mask that holds all volumes."""
    union, number = UnionMask(), 0
    for volume in volumes:
        if volume is None:
            yield None
            continue
        union.add(volume[None])
        number += 1
        yield Progress(f"volume {number} of {count}", 0.05 + 0.35 * number / count)
    return union.mask(finishing.voxel_size_A, job.options.dilate_A)


def _compared(
    job: VaeLandscapeJob,
    objects: Objects,
    latents: Numbers,
    clusters: Clusters,
    volumes: VolumesAgain,
    mask: Tensor,
) -> Generator[Progress | None, None, LandscapeFindings]:
    """Components, states, and every particle's place."""
    options, weights, kept = job.options, clusters.counts.astype(np.float64), MaskedVolumes(mask)
    number = 0
    for volume in volumes:
        if volume is None:
            yield None
            continue
        kept.add(volume[None])
        number += 1
        yield Progress(f"compared volume {number} of {len(weights)}", 0.4 + 0.2 * number / len(weights))
    space = yield from _space(kept, weights, options.components)
    scores = torch.cat([(rows - space.mean) @ space.axes.T for rows in kept.chunks()]).double().cpu().numpy()
    states = states_of(scores, weights, options.states, options.linkage)
    every = yield from beside(partial(mapped, latents[clusters.centres], scores, latents, options.seed))
    return LandscapeFindings(objects, latents, clusters, space, scores, states, every)


def _space(volumes: MaskedVolumes, weights: Numbers, most: int) -> Generator[None, None, VolumeSpace]:
    """The space of volumes; on a GPU it is found between two steps, as the device may be cleared after one."""
    if volumes.mask.device.type != "cpu":
        return volume_space(volumes, weights, most)
    return (yield from beside(partial(volume_space, volumes, weights, most)))


def _write_numbers(context: Context, found: LandscapeFindings) -> None:
    """Write who belongs to what."""
    folder = context.folder
    folder.write_data("states.npz", states_bytes(found))
    for state in range(found.count):
        folder.write_data(f"state_{state:02d}_indices.npz", indices_bytes(found, state))
    folder.write_text("volumes.csv", volume_table(found))
    folder.write_text("components.csv", component_table(found))


def _write_maps(context: Context, found: LandscapeFindings, maps: StateMaps, finishing: Finishing) -> SeriesLook:
    """Write the states' maps and the components, and look at the means."""
    folder, voxel_A, position = context.folder, finishing.voxel_size_A, finishing.position
    look, spreads, sign = SeriesLook(found.count), [], -1.0 if finishing.invert else 1.0
    for state in range(found.count):
        mean, spread = maps.maps(state)
        look.add(mean)
        spreads.append(spread_in(found.space.mask, spread))
        folder.write_map(f"state_{state:02d}_mean.mrc", sign * mean, voxel_A, position)
        folder.write_map(f"state_{state:02d}_std.mrc", spread, voxel_A, position)
    folder.write_text("states.csv", state_table(found, spreads))
    means = [f"state_{state:02d}_mean.mrc" for state in range(found.count)]
    write_script(context, "states.cxc", means, look.levels, finishing)
    for number, deviation in enumerate(found.scores.std(axis=0)):
        # One deviation of the volumes, so that components can be compared.
        component = sign * float(deviation) * found.space.component(number)
        folder.write_map(f"component_{number + 1:02d}.mrc", component, voxel_A, position)
    return look


def _metrics(found: LandscapeFindings) -> dict[str, Any]:
    return {
        "volumes": len(found.states),
        "states": found.count,
        "particles": found.particles.tolist(),
        **({} if found.objects.are_rows else {"images": len(found.objects.of_row)}),
        "shares": [round(float(share), 6) for share in found.space.shares],
        "held_out_r2": [None if np.isnan(told) else round(float(told), 6) for told in found.every.held_out_r2],
        "voxels": int(found.space.mask.sum()),
    }

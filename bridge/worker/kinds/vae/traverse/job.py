"""The steps of `vae.traverse`."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import principal_components
from cryobridge.schemas.kinds.vae.traverse import VaeTraverseJob
from cryobridge.wrappers.formats.array_file import arrays_bytes

from ....beside import beside
from ....heterogeneity import words
from ....heterogeneity.chosen import chosen_latents
from ....heterogeneity.decoding import expect_room_on_disk
from ....heterogeneity.drawn import DrawnFigures
from ....heterogeneity.finishing import Finishing, finishing_of
from ....heterogeneity.run_folder import LatentRun, read_run
from ....heterogeneity.series import (
    Series,
    SeriesLook,
    frequencies,
    neighbour_table,
    write_script,
    write_series,
    z_text,
)
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress
from ....report import figures, methods
from ....report.page import Report, as_html
from ....report.quantities import angstrom
from .way import Way, way_of

_MOST_CURVES = 9


def run(job: VaeTraverseJob, context: Context) -> JobSteps:
    """Write the way, the volumes on it, and the report."""
    options, folder = job.options, context.folder
    run_ = read_run(job.inputs.run, context.device)
    latents = chosen_latents(run_, options.epoch)
    points, objects = latents.astype(np.float64), run_.objects_in(latents)
    finishing = finishing_of(options, run_)
    way = yield from beside(partial(way_of, job, run_, points, objects))
    series = Series("path_", way.z[way.shown], options.first_number)
    if not options.skip_volumes:
        expect_room_on_disk(folder.path, len(series.z), finishing.box)
    yield Progress(f"a way {way.words}: {len(way.z)} latents", 0.1)
    distances = np.linalg.norm(points[way.nearest] - way.z, axis=1)
    folder.write_text("z_path.txt", z_text(way.z))
    folder.write_text("path.csv", _path_table(way, distances, {} if options.skip_volumes else _names(way, series)))
    folder.write_data("path.npz", arrays_bytes({"indices": way.nearest, "z": way.z, "anchors": way.anchors}))
    folder.mark("way")
    look = SeriesLook(len(series.z))
    if not options.skip_volumes:
        with context.parking.holding(run_.model.held):
            yield from write_series(context, run_, series, finishing, look.add, (0.1, 0.9))
        write_script(context, "path.cxc", series.names, look.levels, finishing)
        folder.write_text("neighbours.csv", neighbour_table([(series, look)], finishing))
        folder.mark("volumes")
    drawn = _figures(points[objects.firsts], way, series, look, finishing)
    folder.remark(drawn.remarks)
    folder.write_text(REPORT_NAME, as_html(_page(job, run_, way, finishing, drawn)))
    return folder.finish(
        metrics={
            "latents": len(way.z),
            "volumes": len(look.levels),
            "length": round(float(np.linalg.norm(np.diff(way.z, axis=0), axis=1).sum()), 6),
            "farthest_from_particles": round(float(distances.max()), 6),
        },
        options={**options.model_dump(mode="json"), "box": finishing.resampled},
    )


def _names(way: Way, series: Series) -> dict[int, str]:
    """The volume's file by latent of the way."""
    return dict(zip(way.shown.tolist(), series.names, strict=True))


def _path_table(way: Way, distances: NDArray[np.float64], names: dict[int, str]) -> str:
    """A row for each latent: the particle nearest to it, the distance, its volume, and itself."""
    rows = [",".join(("step", "nearest_particle", "distance", "file", *(f"z{k + 1}" for k in range(way.z.shape[1]))))]
    for step, z in enumerate(way.z.tolist()):
        near = str(int(way.nearest[step])), f"{distances[step]:.6g}", names.get(step, "")
        rows.append(",".join((str(step), *near, *(f"{value:.8g}" for value in z))))
    return "\n".join(rows) + "\n"


def _figures(
    points: NDArray[np.float64], way: Way, series: Series, look: SeriesLook, finishing: Finishing
) -> DrawnFigures:
    drawn = DrawnFigures()
    if points.shape[1] > 1:
        found = principal_components(points)
        plane, path = found.scores(points)[:, :2], found.scores(way.z)[:, :2]
        numbers = series.numbers if look.levels else way.shown.tolist()
        named = "those of the volumes" if look.levels else "steps of path.csv"
        drawn.add(
            "The way among the particles",
            lambda: figures.latent_map(plane, ("PC1", "PC2"), path[way.shown], path, numbers),
            f"In the plane of the first two components of the latents; numbers are {named}.",
            table="path.csv",
            is_tile=True,
        )
    else:
        drawn.add(
            "The way among the particles",
            lambda: figures.latent_histogram(points[:, 0], "latent", way.z[way.shown, 0]),
            "How many particles have which latent, and where the way leads.",
            table="path.csv",
            is_tile=True,
        )
    if look.levels:
        drawn.add(
            "Volumes along the way",
            lambda: look.strip([str(number) for number in series.numbers], finishing),
            "Surfaces that enclose equal volumes, from two sides, and what the central section across y has more (red) "
            "or less (blue) than the mean of all.",
        )
    if look.curves:
        curves = {f"{k} and {k + 1}": curve[1:].numpy() for k, curve in zip(series.numbers, look.curves, strict=False)}
        least = sorted(curves, key=lambda name: float(curves[name].mean()))[:_MOST_CURVES]
        drawn.add(
            "FSC of neighbouring volumes",
            lambda: figures.neighbour_curves({name: curves[name] for name in least}, frequencies(finishing)),
            "Of the neighbours that are least alike. A jump between two says that the way crosses a gap.",
            table="neighbours.csv",
        )
    return drawn


def _page(job: VaeTraverseJob, run_: LatentRun, way: Way, finishing: Finishing, drawn: DrawnFigures) -> Report:
    paragraphs, references = methods.write([_passage(job, way)])
    return Report(
        title="A way through the latents",
        summary=f"{len(way.z)} latents {way.words}.",
        facts={
            "run": str(run_.path),
            "way": job.options.way,
            "anchors": ", ".join(map(str, way.anchors.tolist()[:20])) or "none",
            "volumes": "none were asked for"
            if job.options.skip_volumes
            else f"box {finishing.box}, {angstrom(finishing.voxel_size_A)} a voxel",
        },
        figures=drawn.figures,
        statements=[
            "That there is a way between two states does not say that the molecule takes it.",
            *drawn.remarks,
            *words.CAVEATS,
        ],
        methods=paragraphs,
        references=references,
    )


def _passage(job: VaeTraverseJob, way: Way) -> methods.Passage:
    options = job.options
    what = "Places were found" if options.skip_volumes else "Volumes were made"
    if options.way == "component":
        return words.traversal_passage(options.count, what)
    if options.way == "direct":
        return methods.Passage(f"{what} at latents on straight lines between anchors.")
    return methods.Passage(
        f"{what} along the shortest way between anchors, {way.words} ({words.CRYODRGN.short}).",
        (words.CRYODRGN,),
    )

"""The published method: iteration by iteration, the wedge is filled by the network before and the network trained."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from cryobridge.core.tomogram import published
from cryobridge.core.training import check_divides, initialised_from
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import NETWORK_NAME, ON_THE_FLY, STATE_NAME, WITHOUT_EFFECT, TomoRefineJob
from cryobridge.schemas.number_lists import triple_of

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....memory import peak_bytes
from ....report.page import as_html
from ....tomograms.network_file import write_network
from .iterations import RATE, Iterations, RefinePlan
from .report import RefineFindings, loss_table, page_of
from .state_file import RefineStart, started, state_text, state_values
from .subtomograms import LoadedSubtomograms, load_subtomograms

_READ, _TRAINED = 0.02, 0.98


def refined_by_isonet(job: TomoRefineJob, context: Context) -> JobSteps:
    """Read, train iteration by iteration, write."""
    start = started(job)
    shape = _shape(start)
    loaded = yield from load_subtomograms(job.inputs.subtomos, start.options, shape.divisor)
    plan = _plan(start, loaded, shape, context)
    context.folder.mark("read")
    for line in (*start.lines, *_without_effect(job)):
        context.say(line)
    checkpoints = context.checkpoints({**plan.options.model_dump(mode="json"), "subtomograms": loaded.state})
    iterations = Iterations(plan, loaded, context, checkpoints)
    network = yield from scaled(_READ, _TRAINED, _begun(iterations, context))
    if not context.leads:
        return {}
    context.folder.mark("train")
    yield Progress("writing the network", _TRAINED)
    findings = RefineFindings(job, plan.options, loaded, iterations.history, iterations.shown())
    _write(context, findings, network)
    host, device = peak_bytes(context.device)
    result = context.folder.finish(
        metrics={
            **findings.metrics,
            "peak_memory_GB": round(host / 1e9, 2),
            "peak_gpu_memory_GB": None if device is None else round(device / 1e9, 2),
        },
        options=plan.options.model_dump(mode="json"),
        seeds={"training": plan.options.seed},
    )
    iterations.clear()
    return result


def _begun(iterations: Iterations, context: Context) -> Generator[Progress | None, None, published.IsoNetUNet]:
    """The iterations; the folder is made now, since all inputs were found to be right."""
    if context.leads:
        context.folder.open()
    return (yield from iterations.run())


def _shape(start: RefineStart) -> published.IsoNetShape:
    if start.network is not None:
        return start.network.shape
    options = start.options
    return published.IsoNetShape(
        filter_base=options.filter_base,
        unet_depth=options.unet_depth,
        convs_per_depth=options.convs_per_depth,
        kernel=triple_of(options.kernel),
        pool=None if options.pool is None else triple_of(options.pool),
        drop_out=options.drop_out,
        batch_normalization=options.batch_normalization,
    )


def _plan(start: RefineStart, loaded: LoadedSubtomograms, shape: published.IsoNetShape, context: Context) -> RefinePlan:
    """The options with every default filled in, and the network to begin with."""
    options, ranks = start.options, context.ranks
    count = min(options.select_subtomo_number or len(loaded.volumes), len(loaded.volumes))
    batch = options.batch_size or max(4, 2 * ranks.count)
    try:
        check_divides(batch, ranks)
    except ValueError as error:
        raise InputInvalid(f"batch_size: {error}") from error
    steps = options.steps_per_epoch or max(1, min(6 * count // batch, 200))
    used = options.model_copy(
        update={
            "batch_size": batch,
            "steps_per_epoch": steps,
            "method": "isonet",
            "learning_rate": options.learning_rate or RATE,
            "noise_mode": options.noise_mode or "noFilter",
            "select_subtomo_number": options.select_subtomo_number and count,
        }
    )
    if start.network is not None:
        network = start.network.built(context.device)
    else:
        with initialised_from(options.seed):
            network = published.IsoNetUNet(shape)
        network = network.to(context.device)
    return RefinePlan(used, network, start.network is not None, start.done, start.history)


def _without_effect(job: TomoRefineJob) -> list[str]:
    given = sorted(job.options.model_fields_set & {*WITHOUT_EFFECT, *ON_THE_FLY})
    return [f"{', '.join(given)} had no effect: nothing of that sort is needed here"] if given else []


def _write(context: Context, findings: RefineFindings, network: published.IsoNetUNet) -> None:
    folder, options, history = context.folder, findings.options, findings.history
    known: Mapping[str, Any] = {
        "subtomos": str(findings.job.inputs.subtomos),
        "cube_size": findings.loaded.cube,
        "crop_size": findings.loaded.crop,
        "pixel_size_A": findings.loaded.pixel_size_A,
    }
    settings = state_values(options, options.iterations, history, known)
    write_network(folder, NETWORK_NAME, network, settings)
    folder.write_text(STATE_NAME, state_text(options, options.iterations, history, known))
    folder.write_text("loss.csv", loss_table(history))
    folder.write_text(REPORT_NAME, as_html(page_of(findings)))

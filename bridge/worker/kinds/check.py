"""`check`: whether this machine can do the work, by doing a little of it on the device."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import statistics
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from cryobridge.core.correction import CorrectionState, predict, train
from cryobridge.core.volume import PhantomPair, phantom_pair
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import BadResult, CryobridgeError, OutOfMemory
from cryobridge.schemas.kinds.check import BOXES, CheckJob
from cryobridge.schemas.kinds.map.correct import CorrectOptions

from ...gpus import nvidia_gpus
from ..jobs.context import Context
from ..jobs.folder import REPORT_NAME
from ..jobs.runner import JobSteps
from ..loop import Progress
from ..memory import is_out_of_memory
from ..report.page import Report, as_html

_STEPS = {"cpu": 4, "cuda": 10}
_GB = 1e9
_LITTLE_DISK_GB = 2.0
_BUSY = 1.5
"""Load, as a multiple of the cores, from which on times say little."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a device's work: the first step with all that is loaded then, a later step, a prediction."""

    first_step_s: float
    step_s: float
    prediction_s: float


def run(job: CheckJob, context: Context) -> JobSteps:
    """Train a few steps on a simulated pair, predict a map, and write down how fast that was and what room there is."""
    device, folder = context.device, context.folder
    name, memory_gb = _hardware(device)
    yield Progress(f"{name}, {memory_gb:.0f} GB of memory, torch {torch.__version__}", 0.1)
    defaults = CorrectOptions().network_options(device.type)
    options = defaults.model_copy(update={"steps": _STEPS[device.type]})
    pair = phantom_pair(BOXES[device.type])
    yield Progress(f"made a pair of half-maps of {BOXES[device.type]}^3", 0.3)
    try:
        timing = yield from _work(pair, device, options)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise _failure(error, name) from error
    folder.mark("work")

    disk_gb = shutil.disk_usage(_existing(folder.path)).free / _GB
    minutes = defaults.total_steps(warm=False) * timing.step_s / 60
    verdict = (
        f"This machine can do the work: on {name} a training step takes {timing.step_s:.3g} s, so a correction with "
        f"the defaults trains for about {minutes:.1f} min; {disk_gb:.0f} GB of disk are free."
    )
    yield Progress(verdict, 0.9)
    folder.log(verdict)
    notes = _warnings(job, device, disk_gb, folder.path)
    metrics = {
        "device": name,
        "memory_gb": round(memory_gb, 1),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "first_step_s": round(timing.first_step_s, 4),
        "step_s": round(timing.step_s, 4),
        "prediction_s": round(timing.prediction_s, 4),
        "default_training_min": round(minutes, 2),
        "peak_memory_gb": round(_peak_memory_gb(device), 2),
        "free_disk_gb": round(disk_gb, 1),
    }
    report = Report(
        title="Check of this machine",
        summary=verdict,
        facts={key: str(value) for key, value in metrics.items() if value is not None},
        figures=[],
        statements=[],
        methods=[],
        warnings=notes,
    )
    folder.write_text(REPORT_NAME, as_html(report))
    return folder.finish(metrics=metrics, statements=[verdict, *notes], seeds={"network": options.seed})


def _work(
    pair: PhantomPair, device: torch.device, options: CorrectionOptions
) -> Generator[Progress | None, None, Timing]:
    half1, half2 = pair.standard1.to(device), pair.standard2.to(device)
    weight, mask = pair.gain.to(device), pair.mask.to(device)
    state = CorrectionState.new(options, device)
    ends = [_now(device)]
    for step in train(state, half1, half2, weight, mask, options):
        ends.append(_now(device))
        yield Progress(f"training step {step.step} of {step.steps}", 0.3 + 0.4 * step.step / step.steps)
    seconds = [later - earlier for earlier, later in itertools.pairwise(ends)]
    begun = _now(device)
    corrected = predict(state, 1, half1, weight, mask, options)
    prediction_s = _now(device) - begun
    if corrected.shape != half1.shape or not bool(torch.isfinite(corrected).all()):
        raise BadResult(f"{device}: the network's map is not finite; do not use this device")
    yield Progress(f"predicted a map of {half1.shape[-1]}^3 in {prediction_s:.2g} s", 0.8)
    return Timing(seconds[0], statistics.median(seconds[1:]), prediction_s)


def _now(device: torch.device) -> float:
    """Seconds, once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _hardware(device: torch.device) -> tuple[str, float]:
    """Name and memory in GB."""
    if device.type != "cuda":
        return f"CPU ({os.cpu_count()} cores)", psutil.virtual_memory().total / _GB
    properties = torch.cuda.get_device_properties(device)
    return properties.name, properties.total_memory / _GB


def _peak_memory_gb(device: torch.device) -> float:
    """Largest memory that was in use: the device's, or this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _GB
    # Linux counts in units of 1024 bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GB


def _failure(error: BaseException, name: str) -> CryobridgeError:
    """Build the one sentence about work that could not be done."""
    if is_out_of_memory(error):
        return OutOfMemory(f"{name}: there is not enough free memory for a training step; end what else runs there")
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return CryobridgeError(
        f"{name}: the work failed ({first_line}); check driver and torch {torch.__version__}, or use the CPU"
    )


def _warnings(job: CheckJob, device: torch.device, disk_gb: float, output: Path) -> list[str]:
    found = []
    gpus = nvidia_gpus() if device.type == "cpu" and job.run.devices != "cpu" else []
    if gpus:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        found.append(
            f"There is a GPU ({gpus[0].name}), but this ran on the CPU: torch {torch.__version__} is {built}; install "
            "one that fits the driver, or check CUDA_VISIBLE_DEVICES."
        )
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > _BUSY * cores:
        found.append(f"The machine is busy (load {load:.0f} on {cores} cores): when it is quiet all this is faster.")
    if disk_gb < _LITTLE_DISK_GB:
        found.append(f"{output}: only {disk_gb:.1f} GB of disk are free; make room before a large job.")
    return found


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    return next(place for place in (path, *path.parents) if place.exists())

"""Jobs of the job schema as generators of steps; each writes its output folder, `result.json` last."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cryobridge import __version__
from cryobridge.core.fsc import fsc, resolution
from cryobridge.core.fsc3d import fsc3d, sphericity
from cryobridge.schemas.errors import CryobridgeError, InputInvalid, JobRejected
from cryobridge.schemas.job import RESULT_NAME, Job, MapFsc3dJob, check_paths, parse_job
from cryobridge.schemas.result import FileRecord, JobResult, read_result
from cryobridge.schemas.wire import Message
from cryobridge.wrappers.formats import mrc

from .iteration import resolution_range
from .loop import Progress

JobSteps = Generator[Progress | None, None, Message]


def run_job(spec: object, device: torch.device) -> JobSteps:
    """Run one job; return its result as JSON values.

    Raises
    ------
    InputInvalid, JobRejected
        If the job or one of its files cannot be used.
    """
    job = parse_job(spec, "job")
    runner = _RUNNERS.get(job.kind)
    if runner is None:
        raise JobRejected(f"a worker cannot run {job.kind} jobs")
    finished = _finished_before(job)
    if finished is not None:
        yield Progress("an earlier attempt had finished this job", 1.0)
        return finished
    check_paths(job)
    return (yield from runner(job, device))


def _finished_before(job: Job) -> Message | None:
    """The result of this very request, where it was finished and only the word of it was lost with the daemon.

    Only a request that is named can be told from another that happens to read the same.
    """
    if job.run.request_id is None:
        return None
    try:
        if yaml.safe_load((job.output / "job.yaml").read_text()) != job.as_spec():
            return None
        return read_result(job.output).model_dump(mode="json", by_alias=True)
    except (OSError, yaml.YAMLError, InputInvalid):
        return None


def _run_fsc3d(job: Job, device: torch.device) -> JobSteps:
    if not isinstance(job, MapFsc3dJob):
        raise JobRejected(f"{job.kind} is not map.fsc3d")
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    started = time.monotonic()
    half1, half2, mask = _read_pair(job)
    voxel_A = half1.voxel_size_A
    n = half1.data.shape[-1]
    read_s = time.monotonic() - started
    yield Progress(f"read two half-maps of {n}^3 at {voxel_A:g} A", 0.2)

    options = job.options
    first, second = half1.data.to(device), half2.data.to(device)
    mask_tensor = None if mask is None else mask.data.to(device)
    curve = fsc(first, second, mask_tensor)
    global_A = resolution(curve, voxel_A, 0.143, box=n)
    limit_A = options.limit_resolution_A or global_A
    if math.isinf(limit_A):
        raise InputInvalid(
            f"{job.inputs.half1} and {job.inputs.half2} agree at no resolution (FSC below 0.143 in shell 1); check "
            "that they belong together, or give limit_resolution_A"
        )
    limit_shell = min(int(n * voxel_A / limit_A + 1), n // 2)
    volume = fsc3d(
        first,
        second,
        mask_tensor,
        limit_shell=limit_shell,
        half_angle_deg=options.half_angle_deg,
        form=options.form,
        keep_high_resolution=options.keep_high_resolution,
    )
    best_A, worst_A = resolution_range(volume, voxel_A, options.half_angle_deg)
    compute_s = time.monotonic() - started - read_s
    yield Progress(f"3DFSC to {limit_A:.2f} A: {best_A:.2f}-{worst_A:.2f} A by direction", 0.8)

    out = job.output
    out.mkdir(parents=True, exist_ok=True)
    mrc.write_atomically(out / "FSC3D.mrc", _centred_cube(volume, n).numpy(), voxel_A)
    _write_text(out / "fsc.csv", _curve_table(curve, n, voxel_A))
    _write_text(out / "job.yaml", yaml.safe_dump(job.as_spec(), sort_keys=False))
    result = JobResult(
        kind=job.kind,
        versions=_versions(),
        inputs={key: _record(path) for key, path in job.input_files()},
        outputs={name: _record(out / name) for name in ("FSC3D.mrc", "fsc.csv")},
        options={**options.model_dump(), "limit_resolution_A": limit_A},
        device=str(device),
        started_at=started_at,
        timings_s={
            "read": round(read_s, 3),
            "compute": round(compute_s, 3),
            "total": round(time.monotonic() - started, 3),
        },
        metrics={
            "box": n,
            "voxel_size_A": voxel_A,
            "resolution_A": global_A,
            "limit_resolution_A": limit_A,
            "best_direction_A": best_A,
            "worst_direction_A": worst_A,
            "sphericity_0.5": _sphericity(volume),
        },
        statements=["The values are true as far as the two half-maps were made independently of each other."],
    )
    # Last of all files: its presence means "finished".
    _write_text(out / RESULT_NAME, result.as_json())
    loaded: Message = json.loads(result.as_json())
    return loaded


_RUNNERS: dict[str, Callable[[Job, torch.device], JobSteps]] = {"map.fsc3d": _run_fsc3d}


@dataclass(frozen=True)
class Volume:
    """A map (z, y, x) with its voxel size; NaN where the file gives none."""

    data: torch.Tensor
    voxel_size_A: float


def _read_volume(path: Path) -> Volume:
    array, header = mrc.read(path)
    sizes = header.voxel_size_A
    if max(sizes) - min(sizes) > 1e-3 * max(sizes):
        raise InputInvalid(f"{path}: its voxels are not cubes ({sizes} A along z, y, x); resample it")
    return Volume(torch.from_numpy(array), sizes[2] if sizes[2] > 0 else math.nan)


def _read_pair(job: MapFsc3dJob) -> tuple[Volume, Volume, Volume | None]:
    half1 = _read_volume(job.inputs.half1)
    half2 = _read_volume(job.inputs.half2)
    mask = None if job.inputs.mask is None else _read_volume(job.inputs.mask)
    if math.isnan(half1.voxel_size_A):
        raise InputInvalid(f"{job.inputs.half1}: its header gives no voxel size; set it, resolutions depend on it")
    shape = tuple(half1.data.shape)
    if len(set(shape)) != 1:
        raise InputInvalid(f"{job.inputs.half1}: {shape} is not a cube; pad or crop it")
    for path, other in ((job.inputs.half2, half2), (job.inputs.mask, mask)):
        if other is not None and tuple(other.data.shape) != shape:
            raise InputInvalid(
                f"{path}: its box {tuple(other.data.shape)} is not that of {job.inputs.half1}, {shape}; "
                "give maps on one grid"
            )
    if not abs(half1.voxel_size_A - half2.voxel_size_A) <= 1e-3 * half1.voxel_size_A:
        raise InputInvalid(
            f"{job.inputs.half2}: its voxel size {half2.voxel_size_A:g} A is not that of {job.inputs.half1}, "
            f"{half1.voxel_size_A:g} A; correct the header"
        )
    for path, volume in ((job.inputs.half1, half1), (job.inputs.half2, half2)):
        if not volume.data.any():
            raise InputInvalid(f"{path}: all voxels are zero; give the unfiltered half-map")
    if mask is not None and not mask.data.any():
        raise InputInvalid(f"{job.inputs.mask}: the mask is empty; give one that covers the particle")
    return half1, half2, mask


def _centred_cube(spectrum: torch.Tensor, n: int) -> torch.Tensor:
    """Unfold a real half spectrum (n, n, n//2+1) to the whole cube with the origin at voxel n//2, as viewers want."""
    index = torch.arange(n, device=spectrum.device)
    mirrored = (-index) % n
    x = torch.arange(n, device=spectrum.device)
    left = x > n // 2
    cube = torch.empty((n, n, n), dtype=torch.float32, device=spectrum.device)
    cube[:, :, ~left] = spectrum[:, :, x[~left]].float()
    cube[:, :, left] = spectrum[mirrored][:, mirrored][:, :, n - x[left]].float()
    centred: torch.Tensor = torch.fft.fftshift(cube)
    return centred.cpu()


def _sphericity(fsc3d_volume: torch.Tensor) -> float | None:
    try:
        return round(sphericity(fsc3d_volume), 4)
    except ValueError:  # below the threshold from the first shell on: there is no body to speak of
        return None


def _curve_table(curve: torch.Tensor, n: int, voxel_A: float) -> str:
    rows = ["shell,resolution_A,fsc"]
    rows += [f"{i},{n * voxel_A / i if i else 'inf'},{value:.6f}" for i, value in enumerate(curve.tolist())]
    return "\n".join(rows) + "\n"


def _record(path: Path) -> FileRecord:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return FileRecord(path=str(path), sha256=digest.hexdigest(), size_bytes=path.stat().st_size)


def _versions() -> dict[str, str]:
    return {
        "cryobridge": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _write_text(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise CryobridgeError(f"{path}: cannot be written: {error.strerror}") from error


def result_line(result: dict[str, Any]) -> str:
    """One line for a terminal about a finished job."""
    metrics = result.get("metrics", {})
    figures = ", ".join(f"{key} {value:g}" for key, value in metrics.items() if isinstance(value, int | float))
    return f"{result.get('kind')}: {figures}"

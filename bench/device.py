"""What a GPU gives beside the CPU of the same machine, in one run, and whether both give the same numbers.

    python bench/device.py [--device cuda] [--boxes 128 256] [--threads 16] [--parts maps training]

Seconds are the shorter of two, after one that is not counted; those of jobs, which read and write files, of one. The
first column is the same function on the same numbers on the CPU, with --threads threads. "Difference" is the root of
the mean square of the difference, over that of the CPU's result. Jobs run in this process, as in a worker. The
simulated pair and particles are those of the other benchmarks; both devices run a job with the same options.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moving_molecule import written

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.core.correction import CorrectionState, train
from cryobridge.core.directional.correlation import fsc3d
from cryobridge.core.fourier.transforms import radius
from cryobridge.core.relion.wiener import SumsGeometry, reconstruct
from cryobridge.core.volume.phantom import phantom_pair
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.wrappers.formats import mrc

PARTS = ("maps", "training", "corrections", "particles")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--boxes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}; {given.threads} CPU threads; torch {torch.__version__}\n")
    print(
        "| work | CPU, s | device, s | CPU / device | device memory, GB | difference |\n|---|---:|---:|---:|---:|---:|"
    )
    for box in given.boxes if "maps" in given.parts else ():
        standard_map(box, device)
        directional(box, device)
    for width in ("tiny", "medium") if "training" in given.parts else ():
        training_steps(width, 4, device)
    with tempfile.TemporaryDirectory() as folder:
        if "corrections" in given.parts:
            corrections(Path(folder), given.boxes[0], device)
        if "particles" in given.parts:
            particles(Path(folder), device)


def standard_map(box: int, device: torch.device) -> None:
    """RELION's standard map, from sums to Nyquist at padding 2."""
    geometry = SumsGeometry(box, 2.0, box)
    generator = torch.Generator().manual_seed(box)
    # The transform of a real volume: of a plane x = 0 without Hermitian symmetry every FFT library makes its own.
    data = torch.fft.rfftn(torch.randn(3 * [geometry.padded_box], generator=generator), norm="ortho")
    weight = torch.fft.rfftn(torch.rand(3 * [geometry.padded_box], generator=generator), norm="ortho").abs() + 1
    tau2 = 1e-3 / (1 + np.arange(box // 2 + 1)) ** 2

    def run(where: torch.device) -> torch.Tensor:
        return reconstruct(data.to(where), weight.to(where), geometry, tau2, style="stock").cpu()

    row(f"standard map, box {box}, style stock", run, device)


def directional(box: int, device: torch.device) -> None:
    """The 3DFSC of two noisy maps to three quarters of Nyquist."""
    generator = torch.Generator().manual_seed(box)
    signal, *noise = (torch.randn(box, box, box, generator=generator) for _ in range(3))
    maps = [signal + part for part in noise]

    def run(where: torch.device) -> torch.Tensor:
        return fsc3d(maps[0].to(where), maps[1].to(where), limit_shell=3 * box // 8).cpu()

    row(f"3DFSC, box {box}", run, device)


def training_steps(width: str, batch: int, device: torch.device) -> None:
    """Seconds per step of a correction's network at the options of a device; weights are not compared."""
    box = 128
    generator = torch.Generator().manual_seed(0)
    halves = [torch.randn(box, box, box, generator=generator) for _ in range(2)]
    weight = (1 - radius(box) / (box / 2)).clamp(0, 1)

    def seconds(where: torch.device, steps: int) -> float:
        options = CorrectionOptions.for_device(
            where.type, preset=width, cube_size=64, crop_size=96, batch=batch, acc_batches=1, steps=steps
        )
        state = CorrectionState.new(options, str(where))
        steps_of = train(state, *(half.to(where) for half in halves), weight.to(where), None, options)
        times = []
        for _ in steps_of:
            settle(where)
            times.append(time.perf_counter())
        return float(np.median(np.diff(times)))

    on_cpu, on_device = seconds(torch.device("cpu"), 3), seconds(device, 60)
    line(f"training step, {width}, cube 64, batch {batch}", on_cpu, on_device, peak(device), None)


def corrections(folder: Path, box: int, device: torch.device) -> None:
    """`map.correct` as it comes, and with 60 steps of training."""
    pair = phantom_pair(box, resolution_A=5.5)
    for name, volume in (("half1", pair.half1), ("half2", pair.half2), ("mask", pair.mask)):
        mrc.write_atomically(folder / f"{name}.mrc", volume.numpy(), pair.voxel_size_A)
    inputs = {name: str(folder / f"{name}.mrc") for name in ("half1", "half2", "mask")}
    for name, options in (("as it comes", {}), ("60 steps, tiny", {"steps": 60, "preset": "tiny"})):
        title = f"map.correct, box {box}, {name}"
        job(title, folder / title[-5:], "map.correct", inputs, options, device, "corrected.mrc")


def particles(folder: Path, device: torch.device) -> None:
    """The heterogeneity of 3,000 particles, box 128 reduced to 64."""
    written(folder / "data", "conf1d", 3000, 1)
    inputs = {"particles": str(folder / "data" / "particles.star")}
    for kind, options in (("vae.linear", {}), ("vae.train", {"method": "fast", "zdim": 4})):
        job(f"{kind}, 3,000 particles", folder / kind, kind, inputs, {"box": 64, **options}, device, None)


def job(
    title: str,
    folder: Path,
    kind: str,
    inputs: dict[str, str],
    options: dict[str, Any],
    device: torch.device,
    compared: str | None,
) -> None:
    """One row for a job; `compared` is the map of both that is compared."""
    seconds, maps = [], []
    for where in (torch.device("cpu"), device):
        output = folder / where.type
        spec = {"schema": "cryobridge/job/1", "kind": kind, "inputs": inputs, "output": str(output), "options": options}
        began = time.perf_counter()
        for _ in run_job(spec, where):
            pass
        seconds.append(time.perf_counter() - began)
        if compared:
            maps.append(torch.from_numpy(mrc.read(output / compared)[0]))
    line(title, *seconds, peak(device), unlike(*maps) if maps else None)


def row(title: str, run: Callable[[torch.device], torch.Tensor], device: torch.device) -> None:
    """One row for a function of a device."""
    seconds, results = [], []
    for where in (torch.device("cpu"), device):
        results.append(run(where))
        times = []
        for _ in range(2):
            began = time.perf_counter()
            run(where)
            times.append(time.perf_counter() - began)
        seconds.append(min(times))
    line(title, *seconds, peak(device), unlike(*results))


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak(device: torch.device) -> float:
    """The most that torch held on the device since it was asked last, in GB."""
    if device.type != "cuda":
        return 0.0
    most = torch.cuda.max_memory_allocated(device) / 1e9
    torch.cuda.reset_peak_memory_stats(device)
    return most


def unlike(expected: torch.Tensor, found: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def line(title: str, on_cpu: float, on_device: float, memory: float, difference: float | None) -> None:
    told = "" if difference is None else f"{difference:.1e}"
    print(
        f"| {title} | {on_cpu:.3g} | {on_device:.3g} | {on_cpu / on_device:.0f} | {memory:.2f} | {told} |", flush=True
    )


if __name__ == "__main__":
    main()

"""The standard map against RELION's own program: one run, one table.

    python bench/wiener.py [--boxes 64 128 256] [--threads 2] [--skip-stock]

Sums to Nyquist, padding 2, made at random with a realistic fall-off. Each measurement is a fresh process, so that the
peak memory is its own; our times are taken inside the warm process (reading included), the stock program's over its
whole run. Our memory is given twice: of the whole process, and above what a worker with its libraries holds at rest.
CPU seconds are user + system.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STYLES = ("stock", "relion3", "relion5")


def write_call(folder: Path, box: int) -> Path:
    """Write a call's STAR file and volumes, plane by plane."""
    padded, rows = 2 * box, box // 2 + 1
    generator = np.random.default_rng(box)
    k = np.fft.fftfreq(padded, 1 / padded)
    x = np.arange(padded // 2 + 1)
    shape = (padded, padded, padded // 2 + 1)
    root = folder / "run_it001_half1_class001_external_reconstruct"
    files = {part: open(f"{root}_{part}.mrc", "wb") for part in ("data_real", "data_imag", "weight")}  # noqa: SIM115
    header = np.zeros(256, "<i4")
    header[:4] = (shape[2], shape[1], shape[0], 2)
    header[16:19] = (1, 2, 3)
    header[52:54] = (int.from_bytes(b"MAP ", "little"), 0x4144)
    for file in files.values():
        file.write(header.tobytes())
    for z in k:
        radius = np.sqrt(z**2 + (k**2)[:, None] + (x**2)[None, :])
        inside = radius < padded // 2
        weight = inside * 2e5 / (1 + radius) * generator.gamma(4.0, 0.25, radius.shape)
        amplitude = np.sqrt(weight) * inside
        for part, value in (
            ("data_real", amplitude * generator.standard_normal(radius.shape)),
            ("data_imag", amplitude * generator.standard_normal(radius.shape)),
            ("weight", weight),
        ):
            files[part].write(value.astype("<f4").tobytes())
    for file in files.values():
        file.close()
    shells = np.arange(rows)
    tau2 = 1e-3 / (1 + shells) ** 2
    table = "\n".join(f"{s} {t:.6e} {max(0.0, 1 - s / rows):.6f}" for s, t in zip(shells, tau2, strict=True))
    star = root.with_suffix(".star")
    star.write_text(
        f"""
data_external_reconstruct_general

_rlnExtReconsDataReal {root}_data_real.mrc
_rlnExtReconsDataImag {root}_data_imag.mrc
_rlnExtReconsWeight {root}_weight.mrc
_rlnExtReconsResult {root}.mrc
_rlnExtReconsResultStarfile {root}_out.star
_rlnTau2FudgeFactor 1.000000
_rlnPaddingFactor 2.000000
_rlnReferenceDimensionality 3
_rlnOriginalImageSize {box}
_rlnCurrentImageSize {box}


data_external_reconstruct_tau2

loop_
_rlnSpectralIndex #1
_rlnReferenceTau2 #2
_rlnGoldStandardFsc #3
{table}

"""
    )
    return star


def measure_ours(star: Path, style: str, threads: int) -> None:
    """Print one measurement as JSON; runs in a process of its own."""
    import torch

    from cryobridge.core.relion.wiener import SumsGeometry, reconstruct
    from cryobridge.wrappers.formats import mrc
    from cryobridge.wrappers.relion import sums

    torch.set_num_threads(threads)
    # A small one first: a resident worker has its libraries loaded.
    small = SumsGeometry(16, 2.0, 16)
    reconstruct(torch.ones(small.sums_shape, dtype=torch.complex64), torch.ones(small.sums_shape), small, np.ones(9))
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wall, cpu = time.perf_counter(), time.process_time()
    call = sums.read_call(star)
    reading = time.perf_counter() - wall
    d = call.description
    volume = reconstruct(call.data, call.weight, d.geometry, d.tau2, fudge=d.fudge, style=style)  # type: ignore[arg-type]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"wall_s": wall, "cpu_s": cpu, "reading_s": reading, "peak_bytes": peak, "at_rest_bytes": at_rest}
    if style == "stock" and (reference := star.with_suffix(".mrc")).exists():
        theirs = mrc.read(reference)[0].astype(np.float64)
        result["error"] = float(np.sqrt(((volume.numpy() - theirs) ** 2).sum() / (theirs**2).sum()))
    print(json.dumps(result))


def run(command: list[str], threads: int) -> dict[str, float]:
    """Run a program; its wall and CPU time and peak memory, or what it printed."""
    # On a shared machine waiting threads must not burn the processor that others need.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command[0]} ended with status {status}")
    lines = output.strip().splitlines()
    if lines and lines[-1].startswith("{"):
        return dict(json.loads(lines[-1]))
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-stock", action="store_true")
    parser.add_argument("--styles", nargs="+", default=STYLES)
    parser.add_argument("--ours", nargs=2, metavar=("STAR", "STYLE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        measure_ours(Path(options.ours[0]), options.ours[1], options.threads)
        return
    print("| box | program | wall s | CPU s | peak GB | above rest GB | wall ratio | CPU ratio | rel. RMS error |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    stock_program = None if options.skip_stock else shutil.which("relion_external_reconstruct")
    for box in options.boxes:
        with tempfile.TemporaryDirectory() as folder:
            star = write_call(Path(folder), box)
            stock = run([stock_program, str(star)], 1) if stock_program else None
            if stock:
                print(
                    f"| {box} | relion_external_reconstruct | {stock['wall_s']:.2f} | {stock['cpu_s']:.2f} | "
                    f"{stock['peak_bytes'] / 1e9:.2f} | | | | |",
                    flush=True,
                )
            for style in options.styles:
                command = [sys.executable, __file__, "--threads", str(options.threads), "--ours", str(star), style]
                ours = run(command, options.threads)
                ratios = (
                    f"{stock['wall_s'] / ours['wall_s']:.1f} | {stock['cpu_s'] / ours['cpu_s']:.1f}"
                    if stock
                    else "- | -"
                )
                error = f"{ours['error']:.1e}" if "error" in ours else ""
                print(
                    f"| {box} | ours, {style} (reading {ours['reading_s']:.2f} s) | {ours['wall_s']:.2f} | "
                    f"{ours['cpu_s']:.2f} | {ours['peak_bytes'] / 1e9:.2f} | "
                    f"{(ours['peak_bytes'] - ours['at_rest_bytes']) / 1e9:.2f} | {ratios} | {error} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

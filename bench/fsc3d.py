"""The 3DFSC against the peer's program, or against a direct evaluation: seconds, memory, largest difference.

    python bench/fsc3d.py [--cases 96:37 256:96] [--form phase_cosine] [--half-angle 10] [--threads 2]

A case is BOX:SHELL, the last shell wanted. Every measurement is a fresh process with both maps in memory, Fourier
transforms included, start-up and imports not (but the peak memory holds all: "start" is what it was before the call).
CPU seconds are user + system with children. The reference is spIsoNet's own functions where $SPISONET_DIR names a
checkout (phase cosine only, as many processes as our threads), else a direct float64 evaluation of all pairs of
voxels of a shell. References over box 128 take minutes: --full asks for them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np

LARGEST_REFERENCE_BOX = 128


def half_maps(box: int) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy copies of a random map, with more noise at high resolution and along z."""
    generator = np.random.default_rng(box)
    signal = generator.standard_normal((box, box, box), dtype=np.float32)
    k = np.fft.fftfreq(box, 1 / box).astype(np.float32)
    x = np.arange(box // 2 + 1, dtype=np.float32)
    squared = k[:, None, None] ** 2 + k[None, :, None] ** 2 + x**2
    noise_level = (np.sqrt(squared) / (0.3 * box) + 2 * k[:, None, None] ** 2 / np.maximum(squared, 1)).astype(
        np.float32
    )

    def half() -> np.ndarray:
        noise = np.fft.rfftn(generator.standard_normal((box, box, box), dtype=np.float32))
        return signal + np.fft.irfftn(noise * noise_level, s=(box, box, box), axes=(0, 1, 2)).astype(np.float32)

    return half(), half()


def run_ours(maps: tuple[np.ndarray, np.ndarray], limit: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    import torch

    from cryobridge.core.directional.correlation import fsc3d

    torch.set_num_threads(args.threads)
    first, second = (torch.from_numpy(volume) for volume in maps)
    start = time.perf_counter()
    out = fsc3d(first, second, limit_shell=limit, form=args.form, half_angle_deg=args.half_angle)
    return out.numpy(), time.perf_counter() - start


def run_peer(maps: tuple[np.ndarray, np.ndarray], limit: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    sys.path.insert(0, os.environ["SPISONET_DIR"])
    for name, attribute in (("skimage", None), ("skimage.transform", "resize"), ("tqdm", "tqdm")):
        try:
            __import__(name)
        except ImportError:  # imported at the top of the peer's file; not part of what is measured
            sys.modules[name] = types.ModuleType(name)
            if attribute:
                setattr(sys.modules[name], attribute, lambda steps: steps)
    from spIsoNet.util.FSC import ThreeD_FSC, get_FSC_map

    start = time.perf_counter()
    normal = [(volume - volume.mean()) / volume.std() for volume in maps]
    cosine = get_FSC_map(normal, 1)
    out = ThreeD_FSC(cosine, limit, angle=args.half_angle, n_processes=args.threads)
    seconds = time.perf_counter() - start
    box = out.shape[0]
    return np.fft.ifftshift(out)[:, :, : box // 2 + 1], seconds


def run_direct(maps: tuple[np.ndarray, np.ndarray], limit: int, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    box = maps[0].shape[0]
    first, second = (np.fft.fftn(volume.astype(np.float64) - volume.mean(dtype=np.float64)).ravel() for volume in maps)
    k = np.fft.fftfreq(box, 1 / box)
    points = np.stack(np.meshgrid(k, k, k, indexing="ij"), axis=-1).reshape(-1, 3)
    shell = np.rint(np.sqrt((points**2).sum(1))).astype(np.int32)
    out = np.zeros(box**3)
    out[0] = 1.0
    chord = 2 * math.sin(math.radians(args.half_angle) / 2)
    for i in range(1, limit):
        here = np.flatnonzero(shell == i)
        f1, f2 = first[here], second[here]
        cross = (f1 * f2.conj()).real
        if args.form == "phase_cosine":
            fields = np.stack([cross / (np.abs(f1) * np.abs(f2)), np.ones(here.size)], axis=1)
        else:
            fields = np.stack([cross, np.abs(f1) ** 2, np.abs(f2) ** 2], axis=1)
        place = points[here]
        length = (place**2).sum(1)
        for begin in range(0, here.size, 2000):
            part = slice(begin, begin + 2000)
            squared = length[part, None] + length - 2 * place[part] @ place.T
            sums = (squared <= (chord * i) ** 2 + 1e-6) @ fields
            scale = sums[:, 1] if args.form == "phase_cosine" else np.sqrt(sums[:, 1] * sums[:, 2])
            out[here[part]] = sums[:, 0] / scale
    return out.reshape(box, box, box)[:, :, : box // 2 + 1], time.perf_counter() - start


RUNNERS = {"ours": run_ours, "peer": run_peer, "direct": run_direct}


def cpu_and_memory() -> tuple[float, float]:
    """CPU seconds and peak MiB of this process and its ended children."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in both), sum(use.ru_maxrss for use in both) / 1024


def measure_here(args: argparse.Namespace, box: int, shell: int) -> None:
    """One measurement, in its own process: print the figures as JSON and leave the volume in a file."""
    maps = half_maps(box)
    before = cpu_and_memory()
    if args.worker == "ours":
        import torch  # noqa: F401 - imported before the clock starts

        before = cpu_and_memory()
    volume, wall = RUNNERS[args.worker](maps, shell + 1, args)
    after = cpu_and_memory()
    np.save(args.out, volume.astype(np.float32))
    print(json.dumps({"wall_s": wall, "cpu_s": after[0] - before[0], "peak_mib": after[1], "base_mib": before[1]}))


def measure(name: str, case: str, args: argparse.Namespace, folder: Path) -> tuple[dict[str, float], np.ndarray]:
    out = folder / f"{name}.npy"
    command = [sys.executable, __file__, "--worker", name, "--out", str(out), "--cases", case, "--form", args.form]
    command += ["--half-angle", str(args.half_angle), "--threads", str(args.threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "OPENBLAS_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed on {case}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]), np.load(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["96:37", "256:96"], help="BOX:SHELL")
    parser.add_argument("--form", choices=["phase_cosine", "sum_ratio"], default="phase_cosine")
    parser.add_argument("--half-angle", type=float, default=None, help="degrees; default 10, or 20 for sum_ratio")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="run the reference on large boxes too")
    parser.add_argument("--worker", choices=sorted(RUNNERS), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.half_angle is None:
        args.half_angle = 10.0 if args.form == "phase_cosine" else 20.0
    if args.worker:
        box, shell = map(int, args.cases[0].split(":"))
        measure_here(args, box, shell)
        return
    reference = "peer" if os.environ.get("SPISONET_DIR") and args.form == "phase_cosine" else "direct"
    print(f"{args.form}, half-angle {args.half_angle:g} degrees, {args.threads} threads; ratios are {reference} / ours")
    titles = {"case": 9, "method": 7, "wall s": 8, "CPU s": 8, "peak MiB": 9, "start": 6}
    ratios = {"wall": 7, "CPU": 7, "memory": 7, "max diff": 9}
    print(" ".join(f"{title:>{width}}" for title, width in {**titles, **ratios}.items()))
    for case in args.cases:
        with tempfile.TemporaryDirectory() as folder:
            ours, volume = measure("ours", case, args, Path(folder))
            print(row(case, "ours", ours), flush=True)
            if int(case.split(":")[0]) > LARGEST_REFERENCE_BOX and not args.full:
                continue
            theirs, expected = measure(reference, case, args, Path(folder))
            wall, cpu, memory = (theirs[key] / ours[key] for key in ("wall_s", "cpu_s", "peak_mib"))
            difference = np.abs(volume - expected).max()
            print(f"{row(case, reference, theirs)} {wall:7.1f} {cpu:7.1f} {memory:7.2f} {difference:9.1e}", flush=True)


def row(case: str, method: str, figures: dict[str, float]) -> str:
    start = f"{figures['peak_mib']:9.0f} {figures['base_mib']:6.0f}"
    return f"{case:>9} {method:>7} {figures['wall_s']:8.2f} {figures['cpu_s']:8.2f} {start}"


if __name__ == "__main__":
    main()

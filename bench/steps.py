"""Seconds per training step and per predicted map, and peak memory, of ours and of spIsoNet's own program, in one run.

    python bench/steps.py [--device cpu] [--presets tiny small] [--steps 6] [--threads 1] [--harness FOLDER]

One line for each width of the network and each loss; crops of --cube, batches of --batch in one part, prediction of a
box of --box in tiles of --crop. Ours runs in a fresh process for each line. spIsoNet runs where $SPISONET_DIR names a
checkout and --harness the folder of `make_case.py` and `run_baseline.py`, which start its own command line; its
interpreter is $SPISONET_PYTHON. It has no width 8. CPU seconds are user + system of the process that trains, the
figure to compare on a shared machine. Steps are medians without the first. The peer's prediction includes the start of
its processes, and tiles of solvent; ours goes on in the process that trained, and a box of one tile is one tile. Ratios
are peer / ours at the same width; the published loss is the equal one, ours asks for two passes instead of three.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTH = {"tiny": 8, "small": 16, "medium": 32, "published": 64}
LOSSES = ("published", "improved")
TITLES = ("network", "loss", "CPU s/step", "wall s/step", "predict CPU s", "predict wall s", "peak MiB")
RATIOS = ("CPU ratio", "wall ratio", "predict ratio")
Figures = dict[str, float | None]


def measure_here(args: argparse.Namespace) -> Figures:
    """Train and predict in this process."""
    import torch

    from cryobridge.core.correction import CorrectionState, predict, train
    from cryobridge.core.fourier.transforms import radius
    from cryobridge.schemas.correction import CorrectionOptions

    torch.set_num_threads(args.threads)
    make = CorrectionOptions.published if args.losses[0] == "published" else CorrectionOptions.for_device
    options = make(
        args.device,
        preset=args.presets[0],
        cube_size=args.cube,
        crop_size=args.crop,
        batch=args.batch,
        acc_batches=1,
        steps=args.steps + 1,
        precision=args.precision,
        compile=args.compile,
    )
    generator = torch.Generator().manual_seed(0)
    half1, half2 = (torch.randn(args.box, args.box, args.box, generator=generator) for _ in range(2))
    weight = (1 - radius(args.box) / (args.box / 2)).clamp(0, 1)
    state = CorrectionState.new(options, args.device)

    def clock() -> tuple[float, float]:
        if args.device != "cpu":
            torch.cuda.synchronize()
        return time.process_time(), time.perf_counter()

    times = [clock()]
    times.extend(clock() for _ in train(state, half1, half2, weight, None, options))
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(times[1:])]
    before = clock()
    predict(state, 1, half1, weight, None, options)
    after = clock()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "cpu": statistics.median(step[0] for step in steps),
        "wall": statistics.median(step[1] for step in steps),
        "predict_cpu": after[0] - before[0],
        "predict_wall": after[1] - before[1],
        "peak": peak if args.device == "cpu" else torch.cuda.max_memory_allocated() / 2**20,
    }


def ours(preset: str, loss: str, args: argparse.Namespace) -> Figures:
    command = [sys.executable, __file__, "--worker", "--presets", preset, "--losses", loss]
    for name in ("device", "steps", "threads", "cube", "crop", "batch", "box", "precision"):
        command += [f"--{name}", str(getattr(args, name))]
    command += ["--compile"] * args.compile
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"ours, {preset}, {loss}, failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def peer(preset: str, folder: Path, args: argparse.Namespace) -> Figures:
    """Run the peer's program with the published loss on a made case."""
    python = os.environ.get("SPISONET_PYTHON", sys.executable)
    case = folder / "case"
    if not case.exists():
        made = [python, str(args.harness / "make_case.py"), "--out", str(case), "--size", str(args.box)]
        subprocess.run([*made, "--apix", "2", "--res", "5.5"], check=True, capture_output=True)
    command = [python, str(args.harness / "run_baseline.py"), str(case), "--python", python]
    command += ["--out", str(folder / preset), "--stages", "fsc3d,reconstruct", "--ncpus", "1", "--acc", "1"]
    command += ["--threads", str(args.threads), "--base", str(WIDTH[preset]), "--cube", str(args.cube)]
    command += ["--crop", str(args.crop), "--batch", str(args.batch)]
    command += ["--n-subvolume", str(args.batch * (args.steps + 1)), *(["--cpu"] if args.device == "cpu" else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer's harness failed:\n{done.stderr}")
    stage = json.loads(done.stdout)["stages"]["reconstruct"]
    if stage["rc"] != 0:
        raise SystemExit(f"the peer failed with {stage['rc']}; its output is that of `{' '.join(command)}`")
    return {
        "cpu": stage["cpu_s_per_step_median"],
        "wall": stage["s_per_step_median"],
        "predict_cpu": None,
        "predict_wall": statistics.mean(stage["calls_s"]["Net.predict_map"]),
        "peak": stage["max_rss_gb"] * 1024 if args.device == "cpu" else None,
    }


def row(name: str, loss: str, figures: Figures, reference: Figures | None = None) -> str:
    keys = ("cpu", "wall", "predict_cpu", "predict_wall", "peak")
    digits = (3, 3, 2, 2, 0)
    cells = [name, loss, *(shown(figures[key], place) for key, place in zip(keys, digits, strict=True))]
    for key in ("cpu", "wall", "predict_wall"):
        theirs, own = (reference or {}).get(key), figures[key]
        cells.append(shown(theirs / own, 2) if theirs and own else "")
    return f"| {' | '.join(cells)} |"


def shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def arithmetic_limit(threads: int) -> float:
    """GFLOP/s of a large float32 matrix product: what a direct convolution can hope for."""
    import torch

    torch.set_num_threads(threads)
    matrix = torch.randn(2048, 2048)
    best = 0.0
    for _ in range(4):
        start = time.process_time()
        matrix @ matrix
        best = max(best, 2 * 2048**3 * 1e-9 / (time.process_time() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--presets", nargs="+", choices=sorted(WIDTH), default=["tiny", "small"])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cube", type=int, default=32)
    parser.add_argument("--crop", type=int, default=48)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="ours, on a GPU")
    parser.add_argument("--compile", action="store_true", help="ours, on a GPU")
    parser.add_argument("--harness", type=Path, help="folder of the peer's harness")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure_here(args)))
        return
    with_peer = bool(os.environ.get("SPISONET_DIR")) and args.harness is not None
    print(f"{args.device}, {args.threads} threads, cube {args.cube}, batch {args.batch}, box {args.box}, ", end="")
    print(f"tiles of {args.crop}; a matrix product: {arithmetic_limit(args.threads):.0f} GFLOP per CPU second\n")
    titles = (*TITLES, *RATIOS)
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    with tempfile.TemporaryDirectory() as folder:
        for preset in args.presets:
            theirs = peer(preset, Path(folder), args) if with_peer and preset != "tiny" else None
            if theirs:
                print(row(f"spIsoNet {WIDTH[preset]}", "published", theirs), flush=True)
            for loss in args.losses:
                print(row(f"ours {preset} {WIDTH[preset]}", loss, ours(preset, loss, args), theirs), flush=True)


if __name__ == "__main__":
    main()

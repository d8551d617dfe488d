"""Anisotropy correction side by side: `cryobridge map correct` and spIsoNet run as a program, scored by the truth.

    python bench/correct.py CASE [CASE ...] --work FOLDER [--seeds 1 2 3] [--steps 200] [--box 96]
    SPISONET_DIR=... python bench/correct.py CASE --work FOLDER --harness ../shared/bench/spisonet \
        --peer-python PYTHON --equal-cpu --peer-steps 20
    python bench/correct.py CASE --work FOLDER --variant "no anchor: anchor=0" --variant "as it comes: preset=tiny"

A case is a folder that `pairs.read_pair` reads. Both programs get the half-maps, the mask and the limit resolution, and
unless a variant says otherwise networks of one size: first width 16, cubes of 32, batch 4. Every run is a program
of its own with one thread; what is scored is the mean of the two final half-maps. Runs that are in the work folder
already are not made again, so a table can be put together from runs of several days. The harness (`run_baseline.py`)
starts spIsoNet's own command line, on a machine without a GPU with CUDA calls answered by the CPU; $SPISONET_DIR
names the checkout, --peer-python an interpreter that has what it needs. Rows are means over seeds, smallest and largest
in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from pairs import Pair, read_map, read_pair, write_pair
from scores import names, scores

SUBVOLUMES = 400
LEAST_EPOCHS = 2
NETWORK = {"preset": "small", "cube_size": 32, "crop_size": 48, "batch": 4, "acc_batches": 1, "n_subvolume": SUBVOLUMES}
PEER_NETWORK = ["--base", "16", "--cube", "32", "--crop", "48", "--batch", "4", "--acc", "1"]
TIMED_STEPS = 8
Rows = list[tuple[str, list[dict[str, Any]]]]


def main() -> None:
    arguments = _arguments()
    if arguments.time_steps:
        _time_steps(json.loads(arguments.time_steps))
        return
    for folder in arguments.cases:
        pair = read_pair(folder, arguments.box)
        case = arguments.work / pair.name
        if not (case / "case.json").exists():
            write_pair(pair, case)
        axis = tuple(round(float(x), 2) for x in pair.poor_axis)
        print(
            f"\n{pair.name}: box {pair.box}, {pair.voxel_size_A:.2f} A, to {pair.limit_A:.2f} A, worst axis {axis}\n",
            flush=True,
        )
        rows = [("half-maps as given", [{"scores": scores(pair, (pair.half1 + pair.half2) / 2)}])]
        rows += _programs(arguments, case, pair)
        _print_quality(rows)
        _print_costs(rows[1:])


def _programs(arguments: argparse.Namespace, case: Path, pair: Pair) -> Rows:
    rows: Rows = []
    peer_cpu_s = None
    if arguments.harness is not None:
        for steps in (arguments.steps, *arguments.peer_steps):
            runs = [_peer(arguments, case, pair, seed, steps) for seed in arguments.seeds]
            rows += [("spIsoNet, corrected", runs)]
            rows += [("spIsoNet, corrected_filtered", [{**run, "scores": run["filtered"]} for run in runs])]
            peer_cpu_s = peer_cpu_s or statistics.mean(run["cpu_s"] for run in runs)
    variants = [_variant(text) for text in arguments.variant] or [
        ("ours, published", {"method": "published"}),
        ("ours", {}),
    ]
    for label, chosen in variants:
        runs = [_ours(case, pair, label, {**chosen, "seed": seed}, arguments.steps) for seed in arguments.seeds]
        rows += [(label, runs)]
        if arguments.equal_cpu and peer_cpu_s is not None:
            other = statistics.mean(_other(run) for run in runs)
            step = statistics.mean(run["cpu_s_per_step"] for run in runs)
            steps = max(arguments.steps, round((peer_cpu_s - other) / step / 10) * 10)
            more = [_ours(case, pair, label, {**chosen, "seed": seed}, steps) for seed in arguments.seeds]
            rows += [(f"{label}, equal CPU time", more)]
    return rows


def _variant(text: str) -> tuple[str, dict[str, Any]]:
    label, _, rest = text.partition(":")
    chosen = (item.split("=", 1) for item in rest.split())
    return label.strip(), {key: _value(value) for key, value in chosen}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _ours(case: Path, pair: Pair, label: str, chosen: dict[str, Any], steps: int) -> dict[str, Any]:
    """One run of our command, as a user would start it."""
    steps = int(chosen.pop("steps", steps))
    options = {**NETWORK, "steps": steps, "limit_resolution_A": pair.limit_A, **chosen}
    name = "".join(c if c.isalnum() else "_" for c in label)
    out = case / f"{name}_steps{steps}_s{chosen['seed']}"
    if not (out / "bench.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "cryobridge.bridge.cli", "map", "correct"]
        command += [str(case / "half1.mrc"), str(case / "half2.mrc"), "--mask", str(case / "mask.mrc"), "-o", str(out)]
        for key, value in options.items():
            flag = key.replace("_", "-")
            command += (
                [f"--{flag if value else 'no-' + flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
            )
        cpu_s, peak_gb = _timed(command)
        step = json.loads(
            subprocess.run(
                [sys.executable, __file__, str(case), "--work", str(case), "--time-steps", json.dumps(options)],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            ).stdout
        )
        figures = {"steps": steps, "cpu_s": cpu_s, "peak_gb": peak_gb, "cpu_s_per_step": step}
        (out / "bench.json").write_text(json.dumps(figures))
    figures = json.loads((out / "bench.json").read_text())
    mean = (read_map(out / "corrected_half1.mrc") + read_map(out / "corrected_half2.mrc")) / 2
    return {**figures, "scores": scores(pair, mean)}


def _timed(command: list[str]) -> tuple[float, float]:
    """CPU seconds and largest resident set (GB) of a program and all its children, on one thread."""
    with subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as program:
        assert program.stderr is not None
        said = program.stderr.read().decode()
        _, status, use = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return use.ru_utime + use.ru_stime, use.ru_maxrss / 2**20


def _time_steps(options: dict[str, Any]) -> None:
    """Print the median CPU seconds of a training step with the command's options, on one thread."""
    import torch

    from cryobridge.core.correction import CorrectionState, train
    from cryobridge.schemas.kinds.map.correct import CorrectOptions

    torch.set_num_threads(1)
    network = CorrectOptions.model_validate({**options, "steps": TIMED_STEPS}).network_options("cpu")
    n = 2 * network.cube_size
    half1, half2 = torch.randn(2, n, n, n, generator=torch.Generator().manual_seed(0))
    state = CorrectionState.new(network, "cpu")
    clock = [time.process_time() for _ in train(state, half1, half2, torch.ones(n, n, n // 2 + 1), None, network)]
    print(statistics.median(later - earlier for earlier, later in pairwise(clock)))


def _peer(arguments: argparse.Namespace, case: Path, pair: Pair, seed: int, steps: int) -> dict[str, Any]:
    """One run of spIsoNet through the harness, in its tutorial's order: fsc3d, then reconstruct with limit_res."""
    subvolumes = min(SUBVOLUMES, steps * 4 // LEAST_EPOCHS)
    epochs = steps * 4 // subvolumes
    out = case / f"peer_s{seed}_steps{steps}"
    if not (out / "run.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        command = [arguments.peer_python, str(arguments.harness / "run_baseline.py"), str(case), "--out", str(out)]
        command += ["--python", arguments.peer_python, "--cpu", "--threads", "1", "--seed", str(seed)]
        command += ["--stages", "fsc3d,reconstruct", "--ncpus", "1", "--epochs", str(epochs)]
        command += ["--n-subvolume", str(subvolumes), *PEER_NETWORK]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"spIsoNet, seed {seed}, failed:\n{done.stderr}")
        (out / "run.json").write_text(done.stdout)
    stages = json.loads((out / "run.json").read_text())["stages"]
    run = stages["reconstruct"]
    maps = {
        kind: (read_map(out / f"rec/corrected_half1{kind}.mrc") + read_map(out / f"rec/corrected_half2{kind}.mrc")) / 2
        for kind in ("", "_filtered")
    }
    return {
        "steps": run["optimizer_steps"],
        "cpu_s_per_step": run["cpu_s_per_step_median"],
        "cpu_s": sum(stage["cpu_s"] for stage in stages.values()),
        "peak_gb": run["max_rss_gb"],
        "scores": scores(pair, maps[""]),
        "filtered": scores(pair, maps["_filtered"]),
    }


def _other(run: dict[str, Any]) -> float:
    """CPU seconds of a run outside its training steps."""
    return float(run["cpu_s"] - run["steps"] * run["cpu_s_per_step"])


def _print_quality(rows: Rows) -> None:
    print("| map | steps | seeds | " + " | ".join(names()) + " |")
    print("|---|" + "---:|" * (2 + len(names())))
    for label, runs in rows:
        cells = [_spread([run["scores"][name] for run in runs]) for name in names()]
        print(f"| {label} | {runs[0].get('steps', '')} | {len(runs)} | " + " | ".join(cells) + " |")


def _print_costs(rows: Rows) -> None:
    print("\n| run | steps | CPU s per step | CPU s in all | peak memory, GB |")
    print("|---|" + "---:|" * 4)
    for label, runs in rows:
        step, whole, peak = (
            statistics.mean(run[key] for run in runs) for key in ("cpu_s_per_step", "cpu_s", "peak_gb")
        )
        print(f"| {label} | {runs[0]['steps']} | {step:.2f} | {whole:.0f} | {peak:.2f} |")


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}–{max(values):.3f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", type=Path, help="folders of pairs whose truth is known")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs; those found there are used")
    parser.add_argument("--box", type=int, help="Fourier-crop larger pairs to this box")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--variant", action="append", default=[], help="'label: key=value …', options of map.correct")
    parser.add_argument("--harness", type=Path, help="folder of run_baseline.py; without it spIsoNet is not run")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peer-steps", type=int, nargs="*", default=[], help="also spIsoNet with so many steps")
    parser.add_argument(
        "--equal-cpu", action="store_true", help="also as many of our steps as spIsoNet's CPU time buys"
    )
    parser.add_argument("--time-steps", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Anisotropy correction side by side: ours with either loss, and spIsoNet run as a program, scored against the truth.

    python bench/correct.py CASE [CASE ...] --work FOLDER [--seeds 1 2 3] [--steps 200] [--box 96]
    SPISONET_DIR=... python bench/correct.py CASE --work FOLDER --harness ../shared/bench/spisonet \
        --peer-python PYTHON --equal-cpu
    python bench/correct.py CASE --work FOLDER --variant "no anchor: anchor=0" --variant "wide: weight=sum_ratio:20"

A case is a folder that `pairs.read_pair` reads. The network is the same everywhere unless a variant says otherwise
(first width 16, cubes of 32, batch 4), every run is a process of its own with one thread, and what is scored is the
mean of the two final half-maps. Runs that are in the work folder already are not made again, so a table can be put
together from runs of several days. The harness (`run_baseline.py`) starts spIsoNet's own command line, on a machine
without a GPU with CUDA calls answered by the CPU; $SPISONET_DIR names the checkout, --peer-python an interpreter that
has what it needs. Rows are means over seeds, smallest and largest in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from pairs import Pair, read_map, read_pair, write_map, write_pair
from scores import names, scores

NETWORK = {"preset": "small", "cube_size": 32, "crop_size": 48, "batch": 4}
PEER_NETWORK = ["--base", "16", "--cube", "32", "--crop", "48", "--batch", "4", "--acc", "1"]
SUBVOLUMES = 400
COSTS = ("CPU s/step", "CPU s", "start", "peak GB")


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        _work(arguments)
        return
    for folder in arguments.cases:
        pair = read_pair(folder, arguments.box)
        case = arguments.work / pair.name
        write_pair(pair, case)
        print(
            f"\n{pair.name}: box {pair.box}, {pair.voxel_size_A:.2f} A, to {pair.limit_A:.2f} A, worst axis (z, y, x) "
            f"{tuple(round(float(x), 2) for x in pair.poor_axis)}"
        )
        print("| map | steps | seeds | " + " | ".join([*names(), *COSTS]) + " |")
        print("|---|" + "---:|" * (2 + len(names()) + len(COSTS)))
        _print_row("half-maps as given", [{"scores": scores(pair, (pair.half1 + pair.half2) / 2)}])
        _peer_and_ours(arguments, folder, case, pair)


def _peer_and_ours(arguments: argparse.Namespace, folder: Path, case: Path, pair: Pair) -> None:
    peer_cpu_s = None
    if arguments.harness is not None:
        runs = [_peer(arguments, case, pair, seed) for seed in arguments.seeds]
        _print_row("spIsoNet, corrected", runs)
        _print_row("spIsoNet, corrected_filtered", [{**run, "scores": run["filtered"]} for run in runs])
        peer_cpu_s = statistics.mean(run["train_cpu_s"] for run in runs)
    variants = [_variant(text) for text in arguments.variant] or [
        ("ours, published", {"method": "published"}),
        ("ours, improved", {}),
    ]
    for label, chosen in variants:
        runs = [_ours(arguments, folder, case, label, chosen, seed, arguments.steps) for seed in arguments.seeds]
        _print_products(label, runs)
        if arguments.equal_cpu and peer_cpu_s is not None:
            steps = round(peer_cpu_s / statistics.mean(run["cpu_s_per_step"] for run in runs) / 10) * 10
            more = [_ours(arguments, folder, case, label, chosen, seed, steps) for seed in arguments.seeds]
            _print_products(f"{label}, equal CPU time", more)


def _variant(text: str) -> tuple[str, dict[str, Any]]:
    label, _, rest = text.partition(":")
    pairs = (item.split("=", 1) for item in rest.split())
    return label.strip(), {key: _value(value) for key, value in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _ours(
    arguments: argparse.Namespace, folder: Path, case: Path, label: str, chosen: dict[str, Any], seed: int, steps: int
) -> dict[str, Any]:
    name = "".join(c if c.isalnum() else "_" for c in label)
    out = case / f"{name}_steps{steps}_s{seed}"
    if (out / "run.json").exists():
        return dict(json.loads((out / "run.json").read_text()))
    out.mkdir(parents=True, exist_ok=True)
    options = {**NETWORK, "seed": seed, "steps": steps, **chosen}
    command = [sys.executable, __file__, str(folder), "--worker", json.dumps(options), "--work", str(out)]
    command += [] if arguments.box is None else ["--box", str(arguments.box)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{label}, seed {seed}, failed:\n{done.stderr}")
    return dict(json.loads((out / "run.json").read_text()))


def _work(arguments: argparse.Namespace) -> None:
    """One run of ours in this process: train, predict, put together, score."""
    import torch

    from cryobridge.core.combine import combine
    from cryobridge.core.correction import CorrectionState, predict, train
    from cryobridge.core.filters import lowpass
    from cryobridge.core.fourier import apply_filter
    from cryobridge.core.fsc3d import fsc3d
    from cryobridge.core.posterior import fill, gain_from_fsc
    from cryobridge.schemas.correction import CorrectionOptions

    torch.set_num_threads(1)
    chosen = json.loads(arguments.worker)
    published = chosen.pop("method", "improved") == "published"
    form, angle = str(chosen.pop("weight", "phase_cosine:10")).split(":")
    prior_variance = chosen.pop("prior_variance", 1.0)
    start_s = time.process_time()
    pair = read_pair(arguments.cases[0], arguments.box)
    halves = [pair.half1, pair.half2]
    correlation = fsc3d(*halves, pair.mask, limit_shell=pair.limit_shell, form=form, half_angle_deg=float(angle))
    weight = correlation.clamp(0, 1)
    if published:
        options = CorrectionOptions.published(
            "cpu", **{"acc_batches": 1, "learning_rate": 3e-4, "n_subvolume": SUBVOLUMES, **chosen}
        )
    else:
        options = CorrectionOptions.for_device("cpu", **chosen)
    state = CorrectionState.new(options, "cpu")
    given = [lowpass(half, pair.voxel_size_A, pair.limit_A) for half in halves]
    clock = [time.process_time()]
    losses = []
    for report in train(state, *given, weight, pair.mask, options):
        losses.append(report.loss)
        clock.append(time.process_time())
    networks = [predict(state, i + 1, half, weight, pair.mask, options) for i, half in enumerate(given)]
    gain = gain_from_fsc(weight)
    made = {
        "network": networks,
        "published": [
            combine(net, half, pair.voxel_size_A, pair.limit_A, pair.mask)
            for net, half in zip(networks, halves, strict=True)
        ],
        "fill": [
            fill(apply_filter(half, gain), net, gain, pair.mask, prior_variance=prior_variance)
            for net, half in zip(networks, halves, strict=True)
        ],
    }
    for name, maps in made.items():
        for which, volume in enumerate(maps):
            write_map(arguments.work / f"{name}{which + 1}.mrc", volume, pair.voxel_size_A)
    use = resource.getrusage(resource.RUSAGE_SELF)
    steps = [later - earlier for earlier, later in pairwise(clock)]
    tenth = max(1, len(losses) // 10)
    figures = {
        "steps": len(losses),
        "loss": [statistics.mean(losses[:tenth]), statistics.mean(losses[-tenth:])],
        "start_cpu_s": start_s,
        "train_cpu_s": clock[-1] - clock[0],
        "cpu_s_per_step": statistics.median(steps),
        "cpu_s": use.ru_utime + use.ru_stime,
        "peak_gb": use.ru_maxrss / 2**20,
        "products": {name: scores(pair, (one + two) / 2) for name, (one, two) in made.items()},
    }
    (arguments.work / "run.json").write_text(json.dumps(figures, indent=1))


def _peer(arguments: argparse.Namespace, case: Path, pair: Pair, seed: int) -> dict[str, Any]:
    """One run of spIsoNet through the harness: its tutorial's order, fsc3d and then reconstruct with limit_res."""
    epochs = round(arguments.steps * 4 / SUBVOLUMES)
    out = case / f"peer_s{seed}_e{epochs}"
    if not (out / "run.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        command = [arguments.peer_python, str(arguments.harness / "run_baseline.py"), str(case), "--out", str(out)]
        command += ["--python", arguments.peer_python, "--cpu", "--threads", "1", "--seed", str(seed)]
        command += ["--stages", "import,fsc3d,reconstruct", "--ncpus", "1", "--epochs", str(epochs)]
        command += ["--n-subvolume", str(SUBVOLUMES), *PEER_NETWORK]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"spIsoNet, seed {seed}, failed:\n{done.stderr}")
        (out / "run.json").write_text(done.stdout)
    found = json.loads((out / "run.json").read_text())["stages"]
    run = found["reconstruct"]
    maps = {
        kind: (read_map(out / f"rec/corrected_half1{kind}.mrc") + read_map(out / f"rec/corrected_half2{kind}.mrc")) / 2
        for kind in ("", "_filtered")
    }
    return {
        "steps": run["optimizer_steps"],
        "start_cpu_s": found["check"]["cpu_s"] if "check" in found else None,
        "train_cpu_s": run["cpu_s_per_step_median"] * run["optimizer_steps"],
        "cpu_s_per_step": run["cpu_s_per_step_median"],
        "cpu_s": run["cpu_s"],
        "peak_gb": run["max_rss_gb"],
        "scores": scores(pair, maps[""]),
        "filtered": scores(pair, maps["_filtered"]),
    }


def _print_products(label: str, runs: list[dict[str, Any]]) -> None:
    for product in runs[0]["products"]:
        _print_row(f"{label}, {product}", [{**run, "scores": run["products"][product]} for run in runs])


def _print_row(label: str, runs: list[dict[str, Any]]) -> None:
    cells = [_spread([run["scores"][name] for run in runs], 3) for name in names()]
    for key, digits in (("cpu_s_per_step", 2), ("cpu_s", 0), ("start_cpu_s", 1), ("peak_gb", 2)):
        values = [run[key] for run in runs if run.get(key) is not None]
        cells.append(f"{statistics.mean(values):.{digits}f}" if values else "")
    print(f"| {label} | {runs[0].get('steps', '')} | {len(runs)} | " + " | ".join(cells) + " |", flush=True)


def _spread(values: list[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", type=Path, help="folders of pairs whose truth is known")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs; those found there are used")
    parser.add_argument("--box", type=int, help="Fourier-crop larger pairs to this box")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--variant", action="append", default=[], help="'label: key=value …' of the correction's options"
    )
    parser.add_argument("--harness", type=Path, help="folder of run_baseline.py; without it spIsoNet is not run")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument(
        "--equal-cpu", action="store_true", help="also as many of our steps as the peer's CPU time buys"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

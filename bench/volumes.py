"""Seconds for a volume out of a network of cryoDRGN's, ours against its own `eval_vol`, in one run.

    python bench/volumes.py --cryodrgn PROGRAM --run FOLDER [--count 50] [--few 1] [--threads 1]

FOLDER is a finished run of cryoDRGN (weights.pkl, config.yaml, z.pkl), PROGRAM its command, which is run as a program
only. Both are given the same latents. The peer runs twice, for --few and for --count volumes, so that what its start
takes is told from what a volume takes. Ours runs as a job in this process, as on a warm worker, and once as a command
of its own. CPU seconds are user + system, the figure to compare on a shared machine. The last line is the largest
relative difference of the volumes of both.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.wrappers.formats import mrc

Seconds = tuple[float, float]
"""CPU and wall."""


def of_command(command: list[str], threads: int) -> Seconds:
    """What a command takes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begun


def of_job(run: Path, z_file: Path, output: Path) -> Seconds:
    """What the job takes in this process, tables and report included."""
    spec = {"schema": "cryobridge/job/1", "kind": "vae.volumes", "output": str(output)}
    spec["inputs"] = {"run": str(run), "z_file": str(z_file)}
    cpu, wall = time.process_time(), time.monotonic()
    for _ in run_job(spec, torch.device("cpu")):
        pass
    return time.process_time() - cpu, time.monotonic() - wall


def difference(ours: Path, peers: Path) -> float:
    """Largest relative difference of the volumes that both wrote."""
    theirs = sorted(peers.glob("*.mrc"))
    mine = sorted(ours.glob("vol_*.mrc"))[: len(theirs)]
    worst = 0.0
    for one, other in zip(mine, theirs, strict=True):
        first, second = mrc.read(one)[0], mrc.read(other)[0]
        worst = max(worst, float(np.linalg.norm(first - second) / np.linalg.norm(second)))
    return worst


def main() -> None:
    """Run both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cryodrgn", required=True)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--few", type=int, default=1)
    parser.add_argument("--ours", type=int, help="volumes of ours; as many as of the peer if not given")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run = args.run.resolve()
    latents = read_run(run, torch.device("cpu")).latents
    number = args.ours or args.count
    rows = np.random.default_rng(0).choice(len(latents), max(number, args.count), replace=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {}
        for count in {args.few, args.count, number}:
            files[count] = folder / f"z{count}.txt"
            np.savetxt(files[count], latents[rows[:count]])
        of_job(run, files[args.few], folder / "warm")
        ours = of_job(run, files[number], folder / "ours")
        whole = [str(Path(sys.executable).with_name("cryobridge")), "vae", "volumes", str(run), "--z-file"]
        cold = of_command([*whole, str(files[args.few]), "-o", str(folder / "cold")], args.threads)
        command = [args.cryodrgn, "eval_vol", str(run / "weights.pkl"), "-c", str(run / "config.yaml"), "--zfile"]
        few = of_command([*command, str(files[args.few]), "-o", str(folder / "few")], args.threads)
        many = of_command([*command, str(files[args.count]), "-o", str(folder / "many")], args.threads)
        each = [(many[i] - few[i]) / (args.count - args.few) for i in (0, 1)]
        start = [few[i] - args.few * each[i] for i in (0, 1)]
        print(f"peer, a volume:          CPU {each[0]:8.2f} s   wall {each[1]:8.2f} s")
        print(f"peer, start:             CPU {start[0]:8.2f} s   wall {start[1]:8.2f} s")
        print(f"ours, a volume, warm:    CPU {ours[0] / number:8.2f} s   wall {ours[1] / number:8.2f} s   of {number}")
        print(f"ours, {args.few} by a command:   CPU {cold[0]:8.2f} s   wall {cold[1]:8.2f} s")
        for count in (args.count, 50):
            theirs = start[0] + count * each[0]
            print(f"peer / ours, {count} volumes: CPU {theirs / (count * ours[0] / number):.2f}")
        print(f"largest relative difference: {difference(folder / 'ours', folder / 'many'):.2e}")


if __name__ == "__main__":
    main()

"""IsoNet2, DeepDeWedge and IsoNet 0.3 on a set of `tomogram_scene.py`, each as a program with one thread.

    python bench/tomogram_peers.py isonet2 --python PYTHON --source CHECKOUT --data SET --work FOLDER --seed 1

What a run gave is kept as JSON beside its output, and is not made again while that file is there. CPU seconds are
those of the whole process tree, the peak of memory that of its largest process; disk is every byte that was written.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NAMES = {"deepdewedge": "DeepDeWedge", "isonet2": "IsoNet2", "isonet": "IsoNet 0.3"}
PROGRAM = Path(__file__).resolve().with_name("tomogram_peer_program.py")
STEPS = ("prepare_s", "train_s", "predict_s")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=NAMES)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the peer's environment")
    parser.add_argument("--source", type=Path, required=True, help="folder that has the peer's package in it")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER", help="other settings than the table's")
    given = parser.parse_args()
    found = peer_run(given.peer, given.python, given.source, given.data, given.work, given.seed, given.set)
    print(json.dumps(found, indent=1))


def peer_run(peer, python, source, data, work, seed, settings=()):
    """What a peer made of a set: its output, the CPU seconds of its steps, memory, disk; from `work`/run.json if there.

    `cpu_s` is preparation, training and prediction, without the seconds that its imports take.
    """
    place = work / "run.json"
    if not place.exists():
        scratch = work / "files"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        command = [python, PROGRAM, peer, "--source", source, "--data", data, "--work", scratch, "--seed", seed]
        used = run_measured([*command, *(["--set", *settings] if settings else [])], work / "log")
        last = [line for line in (work / "log").read_text(errors="replace").splitlines() if line.startswith("RESULT ")]
        told = json.loads(last[-1].removeprefix("RESULT "))
        shutil.move(told["output"], work / "output.mrc")
        shutil.rmtree(scratch)
        told |= used | {
            "output": str((work / "output.mrc").resolve()),
            "cpu_s": round(sum(told[name] for name in STEPS), 1),
        }
        place.write_text(json.dumps(told, indent=1) + "\n")
    return json.loads(place.read_text())


def run_measured(command, log):
    """Run a program with one thread: CPU seconds, bytes written (both of the whole process tree), peak memory, wall.

    Raises ``SystemExit`` that names the log where the program fails.
    """
    environment = os.environ | dict.fromkeys(THREADS, "1")
    started = time.monotonic()
    with open(log, "w") as file:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=file, stderr=subprocess.STDOUT)
        # Its counts of bytes are there until it is waited for.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        counts = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[1]} {command[2]} stopped with {process.returncode}; see {log}")
    return {
        "process_cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "wall_s": round(time.monotonic() - started, 1),
        "peak_bytes": used.ru_maxrss * 1024,
        # By calls, or through maps in memory.
        "written_bytes": max(int(counts["wchar"]), int(counts["write_bytes"])),
    }


if __name__ == "__main__":
    main()

"""Latents and volumes against a known truth by CPU second: ours, linear and trained, and cryoDRGN, in one run.

    python bench/heterogeneity.py WORK --peer FOLDER [--kinds conf1d ...] [--seeds 1 2 3] [--methods fast linear]

FOLDER holds the programs of an environment with cryodrgn, which is run as a program only. Every run is a program with
one thread, and its CPU seconds are those of the whole process. The peer's settings: the small net (256 and 128 wide),
batch 8, learning rate 4e-4, 8 epochs, 4 latent dimensions. What is in WORK already is not run again; `table.md` there
is the table.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
from latent_scores import of_latents, of_volumes, probes_of
from moving_molecule import KINDS, MAP_BOX, written

from cryobridge.wrappers.formats.pickled_arrays import read_pickled

EPOCHS, ZDIM = 8, 4
PROGRAM = str(Path(sys.executable).with_name("cryobridge"))
METHODS = ("fast", "linear", "published")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peer", type=Path, help="folder of its programs; without it ours runs alone")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=["fast", "linear"])
    parser.add_argument("--count", type=int, default=3000)
    given = parser.parse_args()
    rows = []
    for kind in given.kinds:
        for seed in given.seeds:
            folder = given.work / f"{kind}_{seed}"
            if not (folder / "data" / "dataset.json").exists():
                written(folder / "data", kind, given.count, seed)
            rows.extend(result_of(folder, method, partial(ours, folder, method, seed)) for method in given.methods)
            if given.peer or (folder / "peer" / "score.json").exists():
                rows.append(result_of(folder, "peer", partial(peer, folder, given.peer, seed)))
    text = table(rows) + "\n" + summary(rows)
    (given.work / "table.md").write_text(text)
    print(text)


def result_of(folder, method, run):
    """What was scored before, or is now."""
    place = folder / method / "score.json"
    if not place.exists():
        (folder / method).mkdir(parents=True, exist_ok=True)
        found = run()
        place.write_text(json.dumps(found, indent=1) + "\n")
    return {"set": folder.name, "method": method, **json.loads(place.read_text())}


def ran(log, *command):
    """Run a program with one thread; returns its CPU seconds."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "a") as file:
        subprocess.run(command, check=True, env=os.environ | threads, stdout=file, stderr=subprocess.STDOUT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(folder, method, seed):
    data, here = folder / "data", folder / method
    kind = ["linear"] if method == "linear" else ["train", "--method", method, "--seed", str(seed)]
    if method == "fast":
        kind += ["--zdim", str(ZDIM)]
    if method == "published":
        kind += [
            "--zdim",
            str(ZDIM),
            "-n",
            str(EPOCHS),
            "-b",
            "8",
            "--lr",
            "4e-4",
            "--enc-dim",
            "256",
            "--dec-dim",
            "128",
        ]
    where = ["-o", str(here / "run"), "--threads", "1"]
    seconds = ran(here / "log", PROGRAM, "vae", *kind, str(data / "particles.star"), "--box", str(MAP_BOX), *where)
    z = np.load(here / "run" / "latents.npz")["z"]
    told = json.loads((here / "run" / "result.json").read_text())

    def decode(probes):
        np.savetxt(here / "probes.txt", probes)
        command = [
            "vae",
            "volumes",
            str(here / "run"),
            "--zfile",
            str(here / "probes.txt"),
            "-o",
            str(here / "volumes"),
        ]
        ran(here / "log", PROGRAM, *command)
        return sorted((here / "volumes").glob("vol_*.mrc"))

    return scored(data, z, decode, seconds) | {"own_seconds": told["timings_s"], "told": told["metrics"]}


def peer(folder, programs, seed):
    data, here = folder / "data", folder / "peer"
    cryodrgn, log = str(programs / "cryodrgn"), here / "log"
    table, stack = str(data / "particles.star"), str(here / f"particles.{MAP_BOX}.mrcs")
    prepared = ran(log, cryodrgn, "downsample", table, "-D", str(MAP_BOX), "-o", stack, "--datadir", str(data))
    prepared += ran(log, cryodrgn, "parse_pose_star", table, "-o", str(here / "pose.pkl"))
    prepared += ran(log, cryodrgn, "parse_ctf_star", table, "-o", str(here / "ctf.pkl"))
    tables = ["--poses", str(here / "pose.pkl"), "--ctf", str(here / "ctf.pkl")]
    nets = ["--enc-dim", "256", "--dec-dim", "128", "--lr", "4e-4", "-b", "8", "-n", str(EPOCHS), "--zdim", str(ZDIM)]
    end = ["--seed", str(seed), "-o", str(here / "train"), "--no-analysis"]
    seconds = ran(log, cryodrgn, "train_vae", stack, *tables, *nets, *end)
    return peer_scored(folder, cryodrgn, prepared, seconds)


def peer_scored(folder, cryodrgn, prepared, seconds):
    data, here = folder / "data", folder / "peer"
    z = read_pickled(here / "train" / f"z.{EPOCHS}.pkl")[0]

    def decode(probes):
        np.savetxt(here / "probes.txt", probes)
        weights, config = here / "train" / f"weights.{EPOCHS}.pkl", here / "train" / "config.yaml"
        where = ["--zfile", str(here / "probes.txt"), "-o", str(here / "volumes")]
        ran(here / "log", cryodrgn, "eval_vol", str(weights), "-c", str(config), *where)
        return sorted((here / "volumes").glob("vol_*.mrc"))

    return scored(data, z, decode, seconds) | {"preparing_s": prepared}


def scored(data, z, decode, seconds):
    """The score of latents, and of the volumes that `decode` makes of some of them."""
    told, truth = json.loads((data / "dataset.json").read_text()), dict(np.load(data / "truth.npz"))
    found = {"cpu_s": round(seconds, 1), "latents": of_latents(z, truth)}
    if z.shape[1] == 0:
        return found
    volumes = [volume_at(path) for path in decode(probes_of(z, truth, told["probes"]))]
    truths = [volume_at(data / probe["file"]) for probe in told["probes"]]
    return found | {"volumes": of_volumes(volumes, truths, volume_at(data / "mask.mrc"))}


def volume_at(path):
    with mrcfile.open(path, permissive=True) as file:
        return file.data.astype(np.float32)


def table(rows):
    """One line a run, in Markdown."""
    lines = ["| set | method | CPU s | latents | CC | FSC | difference, last from first | from the mean |"]
    lines.append("|---|---|---:|---|---:|---:|---:|---:|")
    for row in rows:
        volumes = row.get("volumes", {})
        latents = "; ".join(f"{name} {value:.3f}" for name, value in row["latents"].items())
        cells = [row["set"], row["method"], f"{_seconds(row):.0f}", latents]
        cells += [f"{np.mean(volumes[name]):.3f}" if name in volumes else "" for name in ("CC", "FSC")]
        names = ("difference, last from first", "difference from the mean")
        cells += [f"{volumes[name]:.3f}" if name in volumes else "" for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary(rows):
    """Means over the seeds, one line for a kind and a method; how much less CPU time than the peer's, all in."""
    lines = ["| kind | method | seeds | CPU s | of the peer's | latents, worst seed | CC | difference | worst seed |"]
    lines.append("|---|---|---:|---:|---:|---|---:|---:|---:|")
    kinds = list(dict.fromkeys(row["set"].rsplit("_", 1)[0] for row in rows))
    for kind in kinds:
        of_kind = [row for row in rows if row["set"].rsplit("_", 1)[0] == kind]
        theirs = {row["set"]: _seconds(row) for row in of_kind if row["method"] == "peer"}
        for method in dict.fromkeys(row["method"] for row in of_kind):
            some = [row for row in of_kind if row["method"] == method]
            both = [_seconds(row) for row in some if row["set"] in theirs]
            ratio = (
                f"1/{sum(theirs[row['set']] for row in some if row['set'] in theirs) / sum(both):.1f}" if both else ""
            )
            worst = [f"{name} {min(row['latents'][name] for row in some):.3f}" for name in some[0]["latents"]]
            differences = [row["volumes"][_DIFFERENCE] for row in some if _DIFFERENCE in row.get("volumes", {})]
            agreed = [float(np.mean(row["volumes"]["CC"])) for row in some if "volumes" in row]
            cells = [kind, method, str(len(some)), f"{np.mean([_seconds(row) for row in some]):.0f}", ratio]
            cells += ["; ".join(worst), f"{np.mean(agreed):.3f}" if agreed else ""]
            cells += [f"{np.mean(differences):.3f}", f"{min(differences):.3f}"] if differences else ["", ""]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _seconds(row):
    """CPU seconds with everything before, which ours has in it: reading, downsampling, poses and CTF."""
    return row["cpu_s"] + row.get("preparing_s", 0.0)


_DIFFERENCE = "difference from the mean"

if __name__ == "__main__":
    main()

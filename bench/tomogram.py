"""Missing-wedge correction against a known truth: ours, IsoNet2, DeepDeWedge and IsoNet 0.3, in one run.

    python bench/tomogram.py WORK --sets tiny std --seeds 1 2 3 --ours default= \
        --peers deepdewedge=PYTHON:CHECKOUT isonet2=PYTHON:CHECKOUT

Every run is a program with one thread on a set of `tomogram_scene.py`, whose seed is the program's too. An arm of ours
is NAME=OPTIONS of `cryobridge tomo correct`; a peer is run in its own environment, as `tomogram_peer_program.py` says.
CPU seconds: ours those of the whole process, a peer's those of preparation, training and prediction, without the
seconds of its imports. WORK/results has a file for every run, which is not made again; WORK/table.md is the tables.
"""

import argparse
import json
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import starfile
from tomogram_peers import NAMES, peer_run, run_measured
from tomogram_scene import SETS, written
from tomogram_scores import scores

CLI = Path(sys.executable).with_name("cryobridge")
SHOWN = ("cc", "fsc_meas", "fsc_mw", "fill", "iso")
INPUTS = {"input": "full", "input without noise": "noisefree_wedge"}
"""Rows that no program made: what is lost when nothing is corrected."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["tiny", "std"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ours", nargs="*", default=[], metavar="NAME=OPTIONS")
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME=PYTHON:CHECKOUT", help=", ".join(NAMES))
    given = parser.parse_args()
    peers = dict(pair.split("=", 1) for pair in given.peers)
    if unknown := set(peers) - set(NAMES):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    rows = []
    for name in given.sets:
        for seed in given.seeds:
            data = given.work / "sets" / f"{name}_{seed}"
            if not (data / "meta.json").exists():
                written(data, SETS[name], seed)
            where = partial(result_of, given.work, name, seed)
            rows.extend(where(label, partial(untouched, data, file)) for label, file in INPUTS.items())
            for peer, place in peers.items():
                python, source = place.split(":", 1)
                rows.append(where(peer, partial(peer_scored, given.work, data, peer, python, source, seed)))
            for arm in given.ours:
                label, options = arm.split("=", 1)
                rows.append(where(f"ours {label}", partial(ours, given.work, data, label, options, seed)))
    text = table(rows) + "\n" + by_seed(rows) + "\n" + against_best_peer(rows)
    (given.work / "table.md").write_text(text)
    print(text)


def result_of(work, name, seed, method, run):
    """What a run gave before, or gives now: `scores`, and of a program `cpu_s`, `peak_bytes` and `written_bytes`."""
    place = work / "results" / f"{name}_{seed}_{method.replace(' ', '_')}.json"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"set": name, "seed": seed, "method": method, **run()}, indent=1) + "\n")
    return json.loads(place.read_text())


def untouched(data, file):
    return {"scores": scores(data, data / f"{file}.mrc")}


def peer_scored(work, data, peer, python, source, seed):
    found = peer_run(peer, python, source, data, work / "runs" / data.name / peer, seed)
    return found | {"scores": scores(data, Path(found["output"]))}


def ours(work, data, label, options, seed):
    """One arm of ours: a table of one tomogram's halves, and the pipeline's job with the arm's options."""
    here = work / "runs" / data.name / f"ours_{label}"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    meta = json.loads((data / "meta.json").read_text())
    columns = {
        "rlnIndex": 1,
        "rlnTomoReconstructedTomogramHalf1": data.resolve() / "even.mrc",
        "rlnTomoReconstructedTomogramHalf2": data.resolve() / "odd.mrc",
        "rlnPixelSize": meta["voxel_size_A"],
        "rlnDefocus": 0,
        "rlnTiltMin": meta["tilt_min_deg"],
        "rlnTiltMax": meta["tilt_max_deg"],
    }
    labels = "".join(f"_{name} #{n}\n" for n, name in enumerate(columns, 1))
    row = " ".join(map(str, columns.values()))
    (here / "tomograms.star").write_text(f"data_\n\nloop_\n{labels}{row}\n")
    end = ["-o", here / "job", "--seed", seed, "--threads", "1", *shlex.split(options)]
    used = run_measured([CLI, "tomo", "correct", here / "tomograms.star", *end], here / "log")
    corrected = here / "job" / starfile.read(here / "job" / "tomograms.star", always_dict=False)[_CORRECTED].iloc[0]
    told = {"cpu_s": used["process_cpu_s"], "options": options, "output": str(corrected)}
    return used | told | {"scores": scores(data, corrected)}


def table(rows):
    """Means over the seeds, in Markdown: one line a set and method."""
    lines = _head("set", "method", "seeds", *SHOWN, "CPU s", "peak MiB", "written MiB", texts=2)
    for name, method in dict.fromkeys((row["set"], row["method"]) for row in rows):
        some = [row for row in rows if (row["set"], row["method"]) == (name, method)]
        cells = [name, _named(method), str(len(some))]
        cells += [f"{np.mean([row['scores'][score] for row in some]):.3f}" for score in SHOWN]
        cells += [_mean(some, key, scale) for key, scale in (("cpu_s", 1), ("peak_bytes", 2**20))]
        cells.append(_mean(some, "written_bytes", 2**20))
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def by_seed(rows):
    """One line a run, in Markdown, with its CPU seconds step by step where a peer's are known."""
    steps = ("prepare_s", "train_s", "predict_s")
    lines = _head("set", "seed", "method", *SHOWN, "CPU s", "prepare", "train", "predict", texts=3)
    for row in rows:
        cells = [row["set"], str(row["seed"]), _named(row["method"])]
        cells += [f"{row['scores'][score]:.3f}" for score in SHOWN]
        cells += [f"{row[key]:.0f}" if key in row else "" for key in ("cpu_s", *steps)]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def against_best_peer(rows):
    """Every arm of ours against the peers, each score against the peer that is best in it."""
    compared = ("cc", "fsc_meas", "fsc_mw", "horiz", "iso")
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        means = _means([row for row in rows if row["set"] == name and "cpu_s" in row])
        theirs = {method: mean for method, mean in means.items() if method in NAMES}
        for method in (method for method in means if theirs and method not in theirs):
            cells = [name, _named(method)]
            for score in compared:
                best = max(theirs, key=lambda peer, score=score: _counted(theirs[peer], score))
                gain, part = means[method][score] - theirs[best][score], means[method]["cpu_s"] / theirs[best]["cpu_s"]
                cells.append(f"{gain:+.3f} {NAMES[best]} ({part:.2f})")
            lines.append(_line(cells))
    if not lines:
        return ""
    told = "Ours less the best peer's mean, which peer that is, and our CPU seconds over its:"
    return "\n".join([told, "", *_head("set", "method", *compared, texts=2), *lines]) + "\n"


def _means(rows):
    """Scores and CPU seconds over the seeds, by method."""
    by_method: dict[str, list[dict]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row["scores"] | {"cpu_s": row["cpu_s"]})
    return {
        method: {key: float(np.mean([one[key] for one in some])) for key in some[0]}
        for method, some in by_method.items()
    }


def _counted(mean, score):
    """A score as it is compared: agreement in a wedge that is all but empty says nothing."""
    return -1.0 if score == "fsc_mw" and mean["fill"] < _FILLED else mean[score]


def _mean(rows, key, scale):
    return f"{np.mean([row[key] for row in rows]) / scale:.0f}" if all(key in row for row in rows) else ""


def _head(*names, texts):
    return [_line(names), _line(["---"] * texts + ["---:"] * (len(names) - texts)).replace(" ", "")]


def _line(cells):
    return "| " + " | ".join(cells) + " |"


def _named(method):
    return NAMES.get(method, method)


_FILLED = 0.02
_CORRECTED = "rlnCorrectedTomoName"

if __name__ == "__main__":
    main()

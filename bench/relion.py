"""Real RELION refinements with the stock tool, the bridge, a perfect network and spIsoNet, against a known truth.

    .venv/bin/python bench/relion.py --output DIR [--seeds 7 8 9] [--columns stock bridge oracle] [--write]

Every run that DIR holds finished is only read, so a bench that was stopped goes on. Global searches up to healpix order
3, so that views that went astray can come back. `--write` puts the table into docs/BENCHMARKS.md between its marks.
Needs RELION and two free cores. The column `spisonet` wants SPISONET_WRAPPER, the command that RELION is to call.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import relion_oracle
from numpy.typing import NDArray
from relion_score import ASTRAY_DEG, CAP_DEG, FSC_TO_A, GLOBAL_ORDER, RARE_BEYOND_DEG, Scored, Stage, rare, score

from cryobridge.schemas import wire
from cryobridge.wrappers.relion.demo import jobfiles, quality, real_relion, refinement
from cryobridge.wrappers.relion.demo.particles import Particles, Recipe, simulate

Array = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "BENCHMARKS.md"
BEGIN, END = "<!-- relion: begin -->", "<!-- relion: end -->"
RECIPE = Recipe(
    box=40,
    pixel_size_A=3.6,
    n_particles=400,
    kappa=12.0,
    uniform_fraction=0.08,
    signal_to_noise=0.25,
    n_helices=12,
    semi_axes_A=(22.0, 20.0, 42.0),
    fold=3,
    radius_A=20.0,
)
SEARCH = real_relion.Search(healpix_order=2, local_from=GLOBAL_ORDER + 1)
_RESAMPLES = 2000


@dataclass(frozen=True)
class Column:
    """What RELION calls: `external` (None: its own tool), with these variables and text of `cryobridge.yaml`."""

    external: str | None
    variables: Mapping[str, str]
    settings: str = ""


def columns(output: Path) -> dict[str, Column]:
    """Every treatment by name."""
    hook = str(Path(sys.executable).with_name("cryobridge-relion"))
    own = {
        "CRYOBRIDGE_SOCKET": str((output / "daemon" / "socket").absolute()),
        "XDG_STATE_HOME": str((output / "state").absolute()),
    }
    early = {**own, **real_relion.EARLY_CORRECTION}
    python = f"{sys.executable} {Path(relion_oracle.__file__).resolve()}"
    return {
        "stock": Column(None, {}),
        "again": Column(hook, {**own, "CRYOBRIDGE_CORRECTION": "False"}),
        "bridge": Column(hook, own),
        "early": Column(hook, early),
        "oracle": Column(python, real_relion.EARLY_CORRECTION),
        "gain": Column(hook, {**early, "CRYOBRIDGE_WEIGHT": "gain"}),
        "shared": Column(hook, {**early, "CRYOBRIDGE_MODE": "shared"}),
        "prior1": Column(hook, early, "prior_variance: 1.0\n"),
        "limit0.5": Column(hook, {**early, "ISONET_FSC_05": "True"}),
        "anew": Column(hook, {**early, "CRYOBRIDGE_MODE": "shared", "CRYOBRIDGE_WEIGHT": "fsc3d"}),
        "spisonet": Column(os.environ.get("SPISONET_WRAPPER"), {}),
    }


def refined(folder: Path, particles: Particles, column: Column) -> Scored:
    """The figures of one run; made anew only if the folder does not hold them. Stops if RELION does not converge."""
    kept = folder / "scored.json"
    if kept.exists():
        return Scored.from_json(json.loads(kept.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    refinement.prepare(folder, particles)
    if column.settings:
        (folder / jobfiles.ROOT).with_name("cryobridge.yaml").write_text(column.settings)
    truth = folder / "truth.mrc"
    with mrcfile.new(truth, overwrite=True) as file:
        file.set_data(particles.truth.astype(np.float32))
    variables = {**column.variables, relion_oracle.TRUTH: str(truth.absolute())}
    run = real_relion.run(folder, particles, column.external, variables, timeout_s=7200, search=SEARCH)
    if not run.converged:
        sys.exit(f"RELION ended with {run.exit_code}:\n{run.log[-2000:]}\n{run.errors[-2000:]}")
    found = score(run, particles)
    kept.write_text(json.dumps(found.as_json()))
    return found


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument(
        "--columns",
        nargs="+",
        default=["stock", "bridge", "oracle"],
        help="NAME, or NAME:SEED,SEED for a column of fewer data sets; the first is what the others are compared with",
    )
    parser.add_argument("--output", type=Path, required=True, help="the project folders, kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/BENCHMARKS.md")
    chosen = parser.parse_args()
    if not real_relion.available():
        sys.exit("RELION is not installed (Debian, Ubuntu: apt install relion openmpi-bin)")
    treatments, wanted = columns(chosen.output), _wanted(chosen.columns, chosen.seeds)
    if "spisonet" in wanted and treatments["spisonet"].external is None:
        sys.exit("the column spisonet wants SPISONET_WRAPPER, the command that RELION is to call")
    sets, runs = dict[int, Particles](), {name: dict[int, Scored]() for name in wanted}
    try:
        for seed in chosen.seeds:
            sets[seed] = simulate(replace(RECIPE, seed=seed))
            for name in (name for name, seeds in wanted.items() if seed in seeds):
                print(f"seed {seed}, {name} ...", flush=True)
                runs[name][seed] = refined(chosen.output / f"seed{seed}-{name}", sets[seed], treatments[name])
    finally:
        _end_daemon(chosen.output / "daemon" / "socket")
    rares = {seed: rare(one) for seed, one in sets.items()}
    text = f"{_described(chosen.seeds, again='again' in runs)}\n\n{table(runs, rares)}\n\n{courses(runs)}"
    print(text)
    if chosen.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


def table(runs: Mapping[str, Mapping[int, Scored]], rares: Mapping[int, NDArray[np.bool_]]) -> str:
    """Markdown, a column for each treatment: means over its data sets, and paired differences from the first column.

    Parameters
    ----------
    runs
        By treatment and seed; the first treatment has every seed that another has.
    rares
        By seed, (n,) which views are rare.
    """
    names = list(runs)
    base = runs[names[0]]
    rows: list[tuple[str, list[str]]] = []

    def add(what: str, of: Callable[[Scored], float], form: str) -> None:
        rows.append((what, [format(np.mean([of(run) for run in runs[name].values()]), form) for name in names]))

    add("iterations", lambda run: len(run.steps), ".1f")
    add("of them corrected", lambda run: len(run.corrected), ".1f")
    stages: list[tuple[str, Callable[[Scored], Stage]]] = [
        (f"after the last global search, order {GLOBAL_ORDER}", lambda run: run.at_global),
        ("at the end", lambda run: run.at_end),
    ]
    for when, stage_of in stages:
        for label, wanted in (("common", False), ("rare", True)):
            cells = []
            for name in names:
                errors = _errors(runs[name], stage_of, rares, wanted)
                cells.append(_cell(errors, None if name == names[0] else _errors(base, stage_of, rares, wanted)))
            rows.append((f"{when}: error of {label} views, °", cells))
        rows.append(
            (f"{when}: views astray, common and rare", [_astray(runs[name], stage_of, rares) for name in names])
        )
        add(
            f"{when}: shift of tilt that common views share, °", lambda run, of=stage_of: of(run).tilt_shift_deg, "+.2f"
        )
        sums = [_fsc([stage_of(run).sums for run in runs[name].values()]) for name in names]
        rows.append((f"{when}: RELION's raw sums, FSC to truth", sums))
    final = [_fsc([run.final for run in runs[name].values()]) for name in names]
    rows.append(("final, joined map, FSC to truth", final))
    add("RELION's final resolution, Å", lambda run: run.resolution_A, ".1f")
    add("seconds", lambda run: run.seconds, ".0f")
    heads = [
        name if len(runs[name]) == len(base) else f"{name} (seed {', '.join(map(str, runs[name]))})" for name in names
    ]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(names)}"]
    return "\n".join([*lines, *(f"| {what} | {' | '.join(cells)} |" for what, cells in rows)])


def courses(runs: Mapping[str, Mapping[int, Scored]]) -> str:
    """Healpix order and what RELION took its accuracy of rotations for, by iteration, of the first data set."""
    lines = ["Healpix order and RELION's own accuracy of rotations (°) by iteration, first data set:", ""]
    for name, found in runs.items():
        first = next(iter(found.values())).steps
        steps = [f"{order}:{'-' if accuracy > 100 else f'{accuracy:.1f}'}" for _, order, accuracy, _ in first]
        lines.append(f"* {name}: {' '.join(steps)}")
    return "\n".join(lines)


def _wanted(columns: list[str], seeds: list[int]) -> dict[str, list[int]]:
    """Seeds by column."""
    found = {}
    for column in columns:
        name, _, some = column.partition(":")
        found[name] = [int(seed) for seed in some.split(",")] if some else seeds
    return found


def _errors(
    runs: Mapping[int, Scored],
    stage_of: Callable[[Scored], Stage],
    rares: Mapping[int, NDArray[np.bool_]],
    wanted: bool,
    cap: bool = True,
) -> dict[int, Array]:
    """Errors of the views of one kind, by seed."""
    found = {seed: np.array(stage_of(run).errors_deg)[rares[seed] == wanted] for seed, run in runs.items()}
    return {seed: np.minimum(one, CAP_DEG) for seed, one in found.items()} if cap else found


def _cell(errors: Mapping[int, Array], base: Mapping[int, Array] | None) -> str:
    """Mean error and median; the paired mean difference with its 95 % interval; and that of each data set."""
    together = np.concatenate(list(errors.values()))
    text = f"{together.mean():.2f} (median {np.median(together):.2f})"
    if base is None:
        return text
    differences = [one - base[seed] for seed, one in errors.items()]
    difference = np.concatenate(differences)
    rng = np.random.default_rng(0)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    each = " ".join(f"{one.mean():+.2f}" for one in differences)
    return f"{text}; {difference.mean():+.2f} [{low:+.2f}, {high:+.2f}] ({each})"


def _astray(
    runs: Mapping[int, Scored], stage_of: Callable[[Scored], Stage], rares: Mapping[int, NDArray[np.bool_]]
) -> str:
    found = [
        np.concatenate(list(_errors(runs, stage_of, rares, wanted, cap=False).values())) for wanted in (False, True)
    ]
    return " and ".join(f"{(one > ASTRAY_DEG).mean():.1%}" for one in found)


def _fsc(values: list[tuple[float, float, float]]) -> str:
    return "/".join(f"{value:.3f}" for value in np.mean(values, axis=0))


def _described(seeds: list[int], *, again: bool) -> str:
    control = (
        "`again`: the bridge's standard map, the stock tool's to seven digits, so what chance does; " if again else ""
    )
    r, early = RECIPE, real_relion.EARLY_CORRECTION
    return (
        f"{len(seeds)} data set(s), seeds {', '.join(map(str, seeds))}: {r.n_particles} particles, C{r.fold}, "
        f"box {r.box}, {r.pixel_size_A:g} Å per pixel, views about ±z with kappa {r.kappa:g} and "
        f"{r.uniform_fraction:.0%} anywhere, signal to noise {r.signal_to_noise:g}. Errors: mean, with what is above "
        f"{CAP_DEG:g}° counted as {CAP_DEG:g}°, then the paired difference from the first column with its 95 % "
        f"interval (bootstrap over particles) and by data set; rare: {RARE_BEYOND_DEG:g}° or more from ±z; astray: "
        f"off by more than {ASTRAY_DEG:g}°. FSC to truth: mean of the shells to {FSC_TO_A:g} Å inside the mask, "
        f"all/within {quality.CONE_HALF_ANGLE_DEG:g}° of z/elsewhere. `stock`, `bridge` and `spisonet` as they come; "
        f"{control}the others correct from healpix order {early['ISONET_START_HEALPIX']} and "
        f"{early['ISONET_START_RESOLUTION']} Å on. "
        f"{os.cpu_count()} {platform.machine()} cores, no GPU."
    )


def _end_daemon(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return
        pid = wire.peer_uid(client)[0]
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)


if __name__ == "__main__":
    main()

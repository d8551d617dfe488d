"""The same real RELION refinement with the stock tool and with the bridge, measured against the known truth.

    .venv/bin/python bench/relion.py [--seeds 7 8 9] [--box 40] [--write]

`--write` puts the table into docs/BENCHMARKS.md between its marks. Needs RELION and two free cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from cryobridge.core.fourier import last_shell
from cryobridge.schemas import wire
from cryobridge.wrappers.relion.demo import jobfiles, quality, real_relion, refinement
from cryobridge.wrappers.relion.demo.particles import Particles, simulate
from cryobridge.wrappers.relion.demo.specimen import density, low_passed, solvent_mask

Array = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "BENCHMARKS.md"
BEGIN, END = "<!-- relion: begin -->", "<!-- relion: end -->"
FSC_TO_A = 11.0


@dataclass(frozen=True)
class Measured:
    """One run's figures; FSC values are means over the shells to `FSC_TO_A`."""

    iterations: int
    corrected: int
    resolution_A: float
    final: tuple[float, float, float]
    halves: tuple[float, float, float]
    median_error_deg: float
    mean_error_deg: float
    share_astray: float
    seconds_per_iteration: float
    seconds: float


def measure(run: real_relion.RelionRun, particles: Particles) -> Measured:
    """Compare a finished run with the truth, in the frame in which the refinement settled."""
    folder = (run.project / jobfiles.ROOT).parent
    views = real_relion.refined_views(run.project)
    errors = quality.angular_errors_deg(views, particles.euler_deg)
    turn = quality.frame_turn(views, particles.euler_deg)
    last = run.iterations - 1
    final = _read(folder / "run_class001.mrc")
    halves = [_read(folder / f"run_it{last:03d}_half{half}_class001.mrc") for half in (1, 2)]
    model = (folder / "run_model.star").read_text()
    ended = sorted(path.stat().st_mtime for path in folder.glob("run_it*_optimiser.star"))
    return Measured(
        iterations=run.iterations,
        corrected=len(run.corrected_iterations),
        resolution_A=float(re.findall(r"_rlnCurrentResolution\s+(\S+)", model)[0]),
        final=_against_truth(final, particles, turn),
        halves=_against_truth((halves[0] + halves[1]) / 2, particles, turn),
        median_error_deg=float(np.median(errors)),
        mean_error_deg=float(errors.mean()),
        share_astray=float((errors > 30).mean()),
        seconds_per_iteration=float(np.median(np.diff(ended))),
        seconds=run.seconds,
    )


def _read(path: Path) -> Array:
    volume: Array = mrcfile.read(path).astype(np.float64)
    return volume


def _against_truth(volume: Array, particles: Particles, turn: Array) -> tuple[float, float, float]:
    """Mean FSC overall, in the badly sampled cone, elsewhere; the truth is turned and shifted, not the map."""
    recipe = particles.recipe
    turned = replace(particles.specimen, atoms=particles.specimen.atoms @ turn)
    truth = density(turned, recipe.box, recipe.pixel_size_A)
    shift = _shift(*(low_passed(v, recipe.pixel_size_A, 15.0) for v in (volume, truth)))
    shifted = replace(turned, atoms=turned.atoms + shift * recipe.pixel_size_A)
    truth = density(shifted, recipe.box, recipe.pixel_size_A)
    last = last_shell(recipe.box, recipe.pixel_size_A, FSC_TO_A)
    return quality.fsc_to_truth(volume, truth, solvent_mask(truth)).means(last)


def _shift(volume: Array, truth: Array) -> Array:
    """(3,) x, y, z in voxels by which `volume` lies off `truth`, from the peak of their correlation."""
    n = volume.shape[0]
    product = np.fft.rfftn(volume) * np.fft.rfftn(truth).conj()
    correlation = np.fft.fftshift(np.fft.irfftn(product, s=volume.shape, axes=(0, 1, 2)))
    peak = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
    exact = peak.astype(float)
    for axis in range(3):
        around = []
        for step in (-1, 0, 1):
            at = peak.copy()
            at[axis] = (at[axis] + step) % n
            around.append(correlation[tuple(at)])
        curvature = around[0] - 2 * around[1] + around[2]
        exact[axis] += 0.5 * (around[0] - around[2]) / curvature if curvature else 0.0
    return exact[::-1] - n // 2


def refine(project: Path, particles: Particles, external: str | None, environment: dict[str, str]) -> Measured:
    """Run RELION once and measure it; stops with what RELION said if it does not converge."""
    refinement.prepare(project, particles)
    run = real_relion.run(project, particles, external, environment)
    if not run.converged:
        sys.exit(f"RELION ended with {run.exit_code}:\n{run.log[-2000:]}\n{run.errors[-2000:]}")
    for answer in run.answers:
        print(f"    it {answer.iteration:2d} half {answer.half}: {answer.kind}{answer.text}", flush=True)
    return measure(run, particles)


def table(pairs: list[tuple[Measured, Measured]]) -> str:
    """Markdown, one column for the stock tool and one for the bridge: means over the seeds."""

    def fsc(part: int, which: str) -> list[str]:
        return [f"{np.mean([getattr(p[side], which)[part] for p in pairs]):.3f}" for side in (0, 1)]

    def mean(name: str, form: str) -> list[str]:
        return [format(np.mean([getattr(p[side], name) for p in pairs]), form) for side in (0, 1)]

    rows = [
        ("iterations", *mean("iterations", ".1f")),
        ("of them corrected", *mean("corrected", ".1f")),
        ("RELION's final resolution, Å", *mean("resolution_A", ".1f")),
        ("final map (joined, RELION's own), FSC to truth, overall", *fsc(0, "final")),
        ("… in the badly sampled cone", *fsc(1, "final")),
        ("… elsewhere", *fsc(2, "final")),
        ("last iteration's half-maps averaged, FSC to truth, overall", *fsc(0, "halves")),
        ("… in the badly sampled cone", *fsc(1, "halves")),
        ("… elsewhere", *fsc(2, "halves")),
        ("angular error, median, °", *mean("median_error_deg", ".2f")),
        ("angular error, mean, °", *mean("mean_error_deg", ".1f")),
        ("views off by more than 30°", *mean("share_astray", ".1%")),
        ("seconds per iteration, median", *mean("seconds_per_iteration", ".1f")),
        ("seconds in all", *mean("seconds", ".0f")),
    ]
    lines = ["| | stock | bridge |", "|---|---:|---:|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    recipe = real_relion.RECIPE
    parser.add_argument("--seeds", type=int, nargs="+", default=[recipe.seed])
    parser.add_argument("--box", type=int, default=recipe.box)
    parser.add_argument("--pixel-size", type=float, default=recipe.pixel_size_A)
    parser.add_argument("--particles", type=int, default=recipe.n_particles)
    parser.add_argument("--kappa", type=float, default=recipe.kappa)
    parser.add_argument("--snr", type=float, default=recipe.signal_to_noise)
    parser.add_argument("--output", type=Path, help="keep the project folders here")
    parser.add_argument("--write", action="store_true", help="put the table into docs/BENCHMARKS.md")
    chosen = parser.parse_args()
    if not real_relion.available():
        sys.exit("RELION is not installed (Debian, Ubuntu: apt install relion openmpi-bin)")
    output = chosen.output or Path(tempfile.mkdtemp(prefix="cryobridge-bench-"))
    path = output / "daemon" / "socket"
    own = {"CRYOBRIDGE_SOCKET": str(path.absolute()), "XDG_STATE_HOME": str((output / "state").absolute())}
    hook = str(Path(sys.executable).with_name("cryobridge-relion"))
    pairs = []
    for seed in chosen.seeds:
        particles = simulate(
            replace(
                recipe,
                seed=seed,
                box=chosen.box,
                pixel_size_A=chosen.pixel_size,
                n_particles=chosen.particles,
                kappa=chosen.kappa,
                signal_to_noise=chosen.snr,
            )
        )
        runs = []
        for name, external, environment in (
            ("stock", None, {}),
            ("bridge", hook, {**own, **real_relion.EARLY_CORRECTION}),
        ):
            project = output / f"seed{seed}-{name}"
            shutil.rmtree(project, ignore_errors=True)
            print(f"seed {seed}, {name} ...", flush=True)
            runs.append(refine(project, particles, external, environment))
        pairs.append((runs[0], runs[1]))
        print(table([pairs[-1]]), flush=True)
    _end_daemon(path)
    described = (
        f"{len(pairs)} data set(s), seeds {', '.join(map(str, chosen.seeds))}: {chosen.particles} particles, box "
        f"{chosen.box}, {chosen.pixel_size:g} Å per pixel, views about ±z with kappa {chosen.kappa:g}, signal to noise "
        f"{chosen.snr:g}. FSC to truth: mean of the shells to {FSC_TO_A:g} Å inside the mask, cone of "
        f"{quality.CONE_HALF_ANGLE_DEG:g}° about z. {os.cpu_count()} {platform.machine()} cores, no GPU used."
    )
    text = f"{described}\n\n{table(pairs)}"
    print(text)
    if chosen.write:
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


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

"""A real RELION auto-refinement of the simulated particles, on the CPU: three MPI ranks, external reconstruction."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import starfile
from numpy.typing import NDArray

from .jobfiles import ROOT
from .particles import Particles, Recipe

PROGRAMS = ("relion_refine_mpi", "mpirun")
RECIPE = Recipe(box=40, pixel_size_A=3.6, n_particles=600, signal_to_noise=0.8, kappa=8.0, uniform_fraction=0.05)
"""Particles that RELION refines in three minutes on two cores."""
EARLY_CORRECTION = {"ISONET_START_HEALPIX": "2", "ISONET_START_RESOLUTION": "20"}
"""Correction from the middle of a run that reaches 10 to 15 A: the defaults are for larger data."""


_ANSWER = re.compile(r"cryobridge: (corrected|standard) map([^\n]*)\[it(\d+)(?: half(\d))? class\d+\]")


@dataclass(frozen=True)
class HookAnswer:
    """The hook's last line about one call: `kind` is "corrected" or "standard"; `half` 0 is the joined call."""

    iteration: int
    half: int
    kind: str
    text: str


@dataclass(frozen=True)
class Search:
    """How RELION looks for views: healpix order at the start, and the one from which it looks nearby only."""

    healpix_order: int = 1
    local_from: int = 2


QUICK = Search()
"""Local searches from the second order on: the one slow part of a small refinement is a fine global search."""


@dataclass(frozen=True)
class RelionRun:
    """How a run went.

    Attributes
    ----------
    seconds
        Wall time of the whole run.
    log, errors
        What RELION and the hook printed.
    """

    project: Path
    exit_code: int
    seconds: float
    log: str
    errors: str

    @property
    def iterations(self) -> int:
        """How many iterations were begun, the last joined one included."""
        return len(set(re.findall(r"Expectation iteration +(\d+)", self.log)))

    @property
    def converged(self) -> bool:
        """Whether RELION came to its own end."""
        return self.exit_code == 0 and "Refinement has converged, stopping now" in self.log

    @property
    def answers(self) -> list[HookAnswer]:
        """What the hook said of each call, in the order of the log."""
        return [HookAnswer(int(i), int(h or 0), k, t) for k, t, i, h in _ANSWER.findall(self.log)]

    @property
    def corrected_iterations(self) -> list[int]:
        """Iterations in which both halves got a corrected map."""
        halves = [answer.iteration for answer in self.answers if answer.kind == "corrected"]
        return sorted({number for number in halves if halves.count(number) == 2})


def available() -> bool:
    """Tell whether the programs for a real run are installed."""
    return all(shutil.which(name) for name in PROGRAMS)


def run(
    project: Path,
    particles: Particles,
    external: str | None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 3600.0,
    search: Search = QUICK,
) -> RelionRun:
    """Refine `data/particles.star` in `project` to RELION's own convergence.

    Parameters
    ----------
    external
        Value of RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE; None leaves the stock tool in place.
    environment
        Further variables, e.g. `ISONET_START_HEALPIX`.

    Raises
    ------
    subprocess.TimeoutExpired
        If it takes longer than `timeout_s`; every rank has been ended.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
    variables.pop("RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE", None)
    if external is not None:
        variables["RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE"] = external
    (project / ROOT).parent.mkdir(parents=True, exist_ok=True)
    out, err = project / f"{ROOT}.out", project / f"{ROOT}.err"
    started = time.monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        exit_code = subprocess.run(
            _command(particles, search),
            cwd=project,
            env=variables,
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        ).returncode
    seconds = time.monotonic() - started
    return RelionRun(project, exit_code, seconds, _text(out), _text(err))


def _command(particles: Particles, search: Search) -> list[str]:
    """Start of a refinement of `data/particles.star`, three ranks on this machine."""
    diameter = 2 * particles.specimen.outer_radius + 10
    refine = [
        *f"relion_refine_mpi --o {ROOT} --auto_refine --split_random_halves".split(),
        *["--i", "data/particles.star", "--ref", "data/reference.mrc", "--firstiter_cc", "--ini_high", "20"],
        *["--dont_combine_weights_via_disc", "--preread_images", "--pool", "30", "--pad", "2", "--ctf"],
        *f"--particle_diameter {diameter:.0f} --flatten_solvent --zero_mask".split(),
        *["--solvent_mask", "data/mask.mrc", "--solvent_correct_fsc", "--low_resol_join_halves", "40"],
        *["--sym", f"C{particles.recipe.fold}"],
        *["--oversampling", "1", "--healpix_order", str(search.healpix_order)],
        *["--auto_local_healpix_order", str(search.local_from)],
        *["--offset_range", "4", "--offset_step", "2"],
        *["--norm", "--scale", "--j", "1", "--random_seed", "42", "--external_reconstruct"],
    ]
    mpirun = ["mpirun", "--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
    # The first rank hands out work, and asks without a pause whether there is any: two cores are for those who do it.
    return [*mpirun, "-n", "1", "nice", "-n", "10", *refine, ":", "-n", "2", *refine]


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "\n")


def refined_views(project: Path) -> NDArray[np.float64]:
    """(n, 3) rot, tilt, psi of the finished run, in the order of the particle stack."""
    table = starfile.read(project / f"{ROOT}_data.star")["particles"]
    order = np.argsort([int(name.split("@")[0]) for name in table["rlnImageName"]])
    views: NDArray[np.float64] = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)[order]
    return views

"""The demo's refinement: for a few iterations, hand the sums over as RELION does and let the real hook answer.

The views are the true ones with an angular error that shrinks from iteration to iteration; they do not depend on
the maps. So this shows what an iteration's correction does to the maps and what it costs, not what the maps do to
the views: a real RELION run shows that.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.fourier import last_shell
from cryobridge.core.relion import SumsGeometry, reconstruct

from . import jobfiles, spectra
from .particles import Particles, perturbed
from .specimen import low_passed, solvent_mask
from .sums import SimulatedSums, back_project

Array = NDArray[np.float64]
START_RESOLUTION_A = 20.0
_CALL_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Stage:
    """How far a refinement has come: the sampling of its views and what error is left in them."""

    healpix_order: int
    error_deg: float


STAGES = (Stage(1, 7.0), Stage(2, 4.5), Stage(3, 3.0), Stage(3, 2.5), Stage(4, 2.0), Stage(4, 1.5))


@dataclass(frozen=True)
class DemoIteration:
    """What one iteration gave; maps are (box, box, box), axes z, y, x, one per half.

    Attributes
    ----------
    standard, answered
        The standard maps of the same sums, and what the hook put in their place.
    seconds
        Wall time from the start of both hooks to the end of the later one.
    log
        What the hooks wrote into RELION's log.
    """

    number: int
    stage: Stage
    fsc: Array
    resolution_A: float
    standard: tuple[Array, Array]
    answered: tuple[Array, Array]
    seconds: float
    log: str

    @property
    def corrected(self) -> bool:
        """Whether both halves got a corrected map, as RELION's log tells its user."""
        return self.log.count("cryobridge: corrected map") == 2


def prepare(project: Path, particles: Particles) -> None:
    """Write what a refinement starts from: particles, reference, mask and the files of iteration 0."""
    pixel_size_A = particles.recipe.pixel_size_A
    reference = low_passed(particles.truth, pixel_size_A, START_RESOLUTION_A)
    jobfiles.write_inputs(project, particles, reference, solvent_mask(particles.truth))
    for half in (1, 2):
        jobfiles.write_map(project / f"{jobfiles.ROOT}_it000_half{half}_class001.mrc", reference, pixel_size_A)
    fsc = (np.arange(particles.recipe.box // 2 + 1) < 4).astype(np.float64)
    jobfiles.write_iteration(project, 0, particles, particles.euler_deg, STAGES[0].healpix_order, fsc)


def refine(
    project: Path,
    particles: Particles,
    hook: list[str],
    environment: Mapping[str, str],
    stages: tuple[Stage, ...] = STAGES,
) -> Iterator[DemoIteration]:
    """Run the iterations; yields each when it is done.

    Parameters
    ----------
    project
        Folder that `prepare` has filled; the hooks' current folder, as it would be RELION's.
    hook
        The command that RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE would hold.
    environment
        Of the hooks.

    Raises
    ------
    RuntimeError
        If a hook does not exit 0 with a map in place, which would end a real refinement.
    """
    recipe = particles.recipe
    rng = np.random.default_rng(recipe.seed + 1)
    current_size = min(recipe.box, 2 * (last_shell(recipe.box, recipe.pixel_size_A, START_RESOLUTION_A) + 6))
    for number, stage in enumerate(stages, 1):
        views = perturbed(rng, particles.euler_deg, stage.error_deg)
        sums = tuple(back_project(particles, particles.halves == half, views, current_size) for half in (1, 2))
        fsc = spectra.half_map_fsc(*sums)
        tau2 = [spectra.reference_tau2(half_sums, fsc) for half_sums in sums]
        stars = [
            jobfiles.write_call(project, number, half, sums[half - 1], fsc, tau2[half - 1], particles)
            for half in (1, 2)
        ]
        standard = tuple(reconstructed(half_sums, t) for half_sums, t in zip(sums, tau2, strict=True))
        log, seconds = _call_hooks(project, stars, hook, environment)
        answered = tuple(mrcfile.read(project / star.with_suffix(".mrc")).astype(np.float64) for star in stars)
        jobfiles.write_iteration(project, number, particles, views, _next_order(stages, number), fsc)
        for half, volume in enumerate(answered, 1):
            path = project / f"{jobfiles.ROOT}_it{number:03d}_half{half}_class001.mrc"
            jobfiles.write_map(path, volume, recipe.pixel_size_A)
            jobfiles.write_map(
                project / unfiltered_name(half),
                reconstructed(sums[half - 1], tau2[half - 1], regularised=False),
                recipe.pixel_size_A,
            )
        reached_A = spectra.resolution(fsc, recipe.pixel_size_A)
        # RELION grows the image size by a few shells beyond the resolution reached.
        current_size = min(recipe.box, 2 * (last_shell(recipe.box, recipe.pixel_size_A, reached_A) + 5))
        yield DemoIteration(
            number,
            stage,
            fsc,
            reached_A,
            (standard[0], standard[1]),
            (answered[0], answered[1]),
            seconds,
            log,
        )


def unfiltered_name(half: int) -> Path:
    """Where RELION leaves a half-map that no prior has touched, for postprocessing."""
    return Path(f"{jobfiles.ROOT}_half{half}_class001_unfil.mrc")


def reconstructed(sums: SimulatedSums, tau2: Array, *, regularised: bool = True) -> Array:
    """What RELION 4 and 5 make of the sums by themselves: the standard map, or the one without the prior."""
    volume = reconstruct(
        torch.from_numpy(sums.data.astype(np.complex64)),
        torch.from_numpy(sums.weight.astype(np.float32)),
        SumsGeometry(sums.box, sums.padding, sums.current_size),
        tau2,
        style="relion5",
        regularised=regularised,
    )
    return volume.numpy().astype(np.float64)


def _next_order(stages: tuple[Stage, ...], number: int) -> int:
    """The sampling with which the following iteration's views are found: what its hook reads."""
    return stages[min(number, len(stages) - 1)].healpix_order


def _call_hooks(project: Path, stars: list[Path], hook: list[str], environment: Mapping[str, str]) -> tuple[str, float]:
    """Run one hook per half at the same time, as two ranks of RELION do."""
    started = time.monotonic()
    processes = [
        subprocess.Popen(
            [*hook, str(star)],
            cwd=project,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for star in stars
    ]
    try:
        logs = [process.communicate(timeout=_CALL_TIMEOUT_S)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    seconds = time.monotonic() - started
    for process, star, log in zip(processes, stars, logs, strict=True):
        if process.returncode != 0 or not (project / star.with_suffix(".mrc")).exists():
            raise RuntimeError(f"the hook left no map for {star} (exit {process.returncode}):\n{log}")
    return "".join(logs), seconds

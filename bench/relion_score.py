"""A finished RELION run of `bench/relion.py` against the truth: views, raw sums, maps, and what RELION believed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import starfile
from numpy.typing import NDArray

from cryobridge.core.fourier import last_shell
from cryobridge.wrappers.relion.demo import jobfiles, quality, real_relion
from cryobridge.wrappers.relion.demo.particles import Particles, euler_matrices
from cryobridge.wrappers.relion.demo.specimen import density, low_passed, solvent_mask

Array = NDArray[np.float64]
FSC_TO_A = 11.0
RARE_BEYOND_DEG = 45.0
"""A view this far or farther from the preferred axis is a rare one."""
ASTRAY_DEG = 20.0
CAP_DEG = 30.0
"""Errors count up to this much: how wrong a wrong view is says nothing."""
NEAR_AXIS_DEG = 10.0
GLOBAL_ORDER = 3


@dataclass(frozen=True)
class Stage:
    """Where a run stands after one iteration. FSC to truth: all directions, badly measured cone, the rest.

    errors_deg
        Of each view, in the order of the particle stack.
    tilt_shift_deg
        Mean by which common views stand farther from the preferred axis than they should. Noise makes errors of either
        sign; what all views share is a map that is squeezed (or stretched) along that axis and views that fit it.
    sums
        Mean of the two half-maps that RELION made of its sums without any prior; its views with the maps of the
        iteration before.
    """

    iteration: int
    errors_deg: list[float]
    tilt_shift_deg: float
    sums: tuple[float, float, float]


@dataclass(frozen=True)
class Scored:
    """One run's figures; `steps` are (iteration, healpix order, accuracy of rotations, resolution)."""

    at_global: Stage
    at_end: Stage
    final: tuple[float, float, float]
    steps: list[tuple[int, int, float, float]]
    corrected: list[int]
    resolution_A: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """All of it, as `json.dump` wants it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Scored:
        """What `as_json` gave."""
        stages = {key: Stage(**values[key]) for key in ("at_global", "at_end")}
        return cls(**{**values, **stages})


def score(run: real_relion.RelionRun, particles: Particles) -> Scored:
    """Compare a finished run with the truth, in the frame in which the refinement settled."""
    folder = (run.project / jobfiles.ROOT).parent
    steps = _steps(folder)
    last = steps[-1][0]
    last_global = max(number for number, order, *_ in steps if order <= GLOBAL_ORDER)
    turn = quality.frame_turn(_views(folder / "run_data.star"), particles.euler_deg, particles.recipe.fold)
    model = (folder / "run_model.star").read_text()
    return Scored(
        at_global=_stage(folder, last_global, particles, turn),
        at_end=_stage(folder, last, particles, turn),
        final=against_truth(_read(folder / "run_class001.mrc"), particles, turn),
        steps=steps,
        corrected=run.corrected_iterations,
        resolution_A=float(re.findall(r"_rlnCurrentResolution\s+(\S+)", model)[0]),
        seconds=run.seconds,
    )


def rare(particles: Particles) -> NDArray[np.bool_]:
    """(n,) whether a particle's true view is far from the preferred axis."""
    tilt = particles.euler_deg[:, 1]
    return np.minimum(tilt, 180 - tilt) >= RARE_BEYOND_DEG


def _stage(folder: Path, iteration: int, particles: Particles, turn: Array) -> Stage:
    views = _views(folder / f"run_it{iteration:03d}_data.star")
    errors = quality.angular_errors_deg(views, particles.euler_deg, particles.recipe.fold)
    halves = [_read(folder / f"run_it{iteration:03d}_half{half}_class001_unfil.mrc") for half in (1, 2)]
    sums = against_truth((halves[0] + halves[1]) / 2, particles, turn)
    shift = round(_tilt_shift(views, particles, errors), 3)
    return Stage(iteration, [round(float(error), 3) for error in errors], shift, sums)


def _tilt_shift(views: Array, particles: Particles, errors: Array) -> float:
    turn = quality.frame_turn(views, particles.euler_deg, particles.recipe.fold)
    axes = euler_matrices(views) @ turn.T @ np.array([0.0, 0.0, 1.0])
    found = np.rad2deg(np.arccos(np.clip(np.abs(axes[:, 2]), 0, 1)))
    true = np.minimum(particles.euler_deg[:, 1], 180 - particles.euler_deg[:, 1])
    # Next to the axis an error of any direction adds to the tilt.
    counted = ~rare(particles) & (errors < ASTRAY_DEG) & (true > NEAR_AXIS_DEG)
    return float((found - true)[counted].mean())


def _steps(folder: Path) -> list[tuple[int, int, float, float]]:
    found = []
    for path in sorted(folder.glob("run_it*_sampling.star")):
        number = int(path.name[6:9])
        models = folder / f"run_it{number:03d}_half1_model.star", folder / f"run_it{number:03d}_optimiser.star"
        if number == 0 or not all(one.exists() for one in models):
            continue
        model, optimiser = (one.read_text() for one in models)
        found.append(
            (
                number,
                int(_number("rlnHealpixOrder", path.read_text())),
                _number("rlnOverallAccuracyRotations", optimiser),
                _number("rlnCurrentResolution", model),
            )
        )
    return found


def _number(label: str, text: str) -> float:
    return float(re.findall(rf"_{label}\s+(\S+)", text)[0])


def _views(path: Path) -> Array:
    table = starfile.read(path)["particles"]
    order = np.argsort([int(name.split("@")[0]) for name in table["rlnImageName"]])
    views: Array = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)[order]
    return views


def _read(path: Path) -> Array:
    volume: Array = mrcfile.read(path).astype(np.float64)
    return volume


def against_truth(volume: Array, particles: Particles, turn: Array) -> tuple[float, float, float]:
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

"""The project that a refinement of a mixture would have left: stacks, and the table of the refinement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryobridge.wrappers.formats import mrc, star

from ..demo.particles import Recipe
from .mixture import Mixture

STAR = Path("Refine3D/job003/run_data.star")
TRUTH = Path("truth.csv")
MARK = ".cryobridge-demo"
_STACKS = Path("Extract/job002/Micrographs")


def claim_folder(folder: Path) -> None:
    """Make the folder, and mark it as the demo's, so that it may be written again.

    Raises
    ------
    OSError
        If nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def write_project(folder: Path, mixture: Mixture) -> None:
    """Write stacks by micrograph, the refinement's table (RELION 3.1), and which particle is in which state.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    claim_folder(folder)
    for place in (STAR.parent, _STACKS):
        (folder / place).mkdir(parents=True, exist_ok=True)
    recipe, optics = mixture.recipe, Recipe()
    number = np.empty(recipe.n_particles, np.int64)
    for micrograph in range(recipe.micrographs):
        members = np.flatnonzero(mixture.micrograph == micrograph)
        number[members] = np.arange(1, len(members) + 1)
        mrc.write_atomically(folder / _stack(micrograph), mixture.images[members], recipe.pixel_size_A)
    particles = {
        "rlnImageName": [f"{at:06d}@{_stack(of)}" for at, of in zip(number, mixture.micrograph, strict=True)],
        "rlnMicrographName": [f"MotionCorr/job001/Micrographs/mic_{of:03d}.mrc" for of in mixture.micrograph],
        "rlnOpticsGroup": ["1"] * recipe.n_particles,
        **{
            name: _texts(values)
            for name, values in {
                "rlnAngleRot": mixture.euler_deg[:, 0],
                "rlnAngleTilt": mixture.euler_deg[:, 1],
                "rlnAnglePsi": mixture.euler_deg[:, 2],
                # RELION stores what brings a particle back to the centre.
                "rlnOriginXAngst": -mixture.shift_A[:, 0],
                "rlnOriginYAngst": -mixture.shift_A[:, 1],
                "rlnDefocusU": mixture.defocus[:, 0],
                "rlnDefocusV": mixture.defocus[:, 1],
                "rlnDefocusAngle": mixture.defocus[:, 2],
            }.items()
        },
        "rlnRandomSubset": [str(row % 2 + 1) for row in range(recipe.n_particles)],
    }
    groups = {
        "rlnOpticsGroup": ["1"],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [f"{optics.voltage_kV:.6f}"],
        "rlnSphericalAberration": [f"{optics.spherical_aberration_mm:.6f}"],
        "rlnAmplitudeContrast": [f"{optics.amplitude_contrast:.6f}"],
        "rlnImagePixelSize": [f"{recipe.pixel_size_A:.6f}"],
        "rlnImageSize": [str(recipe.box)],
        "rlnImageDimensionality": ["2"],
    }
    star.write_atomically(folder / STAR, {"optics": groups, "particles": particles})
    rows = "".join(f"{row},{int(whole)}\n" for row, whole in enumerate(mixture.is_whole))
    (folder / TRUTH).write_text(f"index,whole\n{rows}")


def _stack(micrograph: int) -> Path:
    return _STACKS / f"mic_{micrograph:03d}.mrcs"


def _texts(values: np.ndarray) -> list[str]:
    return [f"{value:.6f}" for value in values]

"""The files of a RELION job folder around one external reconstruction, in the layout of RELION 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from ...formats import star
from .particles import Particles
from .sums import SimulatedSums

Array = NDArray[np.float64]
ROOT = "Refine3D/job001/run"
_COMMAND = (
    "--o {root} --auto_refine --split_random_halves --i data/particles.star --ref data/reference.mrc --ini_high 20 "
    "--pad {padding} --ctf --flatten_solvent --zero_mask --solvent_mask data/mask.mrc --sym C1 --external_reconstruct"
)


def write_map(path: Path, volume: NDArray[np.floating], pixel_size_A: float) -> None:
    """Write a float32 MRC volume, axes z, y, x."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        file.voxel_size = pixel_size_A


def write_call(
    project: Path, iteration: int, half: int, sums: SimulatedSums, fsc: Array, tau2: Array, particles: Particles
) -> Path:
    """Write what RELION hands over for one half: three padded volumes and the STAR file that names them.

    Returns
    -------
    The STAR file's path relative to `project`, which is RELION's current folder.
    """
    pixel_size_A = particles.recipe.pixel_size_A
    part = f"half{half}_" if half else ""
    base = f"{ROOT}_it{iteration:03d}_{part}class001_external_reconstruct"
    parts = {"data_real": sums.data.real, "data_imag": sums.data.imag, "weight": sums.weight}
    for name, values in parts.items():
        write_map(project / f"{base}_{name}.mrc", values, 1.0)
    general: dict[str, object] = {
        "rlnExtReconsDataReal": f"{base}_data_real.mrc",
        "rlnExtReconsDataImag": f"{base}_data_imag.mrc",
        "rlnExtReconsWeight": f"{base}_weight.mrc",
        "rlnExtReconsResult": f"{base}.mrc",
        "rlnExtReconsResultStarfile": f"{base}_out.star",
        "rlnTau2FudgeFactor": 1.0,
        "rlnPaddingFactor": float(sums.padding),
        "rlnReferenceDimensionality": 3,
        "rlnOriginalImageSize": sums.box,
        "rlnCurrentImageSize": sums.current_size,
        "rlnPixelSize": pixel_size_A,
        "rlnParticleDiameter": 2 * particles.specimen.outer_radius,
    }
    spectra = {"rlnSpectralIndex": np.arange(len(fsc)), "rlnReferenceTau2": tau2, "rlnGoldStandardFsc": fsc}
    name = f"{base}.star"
    _write_star(
        project / name,
        {"external_reconstruct_general": general, "external_reconstruct_tau2": spectra},
    )
    return Path(name)


def write_iteration(
    project: Path, iteration: int, particles: Particles, euler_deg: Array, healpix_order: int, fsc: Array
) -> None:
    """Write the optimiser, sampling, model and data files with which RELION ends an iteration."""
    recipe = particles.recipe
    base = f"{ROOT}_it{iteration:03d}"
    optimiser = {
        "rlnOutputRootName": ROOT,
        "rlnModelStarFile": f"{base}_half1_model.star",
        "rlnModelStarFile2": f"{base}_half2_model.star",
        "rlnExperimentalDataStarFile": f"{base}_data.star",
        "rlnOrientSamplingStarFile": f"{base}_sampling.star",
        "rlnCurrentIteration": iteration,
        "rlnDoSplitRandomHalves": 1,
        "rlnParticleDiameter": 2 * particles.specimen.outer_radius,
        "rlnSolventMaskName": "data/mask.mrc",
        "rlnDoExternalReconstruct": 1,
        "rlnDoGradientRefine": 0,
        "rlnDoAutoRefine": 1,
    }
    comment = f"# RELION optimiser; simulated by cryobridge\n# {_COMMAND.format(root=ROOT, padding=2)}\n"
    _write_star(project / f"{base}_optimiser.star", {"optimiser_general": optimiser}, comment)
    sampling = {
        "rlnIs3DSampling": 1,
        "rlnHealpixOrder": healpix_order,
        "rlnSymmetryGroup": "C1",
        "rlnPsiStep": 60.0 / 2**healpix_order,
    }
    _write_star(project / f"{base}_sampling.star", {"sampling_general": sampling})
    for half in (1, 2):
        model = {
            "rlnReferenceDimensionality": 3,
            "rlnOriginalImageSize": recipe.box,
            "rlnPaddingFactor": 2.0,
            "rlnPixelSize": recipe.pixel_size_A,
            "rlnNrClasses": 1,
            "rlnNrBodies": 1,
        }
        curves = {"rlnSpectralIndex": np.arange(len(fsc)), "rlnGoldStandardFsc": fsc}
        _write_star(project / f"{base}_half{half}_model.star", {"model_general": model, "model_class_1": curves})
    write_particles_star(project / f"{base}_data.star", particles, euler_deg)


def write_inputs(project: Path, particles: Particles, reference: Array, mask: Array) -> None:
    """Write the particle stack, its STAR file (no angles in it), the starting reference, the mask and the truth."""
    recipe = particles.recipe
    data = project / "data"
    data.mkdir(parents=True, exist_ok=True)
    (project / ROOT).parent.mkdir(parents=True, exist_ok=True)
    write_map(data / "reference.mrc", reference, recipe.pixel_size_A)
    write_map(data / "mask.mrc", mask, recipe.pixel_size_A)
    write_map(data / "truth.mrc", particles.truth, recipe.pixel_size_A)
    with mrcfile.new(data / "particles.mrcs", overwrite=True) as file:
        file.set_data(particles.images)
        file.set_image_stack()
        file.voxel_size = recipe.pixel_size_A
    write_particles_star(data / "particles.star", particles, None)


def write_particles_star(path: Path, particles: Particles, euler_deg: Array | None) -> None:
    """Write the optics and particle tables; views and shifts only where `euler_deg` is given."""
    recipe = particles.recipe
    n = len(particles.images)
    optics = {
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnOpticsGroup": [1],
        "rlnVoltage": [recipe.voltage_kV],
        "rlnSphericalAberration": [recipe.spherical_aberration_mm],
        "rlnAmplitudeContrast": [recipe.amplitude_contrast],
        "rlnImagePixelSize": [recipe.pixel_size_A],
        "rlnImageSize": [recipe.box],
        "rlnImageDimensionality": [2],
    }
    table: dict[str, Sequence[object] | NDArray[np.generic]] = {
        "rlnImageName": [f"{i + 1:06d}@data/particles.mrcs" for i in range(n)],
        "rlnMicrographName": [f"mic{i % 20:03d}.mrc" for i in range(n)],
        "rlnOpticsGroup": np.ones(n, np.int64),
        "rlnRandomSubset": particles.halves,
        "rlnDefocusU": particles.defocus[:, 0],
        "rlnDefocusV": particles.defocus[:, 1],
        "rlnDefocusAngle": particles.defocus[:, 2],
    }
    if euler_deg is not None:
        for k, name in enumerate(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")):
            table[name] = euler_deg[:, k]
        table["rlnOriginXAngst"] = -particles.shift_A[:, 0]
        table["rlnOriginYAngst"] = -particles.shift_A[:, 1]
    _write_star(path, {"optics": optics, "particles": table})


def _write_star(path: Path, blocks: Mapping[str, Mapping[str, object]], comment: str = "") -> None:
    path.write_text(comment + star.format_blocks(blocks))

"""A RELION job folder as far as the small files of its iterations go."""

from __future__ import annotations

from pathlib import Path

OPTIMISER = """\
# RELION optimiser; version {version}
# {command}

# version 30001

data_optimiser_general

_rlnOutputRootName                                    Refine3D/job001/{root}
_rlnDoSplitRandomHalves                               {split}
_rlnParticleDiameter                                  150.000000
_rlnSolventMaskName                                   {mask}
_rlnDoExternalReconstruct                             {external}
_rlnDoStochasticGradientDescent                       {gradient}
_rlnFourierMask                                       None

"""
MODEL = """\

# version 30001

data_model_general

_rlnOriginalImageSize                             {box}
_rlnPaddingFactor                                 2.000000
_rlnPixelSize                                     2.800000

"""
SAMPLING = """\

data_sampling_general

_rlnHealpixOrder     3
_rlnSymmetryGroup    C3

"""


def write_iteration(
    job_dir: Path,
    iteration: int,
    *,
    root: str = "run",
    options: str = "--external_reconstruct",
    external: bool = True,
    mask: str = "data/mask.mrc",
    box: int = 64,
    version: str = "3.1.3",
    split: bool = True,
    gradient: bool = False,
) -> Path:
    """Write optimiser, sampling and model files of an iteration; return the optimiser's path."""
    job_dir.mkdir(parents=True, exist_ok=True)
    stem = f"{root}_it{iteration:03d}"
    (job_dir / f"{stem}_half1_model.star").write_text(MODEL.format(box=box))
    (job_dir / f"{stem}_sampling.star").write_text(SAMPLING)
    optimiser = job_dir / f"{stem}_optimiser.star"
    optimiser.write_text(
        OPTIMISER.format(
            version=version,
            command=f"--o Refine3D/job001/{root} --auto_refine --ini_high 20 {options}",
            root=root,
            mask=mask,
            external=int(external),
            split=int(split),
            gradient=int(gradient),
        )
    )
    return optimiser


def project(folder: Path) -> Path:
    """A project with a mask; returns the job's folder, not yet made."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "mask.mrc").write_bytes(b"mask")
    return folder / "Refine3D" / "job001"

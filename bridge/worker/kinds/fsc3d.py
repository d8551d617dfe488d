"""`map.fsc3d`: the Fourier shell correlation of two half-maps by direction."""

from __future__ import annotations

import math

import torch

from cryobridge.core.fourier import centred_spectrum
from cryobridge.core.fsc import fsc, resolution
from cryobridge.core.fsc3d import fsc3d, sphericity
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.maps import Form, HalfMapInputs, MapFsc3dJob

from ..folder import OutputFolder
from ..iteration import resolution_range
from ..jobs import JobSteps
from ..loop import Progress
from ..tables import curve_table
from ..volumes import Pair, read_pair

STATEMENT = "The values are true as far as the two half-maps were made independently of each other."


def run(job: MapFsc3dJob, device: torch.device, folder: OutputFolder) -> JobSteps:
    """Compute, write `FSC3D.mrc` (the origin at the centre of the box), `fsc.csv` and the report."""
    options = job.options
    pair = read_pair(job.inputs)
    folder.mark("read")
    yield Progress(f"read two half-maps of {pair.box}^3 at {pair.voxel_size_A:g} A", 0.2)
    measured = Measured(pair, job.inputs, device, options.limit_resolution_A)
    volume = measured.fsc3d(options.half_angle_deg, options.form, keep_high_resolution=options.keep_high_resolution)
    best_A, worst_A = resolution_range(volume, pair.voxel_size_A, options.half_angle_deg)
    folder.mark("compute")
    yield Progress(f"3DFSC to {measured.limit_A:.2f} A: {best_A:.2f}-{worst_A:.2f} A by direction", 0.8)
    folder.write_map("FSC3D.mrc", centred_spectrum(volume), pair.voxel_size_A)
    folder.write_text("fsc.csv", curve_table({"fsc": measured.curve}, pair.box, pair.voxel_size_A))
    metrics = {
        "box": pair.box,
        "voxel_size_A": pair.voxel_size_A,
        "resolution_A": measured.resolution_A,
        "limit_resolution_A": measured.limit_A,
        "best_direction_A": best_A,
        "worst_direction_A": worst_A,
        "sphericity_0.5": sphericity_or_none(volume),
    }
    return folder.finish(
        metrics=metrics,
        options={**options.model_dump(mode="json"), "limit_resolution_A": measured.limit_A},
        statements=[STATEMENT],
    )


class Measured:
    """Two half-maps on a device, how far they agree, and how far a job goes.

    Attributes
    ----------
    half1, half2, mask
        (n, n, n) on the device; the mask may be None.
    curve
        FSC inside the mask by shell, (n // 2 + 1,).
    resolution_A
        Where it falls below 0.143; infinite where the halves never agree.
    limit_A, limit_shell
        Up to where the job goes: as chosen, else the resolution.

    Raises
    ------
    InputInvalid
        If no limit was chosen and the halves agree at no resolution.
    """

    def __init__(self, pair: Pair, inputs: HalfMapInputs, device: torch.device, limit_A: float | None) -> None:
        self.half1, self.half2 = pair.half1.data.to(device), pair.half2.data.to(device)
        self.mask = None if pair.mask is None else pair.mask.data.to(device)
        self.curve = fsc(self.half1, self.half2, self.mask)
        self.resolution_A = resolution(self.curve, pair.voxel_size_A, 0.143, box=pair.box)
        self.limit_A = limit_A or self.resolution_A
        if math.isinf(self.limit_A):
            raise InputInvalid(
                f"{inputs.half1} and {inputs.half2} agree at no resolution (FSC below 0.143 in shell 1); check "
                "that they belong together, or give limit_resolution_A"
            )
        self.limit_shell = min(int(pair.box * pair.voxel_size_A / self.limit_A + 1), pair.box // 2)

    def fsc3d(self, half_angle_deg: float, form: Form, *, keep_high_resolution: bool = False) -> torch.Tensor:
        """Return the 3DFSC up to the limit, (n, n, n // 2 + 1)."""
        return fsc3d(
            self.half1,
            self.half2,
            self.mask,
            limit_shell=self.limit_shell,
            half_angle_deg=half_angle_deg,
            form=form,
            keep_high_resolution=keep_high_resolution,
        )


def sphericity_or_none(fsc3d_volume: torch.Tensor) -> float | None:
    """Sphericity at 0.5; None below the threshold from the first shell on, where there is no body to speak of."""
    try:
        return round(sphericity(fsc3d_volume), 4)
    except ValueError:
        return None

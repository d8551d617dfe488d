"""Half-map pairs whose truth is known, for benchmarks: read from a folder, Fourier-cropped where asked, written again.

A folder holds truth, half1, half2, mask and weight (`.mrc` or `.mrc.gz`) and either `case.json` (a simulated cone) or
`params.json` (a simulated data set). `weight` is the relative sampling of Fourier space, DC in the middle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import torch
from torch import Tensor

from cryobridge.core.fourier import expand, frequency_axes, limit_shell, radial_mean, radius, resample


@dataclass(frozen=True)
class Pair:
    """Volumes (n, n, n); `limit_A` is how far the data go; `poor_axis` (z, y, x) is the direction sampled worst."""

    name: str
    voxel_size_A: float
    limit_A: float
    truth: Tensor
    half1: Tensor
    half2: Tensor
    mask: Tensor
    poor_axis: Tensor

    @property
    def box(self) -> int:
        """Box size n."""
        return int(self.truth.shape[-1])

    @property
    def limit_shell(self) -> int:
        """First shell beyond the limit."""
        return limit_shell(self.box, self.voxel_size_A, self.limit_A)

    def polar_angle_deg(self) -> Tensor:
        """Angle (n, n, n // 2 + 1) of each Fourier voxel from the worst axis, 0 to 90."""
        kz, ky, kx = frequency_axes(self.box)
        along = (kz * self.poor_axis[0] + ky * self.poor_axis[1] + kx * self.poor_axis[2]).abs()
        return torch.rad2deg(torch.acos((along / radius(self.box).clamp(min=0.5)).clamp(max=1)))


def read_pair(folder: Path, box: int | None = None) -> Pair:
    """Read a folder's pair; with a box smaller than its own, Fourier-crop every volume to that box."""
    maps = {name: _read(folder, name) for name in ("truth", "half1", "half2", "mask", "weight")}
    own = int(maps["truth"].shape[-1])
    if (folder / "case.json").exists():
        known = json.loads((folder / "case.json").read_text())
        voxel_size_A, limit_A = known["apix"], known["res"]
    else:
        known = json.loads((folder / "params.json").read_text())
        voxel_size_A, limit_A = known["pixel_A"], known["target_resolution_A"]
    axis = _poor_axis(maps["weight"], own)
    name = folder.name
    if box is not None and box < own:
        maps = {key: resample(volume, box) for key, volume in maps.items() if key != "weight"}
        maps["mask"] = maps["mask"].clamp(0, 1)
        # Where the true mask is 0 the crop leaves ripples, and every program takes a voxel above 0 as inside.
        maps["mask"] = torch.where(maps["mask"] < 0.02, 0, maps["mask"])
        voxel_size_A = voxel_size_A * own / box
        limit_A = max(limit_A, 2.05 * voxel_size_A)
        name = f"{name}_{box}"
    return Pair(name, voxel_size_A, limit_A, maps["truth"], maps["half1"], maps["half2"], maps["mask"], axis)


def write_pair(pair: Pair, folder: Path) -> None:
    """Write the volumes as plain `.mrc`, and a `case.json` from which spIsoNet's harness takes the limit."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, volume in (("truth", pair.truth), ("half1", pair.half1), ("half2", pair.half2), ("mask", pair.mask)):
        write_map(folder / f"{name}.mrc", volume, pair.voxel_size_A)
    known = {"size": pair.box, "apix": pair.voxel_size_A, "res": pair.limit_A, "mode": "cone", "cone": 40.0}
    (folder / "case.json").write_text(json.dumps(known))


def write_map(path: Path, volume: Tensor, voxel_size_A: float) -> None:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(volume.numpy(), dtype=np.float32))
        file.voxel_size = voxel_size_A


def read_map(path: Path) -> Tensor:
    with mrcfile.open(path, permissive=True) as file:
        return torch.from_numpy(np.array(file.data, dtype=np.float32))


def _read(folder: Path, name: str) -> Tensor:
    plain = folder / f"{name}.mrc"
    return read_map(plain if plain.exists() else folder / f"{name}.mrc.gz")


def _poor_axis(weight: Tensor, n: int) -> Tensor:
    """Eigenvector of the sampling's second moment with the smallest value: the direction with the fewest data."""
    density = torch.fft.ifftshift(weight)[:, :, : n // 2 + 1].float()
    density = density / expand(radial_mean(density, n).float(), n).clamp(min=1e-12)
    distance = radius(n)
    density = torch.where((distance > 4) & (distance < n // 2), density, 0)
    along = torch.stack([axis.expand(n, n, n // 2 + 1) / distance.clamp(min=0.5) for axis in frequency_axes(n)])
    # Both signs of kx are in the full spectrum, so each voxel stands for itself and its mate.
    moment = torch.einsum("azyx,bzyx,zyx->ab", along, along, density).double()
    return torch.linalg.eigh(moment).eigenvectors[:, 0].float()

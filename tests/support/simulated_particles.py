"""Particles whose truth is known: Gaussian atoms, projected exactly, with CTF, shifts and noise. Own formulas only.

Geometry is RELION's: an atom at p lands at A p - origin, with A of rot, tilt, psi; pixel i lies at i - box / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mrcfile
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.particles import (
    Ctf,
    HalfDisc,
    ctf_values,
    half_disc,
    image_spectra,
    rotations_of_angles,
    shifted,
    soft_window,
)
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.particles.particle_set import CtfColumns, ParticleSet

Floats = NDArray[np.float64]
Heterogeneity = Literal["homogeneous", "twostate", "conf1d"]

SIGMA_A = 6.0
_CORE, _ARM, _CAP = 40, 18, 14


@dataclass(frozen=True)
class SimulatedParticles:
    """N images and all that is known of them.

    Attributes
    ----------
    images
        (N, D, D) float32, bright on dark, noise of variance 1.
    angles_deg, recorded_deg
        (N, 3) rot, tilt, psi, as they are and as a table with errors has them.
    origins_px
        (N, 2) in x, y: what recentres an image.
    ctf
        Columns (N,), named as those of `core.particles.Ctf`.
    coordinate
        (N,) position of the arm, 0 to 1, of conf1d; 0 or 1 for the cap of twostate; 0.5 of homogeneous ones.
    junk
        (N,) True where there is no particle.
    """

    heterogeneity: Heterogeneity
    images: NDArray[np.float32]
    pixel_size_A: float
    angles_deg: Floats
    recorded_deg: Floats
    origins_px: Floats
    ctf: dict[str, Floats]
    coordinate: Floats
    junk: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def box(self) -> int:
        """Pixels along a side."""
        return int(self.images.shape[-1])

    def volume(self, coordinate: float) -> NDArray[np.float32]:
        """The true volume (D, D, D), z, y, x, of a coordinate."""
        atoms = _atoms(self.heterogeneity, np.array([coordinate]))[0]
        axis = (np.arange(self.box) - self.box / 2) * self.pixel_size_A
        x, y, z = (np.exp(-((axis - atoms[:, i : i + 1]) ** 2) / (2 * SIGMA_A**2)) for i in range(3))
        weights = _weights(self.heterogeneity, np.array([coordinate]))[0]
        found: NDArray[np.float32] = np.einsum("a,az,ay,ax->zyx", weights, z, y, x, optimize=True).astype(np.float32)
        return found

    def spectra(self, radius: float | None = None) -> tuple[HalfDisc, Tensor, Tensor, Tensor]:
        """A disc, recentred spectra (N, M), CTF values (N, M) and recorded rotations (N, 3, 3), ready for work."""
        disc = half_disc(self.box, radius)
        found = image_spectra(torch.from_numpy(self.images), disc, soft_window(self.box))
        spectra = shifted(found, disc, torch.from_numpy(self.origins_px))
        values = ctf_values(
            Ctf(**{name: torch.from_numpy(column) for name, column in self.ctf.items()}),
            disc,
            torch.full((len(self),), self.pixel_size_A),
        )
        return disc, spectra, values, rotations_of_angles(torch.from_numpy(self.recorded_deg)).float()

    def write(self, folder: Path) -> Path:
        """Write `particles.mrcs` and `particles.star` (RELION 3.1, two optics groups, two micrographs)."""
        folder.mkdir(parents=True, exist_ok=True)
        with mrcfile.new(folder / "particles.mrcs", self.images, overwrite=True) as file:
            file.set_image_stack()
            file.voxel_size = self.pixel_size_A
        count, groups = len(self), (1, 2)
        optics = {
            "rlnOpticsGroup": list(groups),
            "rlnOpticsGroupName": [f"group{number}" for number in groups],
            "rlnImagePixelSize": [self.pixel_size_A] * 2,
            "rlnImageSize": [self.box] * 2,
            "rlnImageDimensionality": [2, 2],
            "rlnVoltage": [float(self.ctf["voltage_kV"][0])] * 2,
            "rlnSphericalAberration": [float(self.ctf["cs_mm"][0])] * 2,
            "rlnAmplitudeContrast": [float(self.ctf["amplitude_contrast"][0])] * 2,
        }
        origins = self.origins_px * self.pixel_size_A
        rows = {
            "rlnImageName": [f"{number + 1:06d}@particles.mrcs" for number in range(count)],
            "rlnMicrographName": [f"micrograph{number % 2}.mrc" for number in range(count)],
            "rlnOpticsGroup": [number % 2 + 1 for number in range(count)],
            "rlnAngleRot": self.recorded_deg[:, 0].tolist(),
            "rlnAngleTilt": self.recorded_deg[:, 1].tolist(),
            "rlnAnglePsi": self.recorded_deg[:, 2].tolist(),
            "rlnOriginXAngst": origins[:, 0].tolist(),
            "rlnOriginYAngst": origins[:, 1].tolist(),
            "rlnDefocusU": self.ctf["defocus_u_A"].tolist(),
            "rlnDefocusV": self.ctf["defocus_v_A"].tolist(),
            "rlnDefocusAngle": self.ctf["defocus_angle_deg"].tolist(),
            "rlnRandomSubset": [number // 2 % 2 + 1 for number in range(count)],
        }
        table = folder / "particles.star"
        table.write_text(star.format_blocks({"optics": optics, "particles": rows}))
        return table

    def particle_set(self, table: Path) -> ParticleSet:
        """What a reader makes of the table that `write` wrote."""
        numbers = np.arange(len(self))
        return ParticleSet(
            name=str(table),
            source=table,
            rows=numbers,
            stacks=(table.with_name("particles.mrcs"),),
            stack=np.zeros_like(numbers),
            number=numbers,
            box=self.box,
            pixel_size_A=np.full(len(self), self.pixel_size_A),
            optics_group=numbers % 2,
            micrograph=numbers % 2,
            half=numbers // 2 % 2 + 1,
            micrographs=("micrograph0.mrc", "micrograph1.mrc"),
            rotations=rotations_of_angles(torch.from_numpy(self.recorded_deg)).numpy(),
            shifts_A=self.origins_px * self.pixel_size_A,
            ctf=CtfColumns(**self.ctf),
        )


def simulate(
    heterogeneity: Heterogeneity,
    count: int,
    box: int = 24,
    *,
    pixel_size_A: float = 6.0,
    snr: float = 0.3,
    seed: int = 0,
    shift_px: float = 1.0,
    pose_error_deg: float = 0.0,
    junk_share: float = 0.0,
) -> SimulatedParticles:
    """Simulate particles.

    Parameters
    ----------
    snr
        Variance of the signal over that of the noise, within .45 of the box.
    shift_px
        Standard deviation of the particles' places.
    pose_error_deg
        Standard deviation of the error of each recorded angle.
    junk_share
        Share of the images that show a few blobs anywhere in place of a particle.
    """
    rng = np.random.default_rng(seed)
    coordinate = {
        "homogeneous": np.full(count, 0.5),
        "twostate": (rng.random(count) < 0.4).astype(np.float64),
        "conf1d": rng.random(count),
    }[heterogeneity]
    angles = np.stack(
        [
            rng.uniform(-180, 180, count),
            np.rad2deg(np.arccos(rng.uniform(-1, 1, count))),
            rng.uniform(-180, 180, count),
        ],
        axis=1,
    )
    origins = np.clip(rng.normal(0, shift_px, (count, 2)), -3 * shift_px, 3 * shift_px)
    junk = rng.random(count) < junk_share
    ctf = _ctf_columns(rng, count)
    clean = _projections(heterogeneity, coordinate, angles, origins * pixel_size_A, junk, rng, box, pixel_size_A)
    clean = np.fft.irfft2(np.fft.rfft2(clean) * _ctf(ctf, box, pixel_size_A), s=(box, box))
    axis = np.arange(box) - box / 2
    inside = axis[:, None] ** 2 + axis[None] ** 2 <= (0.45 * box) ** 2
    deviation = np.sqrt(clean[:, inside].var() / snr)
    images = (clean / deviation + rng.standard_normal(clean.shape)).astype(np.float32)
    recorded = angles + rng.normal(0, 1, angles.shape) * pose_error_deg
    return SimulatedParticles(heterogeneity, images, pixel_size_A, angles, recorded, origins, ctf, coordinate, junk)


def euler_matrices(angles_deg: Floats) -> Floats:
    """RELION's matrices (N, 3, 3) of rot, tilt, psi (N, 3), written out."""
    (ca, cb, cg), (sa, sb, sg) = (function(np.deg2rad(angles_deg.T)) for function in (np.cos, np.sin))
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _atoms(heterogeneity: Heterogeneity, coordinate: Floats) -> Floats:
    """Atoms (N, K, 3) in Angstrom: a core, an arm on a hinge that turns by 70 degrees, a cap."""
    rng = np.random.default_rng(7)

    def cloud(count: int, radii: tuple[float, float, float], centre: tuple[float, float, float]) -> Floats:
        points = rng.normal(size=(count, 3))
        points *= (rng.random(count) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
        return points * radii + centre

    core = cloud(_CORE, (30.0, 24.0, 20.0), (-8.0, -4.0, 0.0))
    arm = cloud(_ARM, (18.0, 7.0, 7.0), (18.0, 0.0, 0.0))
    cap = cloud(_CAP, (12.0, 10.0, 10.0), (-12.0, 30.0, 10.0))
    angle = np.deg2rad(70.0) * (coordinate - 0.5) if heterogeneity == "conf1d" else np.zeros(len(coordinate))
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    turn = np.array([[c, -s, zero], [s, c, zero], [zero, zero, zero + 1]]).transpose(2, 0, 1)
    hinge = np.array([22.0, 0.0, 0.0])
    arms = np.einsum("nij,aj->nai", turn, arm) + hinge
    fixed = np.broadcast_to(np.concatenate([core, cap]), (len(coordinate), _CORE + _CAP, 3))
    return np.concatenate([fixed, arms], axis=1)


def _weights(heterogeneity: Heterogeneity, coordinate: Floats) -> Floats:
    """Weight of each atom (N, K): the cap is there or not in twostate."""
    found = np.ones((len(coordinate), _CORE + _CAP + _ARM))
    if heterogeneity == "twostate":
        found[:, _CORE : _CORE + _CAP] = coordinate[:, None]
    return found


def _projections(
    heterogeneity: Heterogeneity,
    coordinate: Floats,
    angles_deg: Floats,
    origins_A: Floats,
    junk: NDArray[np.bool_],
    rng: np.random.Generator,
    box: int,
    pixel_size_A: float,
) -> Floats:
    atoms, weights = _atoms(heterogeneity, coordinate), _weights(heterogeneity, coordinate)
    placed = np.einsum("nij,naj->nai", euler_matrices(angles_deg)[:, :2], atoms) - origins_A[:, None]
    reach = 0.3 * box * pixel_size_A
    placed[junk] = rng.uniform(-reach, reach, (int(junk.sum()), *placed.shape[1:]))
    axis = (np.arange(box) - box / 2) * pixel_size_A
    x, y = (np.exp(-((axis - placed[:, :, i, None]) ** 2) / (2 * SIGMA_A**2)) for i in range(2))
    depth = SIGMA_A * np.sqrt(2 * np.pi) / pixel_size_A
    found: Floats = np.matmul((weights[:, :, None] * y).transpose(0, 2, 1), x) * depth
    return found


def _ctf_columns(rng: np.random.Generator, count: int) -> dict[str, Floats]:
    defocus = rng.uniform(8000.0, 20000.0, count)
    return {
        "defocus_u_A": defocus,
        "defocus_v_A": defocus - rng.uniform(0, 400, count),
        "defocus_angle_deg": rng.uniform(0, 180, count),
        "voltage_kV": np.full(count, 300.0),
        "cs_mm": np.full(count, 2.7),
        "amplitude_contrast": np.full(count, 0.1),
        "phase_shift_deg": np.zeros(count),
        "bfactor_A2": np.zeros(count),
        "scale": np.ones(count),
    }


def _ctf(columns: dict[str, Floats], box: int, pixel_size_A: float) -> Floats:
    """CTF on the half spectrum (N, box, box // 2 + 1), positive at low frequencies."""
    fy, fx = np.fft.fftfreq(box, pixel_size_A)[None, :, None], np.fft.rfftfreq(box, pixel_size_A)[None, None, :]
    u, v, angle, voltage, cs, share = (
        columns[name][:, None, None]
        for name in ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "voltage_kV", "cs_mm", "amplitude_contrast")
    )
    volts = 1e3 * voltage
    wave = 12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts))
    squared = fx**2 + fy**2
    defocus = 0.5 * (u + v + (u - v) * np.cos(2 * (np.arctan2(fy, fx) - np.deg2rad(angle))))
    chi = np.pi * wave * (0.5e7 * cs * wave**2 * squared**2 - defocus * squared)
    found: Floats = share * np.cos(chi) - np.sqrt(1 - share**2) * np.sin(chi)
    return found

"""The contrast transfer function of single particles, per particle, in RELION's sign.

It is positive at low frequencies, for images in which particles are bright on dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from .disc import HalfDisc


@dataclass(frozen=True)
class Ctf:
    """Parameters of the CTF of N particles, (N,) each, float64.

    defocus_u_A, defocus_v_A, defocus_angle_deg
        Defocus along the two axes, positive for underfocus, and the angle of the first from x.
    voltage_kV, cs_mm, amplitude_contrast, phase_shift_deg
        Of the microscope; the contrast is a share, 0 to 1.
    bfactor_A2, scale
        Of an envelope scale exp(-B s^2 / 4); 0 and 1 where there is none.
    """

    defocus_u_A: Tensor
    defocus_v_A: Tensor
    defocus_angle_deg: Tensor
    voltage_kV: Tensor
    cs_mm: Tensor
    amplitude_contrast: Tensor
    phase_shift_deg: Tensor
    bfactor_A2: Tensor
    scale: Tensor

    def __len__(self) -> int:
        """Number of particles."""
        return self.defocus_u_A.shape[0]

    def of(self, members: Tensor | slice) -> Self:
        """The parameters (K,) of some particles."""
        return type(self)(*(getattr(self, field.name)[members] for field in fields(self)))

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))


def wavelength_A(voltage_kV: Tensor) -> Tensor:
    """Wavelength (...,) of electrons in Angstrom, relativistic; voltage (...,) in kV.

    Source: h / sqrt(2 m e V (1 + e V / (2 m c^2))), with the numbers as RELION has them.
    """
    volts = 1e3 * voltage_kV
    return 12.2643247 / torch.sqrt(volts * (1.0 + 0.978466e-6 * volts))


def ctf_values(ctf: Ctf, disc: HalfDisc, pixel_size_A: Tensor) -> Tensor:
    """CTF of each particle at the Fourier pixels of a disc.

    Parameters
    ----------
    ctf
        Of N particles.
    pixel_size_A
        (N,) of the images whose box the disc has, so of the downsampled ones where they were.

    Returns
    -------
    (N, M) float32.

    Notes
    -----
    With s in 1/A, gamma = pi lambda (Cs lambda^2 s^4 / 2 - df s^2) - phase shift, and
    df s^2 = (u + v) s^2 / 2 + (u - v) / 2 ((sx^2 - sy^2) cos 2a + 2 sx sy sin 2a); the value is
    w cos gamma - sqrt(1 - w^2) sin gamma. Source: Mindell & Grigorieff 2003, J Struct Biol 142, 334.
    """
    step = 1.0 / (disc.box * pixel_size_A.double())
    points = disc.points.double()
    x, y = points[:, 0], points[:, 1]
    squared = x * x + y * y
    angle = 2.0 * torch.deg2rad(ctf.defocus_angle_deg)[:, None]
    mean, half = 0.5 * (ctf.defocus_u_A + ctf.defocus_v_A), 0.5 * (ctf.defocus_u_A - ctf.defocus_v_A)
    bent = half[:, None] * ((x * x - y * y) * torch.cos(angle) + 2.0 * x * y * torch.sin(angle))
    area = step[:, None] ** 2
    wave = wavelength_A(ctf.voltage_kV)[:, None]
    spherical = 0.5 * 1e7 * ctf.cs_mm[:, None] * wave**2 * (squared * area) ** 2
    gamma = math.pi * wave * (spherical - (mean[:, None] * squared + bent) * area)
    gamma = gamma - torch.deg2rad(ctf.phase_shift_deg)[:, None]
    share = ctf.amplitude_contrast[:, None]
    value = share * torch.cos(gamma) - torch.sqrt(1.0 - share * share) * torch.sin(gamma)
    if bool((ctf.bfactor_A2 != 0).any()) or bool((ctf.scale != 1).any()):
        value = value * ctf.scale[:, None] * torch.exp(-0.25 * ctf.bfactor_A2[:, None] * squared * area)
    return value.float()

"""The CTF, against a direct evaluation with numpy of the formula as RELION's papers print it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryobridge.core.particles import Ctf, ctf_values, half_disc, wavelength_A

COLUMNS = {
    "defocus_u_A": [15000.0, 9000.0],
    "defocus_v_A": [14000.0, 9500.0],
    "defocus_angle_deg": [30.0, -70.0],
    "voltage_kV": [300.0, 200.0],
    "cs_mm": [2.7, 1.4],
    "amplitude_contrast": [0.1, 0.07],
    "phase_shift_deg": [0.0, 60.0],
    "bfactor_A2": [0.0, 50.0],
    "scale": [1.0, 0.8],
}


def made() -> Ctf:
    return Ctf(**{name: torch.tensor(values, dtype=torch.float64) for name, values in COLUMNS.items()})


def direct(index: int, x: float, y: float, side_A: float) -> float:
    one = {name: values[index] for name, values in COLUMNS.items()}
    s2, theta = (x * x + y * y) / side_A**2, np.arctan2(y, x)
    mean = 0.5 * (one["defocus_u_A"] + one["defocus_v_A"])
    half = 0.5 * (one["defocus_u_A"] - one["defocus_v_A"])
    defocus = mean + half * np.cos(2 * (theta - np.radians(one["defocus_angle_deg"])))
    wave = float(wavelength_A(torch.tensor(one["voltage_kV"], dtype=torch.float64)))
    gamma = np.pi * wave * (0.5 * one["cs_mm"] * 1e7 * wave**2 * s2**2 - defocus * s2)
    gamma -= np.radians(one["phase_shift_deg"])
    share = one["amplitude_contrast"]
    value = share * np.cos(gamma) - np.sqrt(1 - share**2) * np.sin(gamma)
    return float(value * one["scale"] * np.exp(-one["bfactor_A2"] * s2 / 4))


def test_it_is_the_formula_with_astigmatism_phase_plate_and_envelope() -> None:
    disc = half_disc(40)
    found = ctf_values(made(), disc, torch.tensor([2.0, 3.0]))
    for index, pixel in enumerate((2.0, 3.0)):
        wanted = [direct(index, float(x), float(y), 40 * pixel) for x, y in disc.points]
        np.testing.assert_allclose(found[index].numpy(), wanted, atol=2e-6)


def test_it_is_positive_at_low_frequencies_where_particles_are_bright() -> None:
    assert float(ctf_values(made(), half_disc(400, 1.5), torch.tensor([3.0, 3.0]))[0].min()) > 0


@pytest.mark.parametrize(("voltage_kV", "published_A"), [(100, 0.03701), (200, 0.02508), (300, 0.01969)])
def test_the_wavelength_is_that_of_the_tables(voltage_kV: float, published_A: float) -> None:
    assert float(wavelength_A(torch.tensor(float(voltage_kV)))) == pytest.approx(published_A, rel=3e-4)

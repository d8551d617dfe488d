"""What the numbers of a microscope's CTF can be, in both programs' units."""

from __future__ import annotations

CTF_BOUNDS = (
    ("ctf/accel_kv", "rlnVoltage", 0.0, 1e4, "is no voltage in kV"),
    ("ctf/cs_mm", "rlnSphericalAberration", -100.0, 100.0, "is no spherical aberration in mm"),
    ("ctf/amp_contrast", "rlnAmplitudeContrast", 0.0, 1.0, "is no amplitude contrast (0 to 1)"),
)
"""Column of CryoSPARC, label of RELION, least, most, and what a number beyond is not. Correctors make Cs negative."""
MOST_TILT_MRAD = 500.0
NO_VOLTAGE = "Particles have a voltage of 0, with which no CTF can be corrected: were they imported without a CTF?"

"""What small tables of particles begin with."""

from __future__ import annotations

ROWS = 6
HEAD = "data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n"
CTF_HEAD = "".join(
    f"_rln{label}\n"
    for label in ("DefocusU", "DefocusV", "DefocusAngle", "Voltage", "SphericalAberration", "AmplitudeContrast")
)

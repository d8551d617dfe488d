"""Calls made at random but like real ones, written as RELION writes them, for its own program to answer."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.relion.wiener import SumsGeometry


@dataclass
class Case:
    """The sums of one call."""

    geometry: SumsGeometry
    data: NDArray[np.complex64]
    weight: NDArray[np.float32]
    tau2: NDArray[np.float64]
    fudge: float


def make_case(box: int, padding: float, current_size: int, *, seed: int, fudge: float = 1.0) -> Case:
    """Sums of a decaying, noisy, unevenly sampled particle, Hermitian in the x = 0 plane as RELION leaves them."""
    generator = np.random.default_rng(seed)
    geometry = SumsGeometry(box, padding, current_size)
    padded = geometry.padded_box
    # The transform of real volumes: Hermitian symmetry by construction.
    density = generator.standard_normal((padded,) * 3)
    signal = np.fft.rfftn(generator.standard_normal((padded,) * 3)) / padded
    rough = np.fft.rfftn(np.fft.ifftshift(density)) / padded
    k = np.fft.fftfreq(padded, 1 / padded)
    z, y, x = k[:, None, None], k[None, :, None], np.arange(padded // 2 + 1)[None, None, :]
    radius = np.sqrt(z**2 + y**2 + x**2)
    shell = radius / padding
    inside = radius <= geometry.radius
    # More views from the side than from the top; like real weights never quite 0 inside.
    views = 0.05 + np.abs(x * y) / (radius**2 + 1)
    weight = 3e4 / (1 + shell) * views * np.exp(-((shell / box) ** 2)) * (1 + 0.3 * np.tanh(np.abs(rough)))
    weight = np.where(inside, weight, 0.0)
    data = np.where(inside, weight * 0.1 / (1 + shell) * signal + np.sqrt(weight) * rough, 0.0)
    shells = np.arange(box // 2 + 1)
    fsc = 1 / (1 + np.exp((shells - 0.35 * current_size) / (0.05 * box + 1)))
    fsc = np.clip(np.where(shells <= current_size // 2, fsc, 0), 0.001, 0.999)
    tau2 = np.where(shells <= current_size // 2, fsc / (1 - fsc) / (3e3 / (1 + shells)), 0.0)
    # As rounded by the text of the STAR file, or every comparison would be one of rounding.
    tau2 = np.array([float(_text(value)) for value in tau2])
    return Case(geometry, data.astype(np.complex64), weight.astype(np.float32), tau2, fudge)


def _text(value: float) -> str:
    return f"{value:.6e}"


def write_case(case: Case, folder: Path, *, newer: bool = False) -> Path:
    """Write a call; `newer` in the layout of RELION 4 and 5. Returns the path of its STAR file."""
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "run_it007_half1_class001_external_reconstruct"
    header = np.zeros(256, "<i4")
    header[:3] = case.weight.shape[::-1]
    header[3] = 2
    header[7:10] = header[:3]
    header[16:19] = (1, 2, 3)
    header[52:54] = (int.from_bytes(b"MAP ", "little"), 0x4144)
    for part, volume in (("data_real", case.data.real), ("data_imag", case.data.imag), ("weight", case.weight)):
        Path(f"{root}_{part}.mrc").write_bytes(header.tobytes() + volume.astype("<f4").tobytes())
    g = case.geometry
    items = {
        "rlnExtReconsDataReal": f"{root}_data_real.mrc",
        "rlnExtReconsDataImag": f"{root}_data_imag.mrc",
        "rlnExtReconsWeight": f"{root}_weight.mrc",
        "rlnExtReconsResult": f"{root}.mrc",
        "rlnExtReconsResultStarfile": f"{root}_out.star",
        "rlnTau2FudgeFactor": f"{case.fudge:.6f}",
        "rlnPaddingFactor": f"{g.padding:.6f}",
        "rlnReferenceDimensionality": "3",
        "rlnOriginalImageSize": str(g.box),
        "rlnCurrentImageSize": str(g.current_size),
        **({"rlnPixelSize": "2.800000", "rlnParticleDiameter": "150.000000"} if newer else {}),
    }
    lines = ["", f"# version {50001 if newer else 30001}", "", "data_external_reconstruct_general", ""]
    lines += [f"_{key.ljust(36)} {value}" for key, value in items.items()]
    lines += ["", "", "data_external_reconstruct_tau2", "", "loop_ "]
    lines += ["_rlnSpectralIndex #1 ", "_rlnReferenceTau2 #2 ", "_rlnGoldStandardFsc #3 "]
    lines += [f"{shell:12d} {_text(value)} {0.5:12.6f} " for shell, value in enumerate(case.tau2)]
    star = root.with_suffix(".star")
    star.write_text("\n".join([*lines, " ", ""]))
    return star


def run_stock(program: Path, star: Path, *options: str) -> Path:
    """Let RELION's program answer; returns the path of its map."""
    subprocess.run([str(program), str(star), *options], check=True, capture_output=True, timeout=250)
    return star.with_suffix(".mrc")


def relative_error(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """RMS of the difference over RMS of what is expected."""
    difference = found.astype(np.float64) - expected.astype(np.float64)
    return float(np.sqrt((difference**2).sum() / (expected.astype(np.float64) ** 2).sum()))

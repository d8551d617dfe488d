"""Small stacks and the tables that name them, written by hand: of every mode, order and layout that programs write."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

BOX, COUNT, SIZE_A = 16, 12, 2.5
TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


def numbered_images(count: int = COUNT, box: int = BOX) -> np.ndarray:
    """Images that tell their number: whole, small, and never negative, so that every mode holds them."""
    ramp = (np.arange(box * box).reshape(box, box) * 7) % 13
    return (ramp[None] + np.arange(count)[:, None, None]).astype(np.float32)


def write_stack(
    path: Path,
    images: np.ndarray,
    *,
    mode: int = 2,
    order: str = "<",
    extended: bytes = b"",
    size_A: float = SIZE_A,
    imod_flags: int | None = None,
) -> Path:
    """Write an MRC stack."""
    count, rows, columns = images.shape
    raw = bytearray(1024)
    struct.pack_into(f"{order}4i", raw, 0, columns, rows, count, mode)
    struct.pack_into(f"{order}3i", raw, 28, columns, rows, count)
    struct.pack_into(f"{order}6f", raw, 40, columns * size_A, rows * size_A, count * size_A, 90, 90, 90)
    struct.pack_into(f"{order}3i", raw, 64, 1, 2, 3)
    struct.pack_into(f"{order}i", raw, 92, len(extended))
    if imod_flags is not None:
        struct.pack_into(f"{order}2i", raw, 152, 1146047817, imod_flags)
    raw[208:216] = b"MAP " + (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    kind = "u1" if mode == 0 and imod_flags == 0 else TYPES[mode]
    path.write_bytes(bytes(raw) + extended + images.astype(f"{order}{kind}").tobytes())
    return path


class Truth:
    """Poses and CTF of a few particles, in RELION's terms."""

    def __init__(self, count: int = COUNT, seed: int = 0) -> None:
        dice = np.random.default_rng(seed)
        self.angles = np.stack(
            [dice.uniform(-180, 180, count), dice.uniform(5, 175, count), dice.uniform(-180, 180, count)], axis=1
        )
        self.origin_px = dice.normal(0, 2, (count, 2))
        self.defocus = dice.uniform(8e3, 2e4, (count, 2))
        self.astigmatism_deg = dice.uniform(0, 180, count)
        self.group = np.arange(count) % 2
        self.voltage = np.where(self.group == 0, 300.0, 200.0)
        self.size_A = np.where(self.group == 0, SIZE_A, SIZE_A * 1.1)

    def matrices(self) -> np.ndarray:
        """Object to view, by the definition: rotations of the axes, z first."""
        return np.stack([self._matrix(*np.radians(row)) for row in self.angles])

    @staticmethod
    def _matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
        def about_z(a: float) -> np.ndarray:
            return np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])

        about_y = np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
        return about_z(psi) @ about_y @ about_z(rot)


def star_table(columns: Mapping[str, Sequence[object]], block: str = "particles") -> str:
    """One table of a STAR file."""
    rows = zip(*columns.values(), strict=True)
    labels = "".join(f"_{label} #{at}\n" for at, label in enumerate(columns, 1))
    return f"\ndata_{block}\n\nloop_\n{labels}" + "".join(" ".join(map(str, row)) + "\n" for row in rows) + "\n"


def star31(truth: Truth, names: Sequence[str], *, box: int = BOX, **changed: Sequence[object]) -> str:
    """A file of RELION 3.1 with two optics groups; columns of the particles may be replaced."""
    optics = {
        "rlnOpticsGroupName": ["a", "b"],
        "rlnOpticsGroup": [1, 2],
        "rlnVoltage": [300, 200],
        "rlnSphericalAberration": [2.7, 2.7],
        "rlnAmplitudeContrast": [0.1, 0.07],
        "rlnImagePixelSize": [SIZE_A, SIZE_A * 1.1],
        "rlnImageSize": [box, box],
    }
    return star_table(optics, "optics") + star_table(particle_columns(truth, names) | changed)


def particle_columns(truth: Truth, names: Sequence[str]) -> dict[str, Sequence[object]]:
    """Columns of RELION 3.1's particles."""
    columns: dict[str, Sequence[object]] = {"rlnImageName": list(names)}
    columns |= {
        label: [f"{value:.9f}" for value in truth.angles[:, axis]]
        for axis, label in enumerate(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    }
    columns |= {
        f"rlnOrigin{letter}Angst": [f"{value:.9f}" for value in truth.origin_px[:, axis] * truth.size_A]
        for axis, letter in enumerate("XY")
    }
    columns["rlnDefocusU"] = [f"{value:.6f}" for value in truth.defocus[:, 0]]
    columns["rlnDefocusV"] = [f"{value:.6f}" for value in truth.defocus[:, 1]]
    columns["rlnDefocusAngle"] = [f"{value:.9f}" for value in truth.astigmatism_deg]
    columns["rlnOpticsGroup"] = (truth.group + 1).tolist()
    return columns


def star30(truth: Truth, names: Sequence[str]) -> str:
    """A file of RELION 3.0: one table, pixel sizes by detector and magnification, origins in pixels."""
    columns = {key: value for key, value in particle_columns(truth, names).items() if "Origin" not in key}
    del columns["rlnOpticsGroup"]
    columns |= {
        f"rlnOrigin{letter}": [f"{value:.9f}" for value in truth.origin_px[:, axis]] for axis, letter in enumerate("XY")
    }
    columns["rlnVoltage"] = truth.voltage.tolist()
    columns["rlnSphericalAberration"] = [2.7] * len(truth.group)
    columns["rlnAmplitudeContrast"] = [0.1] * len(truth.group)
    columns["rlnMagnification"] = [10000] * len(truth.group)
    columns["rlnDetectorPixelSize"] = [f"{value:.9f}" for value in truth.size_A]
    return star_table(columns, "")


def cs_columns(truth: Truth, paths: Sequence[str], indices: Sequence[int], *, box: int = BOX) -> dict[str, np.ndarray]:
    """A table of CryoSPARC; rotation vectors are of the transposed matrices."""
    count = len(truth.group)
    return {
        "uid": np.arange(count, dtype=np.uint64) * 1009 + 17,
        "blob/path": np.array(paths),
        "blob/idx": np.array(indices, np.uint32),
        "blob/shape": np.full((count, 2), box, np.uint32),
        "blob/psize_A": truth.size_A.astype(np.float32),
        "blob/sign": np.ones(count, np.float32),
        "ctf/accel_kv": truth.voltage.astype(np.float32),
        "ctf/cs_mm": np.full(count, 2.7, np.float32),
        "ctf/amp_contrast": np.full(count, 0.1, np.float32),
        "ctf/df1_A": truth.defocus[:, 0].astype(np.float32),
        "ctf/df2_A": truth.defocus[:, 1].astype(np.float32),
        "ctf/df_angle_rad": np.radians(truth.astigmatism_deg).astype(np.float32),
        "ctf/phase_shift_rad": np.zeros(count, np.float32),
        "ctf/exp_group_id": (truth.group + 1).astype(np.uint32),
        "alignments3D/pose": Rotation.from_matrix(truth.matrices().transpose(0, 2, 1)).as_rotvec().astype(np.float32),
        "alignments3D/shift": truth.origin_px.astype(np.float32),
        "alignments3D/psize_A": truth.size_A.astype(np.float32),
        "alignments3D/split": np.arange(count, dtype=np.uint32) % 2,
    }

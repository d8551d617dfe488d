"""Files that a job must not accept in place of a map, a mask, a network or a table of views."""

from __future__ import annotations

import bz2
import gzip
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np

from cryobridge.wrappers.formats import mrc

BOX = 16
VOXEL_SIZE_A = 2.0
Spoil = Callable[[Path], None]
"""Takes a path under which a good file lies, and leaves a bad one there."""


def missing(path: Path) -> None:
    path.unlink()


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def text(path: Path) -> None:
    path.write_text("voxel size 2.0\n" * 200)


def damaged_gzip(path: Path) -> None:
    packed = bytearray(gzip.compress(path.read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)


def truncated_bzip2(path: Path) -> None:
    packed = bz2.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])


def gzip_that_unpacks_to_more(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes() + bytes(1 << 20)))


def complex_map(path: Path) -> None:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ones((BOX,) * 3, dtype=np.complex64))


def image(path: Path) -> None:
    mrc.write_atomically(path, noise(1, BOX, BOX), VOXEL_SIZE_A)


def stack(path: Path) -> None:
    mrc.write_atomically(path, noise(5, BOX, BOX), VOXEL_SIZE_A)


def oblong(path: Path) -> None:
    mrc.write_atomically(path, noise(BOX, BOX, BOX + 2), VOXEL_SIZE_A)


def not_a_number(path: Path) -> None:
    _one_voxel(path, float("nan"))


def infinite(path: Path) -> None:
    _one_voxel(path, float("-inf"))


def zeros(path: Path) -> None:
    mrc.write_atomically(path, np.zeros((BOX,) * 3, np.float32), VOXEL_SIZE_A)


def constant(path: Path) -> None:
    mrc.write_atomically(path, np.full((BOX,) * 3, 0.25, np.float32), VOXEL_SIZE_A)


def byte_swapped(path: Path) -> None:
    """Voxels of the other byte order under a header of this one: finite, and senseless."""
    raw = path.read_bytes()
    voxels = np.frombuffer(raw[1024:], "<f4").astype(">f4").copy()
    voxels.dtype = "<f4"
    path.write_bytes(raw[:1024] + np.nan_to_num(voxels).tobytes())


def other_box(path: Path) -> None:
    mrc.write_atomically(path, noise(BOX + 2, BOX + 2, BOX + 2), VOXEL_SIZE_A)


def other_voxel_size(path: Path) -> None:
    mrc.write_atomically(path, mrc.read(path)[0], VOXEL_SIZE_A * 1.01)


def no_voxel_size(path: Path) -> None:
    mrc.write_atomically(path, mrc.read(path)[0], 0.0)


def voxels_that_are_no_cubes(path: Path) -> None:
    mrc.write_atomically(path, mrc.read(path)[0], (VOXEL_SIZE_A, VOXEL_SIZE_A, 1.5 * VOXEL_SIZE_A))


def values_of_no_mask(path: Path) -> None:
    mrc.write_atomically(path, 10 * noise(BOX, BOX, BOX), VOXEL_SIZE_A)


def network_of_code(path: Path) -> None:
    """A PyTorch archive that makes a file beside itself when it is loaded without care."""

    class Attack:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {path}.ran",)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({"model_state_dict": Attack()}, 2))


def truncated_archive(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(1000))


def star_without_views(path: Path) -> None:
    path.write_text("\ndata_particles\n\nloop_\n_rlnImageName #1\n1@a.mrcs\n2@a.mrcs\n\n")


def star_with_a_view_that_is_no_number(path: Path) -> None:
    path.write_text(path.read_text().replace("10.5", "nan", 1))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def _one_voxel(path: Path, value: float) -> None:
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, 1024 + 4 * 1000, value)
    path.write_bytes(raw)


UNREADABLE: tuple[Spoil, ...] = (missing, directory, empty, truncated, text)
NO_MAP: tuple[Spoil, ...] = (
    *UNREADABLE,
    damaged_gzip,
    truncated_bzip2,
    gzip_that_unpacks_to_more,
    complex_map,
    image,
    stack,
    oblong,
    not_a_number,
    infinite,
    zeros,
)
NO_HALF_MAP: tuple[Spoil, ...] = (*NO_MAP, constant, byte_swapped, no_voxel_size, voxels_that_are_no_cubes)
NOT_OF_THE_SAME_GRID: tuple[Spoil, ...] = (other_box, other_voxel_size)
NO_MASK: tuple[Spoil, ...] = (*NO_MAP, other_box, values_of_no_mask)
NO_NETWORK: tuple[Spoil, ...] = (*UNREADABLE, network_of_code, truncated_archive)
NO_VIEWS: tuple[Spoil, ...] = (missing, directory, empty, text, star_without_views, star_with_a_view_that_is_no_number)

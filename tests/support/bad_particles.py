"""Particles that a job must not accept: each takes a good folder and spoils one thing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .simulated_particles import simulate
from .small_stacks import write_stack

BOX, COUNT, SIZE_A = 16, 40, 8.0
TABLE, STACK = "particles.star", "particles.mrcs"
Spoil = Callable[[Path], None]


def write_good_particles(folder: Path) -> None:
    """A stack and its table, of two states."""
    simulate("twostate", COUNT, box=BOX, pixel_size_A=SIZE_A, snr=2.0, seed=3).write(folder)


def no_stack(folder: Path) -> None:
    (folder / STACK).unlink()


def stack_is_a_folder(folder: Path) -> None:
    no_stack(folder)
    (folder / STACK).mkdir()


def stack_is_cut_off(folder: Path) -> None:
    path = folder / STACK
    path.write_bytes(path.read_bytes()[:-200])


def stack_has_only_a_header(folder: Path) -> None:
    path = folder / STACK
    path.write_bytes(path.read_bytes()[:1024])


def stack_is_text(folder: Path) -> None:
    (folder / STACK).write_text("voxel size 2.0\n" * 200)


def stack_is_short(folder: Path) -> None:
    _restack(folder, images(folder)[:-1])


def stack_says_absurd_sizes(folder: Path) -> None:
    path = folder / STACK
    raw = bytearray(path.read_bytes())
    struct.pack_into("<3i", raw, 0, 2**30, 2**30, 2**30)
    path.write_bytes(bytes(raw))


def stack_of_other_box(folder: Path) -> None:
    """Its table says another image size."""
    _restack(folder, np.pad(images(folder), ((0, 0), (2, 2), (2, 2))))


def images_not_square(folder: Path) -> None:
    _restack(folder, np.pad(images(folder), ((0, 0), (0, 2), (0, 0))))


def boxes_mixed(folder: Path) -> None:
    """The second half of the rows is of another stack, of another box."""
    half = images(folder)[COUNT // 2 :]
    write_stack(folder / "wide.mrcs", np.pad(half, ((0, 0), (2, 2), (2, 2))), size_A=SIZE_A)
    lines = (folder / TABLE).read_text()
    for number in range(COUNT // 2, COUNT):
        lines = lines.replace(f"{number + 1:06d}@{STACK}", f"{number + 1 - COUNT // 2:06d}@wide.mrcs")
    (folder / TABLE).write_text(lines)


def image_of_no_number(folder: Path) -> None:
    found = images(folder)
    found[7, 3, 3] = np.nan
    _restack(folder, found)


def image_infinite(folder: Path) -> None:
    found = images(folder)
    found[7, 3, 3] = np.inf
    _restack(folder, found)


def images_of_zeros(folder: Path) -> None:
    _restack(folder, np.zeros_like(images(folder)))


def images_constant(folder: Path) -> None:
    _restack(folder, np.full_like(images(folder), 3.0))


def images_far_too_large(folder: Path) -> None:
    """Finite, but their squares are not."""
    _restack(folder, images(folder) * np.float32(1e30))


def table_empty(folder: Path) -> None:
    (folder / TABLE).write_bytes(b"")


def table_without_rows(folder: Path) -> None:
    _keep_rows(folder, 0)


def one_particle(folder: Path) -> None:
    _keep_rows(folder, 1)


def two_particles(folder: Path) -> None:
    _keep_rows(folder, 2)


def table_cut_off(folder: Path) -> None:
    path = folder / TABLE
    path.write_bytes(path.read_bytes()[:-60])


def table_of_bytes(folder: Path) -> None:
    (folder / TABLE).write_bytes(bytes(range(256)) * 40)


def voltage_zero(folder: Path) -> None:
    _of_optics(folder, "rlnVoltage", "0.0")


def voltage_of_no_number(folder: Path) -> None:
    _of_optics(folder, "rlnVoltage", "nan")


def voltage_a_word(folder: Path) -> None:
    _of_optics(folder, "rlnVoltage", "high")


def pixel_size_infinite(folder: Path) -> None:
    _of_optics(folder, "rlnImagePixelSize", "inf")


def pixel_size_negative(folder: Path) -> None:
    _of_optics(folder, "rlnImagePixelSize", "-1.0")


def optics_group_absent(folder: Path) -> None:
    _of_particles(folder, "rlnOpticsGroup", "7")


def optics_group_a_word(folder: Path) -> None:
    _of_particles(folder, "rlnOpticsGroup", "one")


def angle_of_no_number(folder: Path) -> None:
    _of_particles(folder, "rlnAngleRot", "nan")


def origin_infinite(folder: Path) -> None:
    _of_particles(folder, "rlnOriginXAngst", "inf")


def origin_far_outside(folder: Path) -> None:
    _of_particles(folder, "rlnOriginXAngst", "1e300")


def defocus_of_no_number(folder: Path) -> None:
    _of_particles(folder, "rlnDefocusU", "nan")


def defocus_absurd(folder: Path) -> None:
    _of_particles(folder, "rlnDefocusU", "1e200")


def image_number_zero(folder: Path) -> None:
    _of_particles(folder, "rlnImageName", f"000000@{STACK}")


def image_number_huge(folder: Path) -> None:
    _of_particles(folder, "rlnImageName", f"99999999999999999999@{STACK}")


def image_without_number(folder: Path) -> None:
    _of_particles(folder, "rlnImageName", STACK)


def image_out_of_the_way(folder: Path) -> None:
    _of_particles(folder, "rlnImageName", "000001@../../../../etc/passwd")


def image_a_device(folder: Path) -> None:
    _of_particles(folder, "rlnImageName", "000001@/dev/zero")


def poses_all_alike(folder: Path) -> None:
    _whole_column(folder, "rlnAngleRot", "10.0")
    _whole_column(folder, "rlnAngleTilt", "20.0")


def images(folder: Path) -> np.ndarray:
    """Those of the good stack."""
    raw = (folder / STACK).read_bytes()
    return np.frombuffer(raw, np.float32, offset=1024).reshape(COUNT, BOX, BOX).copy()


def _restack(folder: Path, found: np.ndarray) -> None:
    write_stack(folder / STACK, found, size_A=SIZE_A)


def _lines(folder: Path) -> tuple[list[str], dict[str, dict[str, int]], dict[str, list[int]]]:
    """Lines of the table, columns by block, and the numbers of the lines that are rows."""
    lines = (folder / TABLE).read_text().splitlines()
    columns: dict[str, dict[str, int]] = {}
    rows: dict[str, list[int]] = {}
    block = ""
    for number, line in enumerate(lines):
        if line.startswith("data_"):
            block = line.removeprefix("data_").strip()
            columns[block], rows[block] = {}, []
        elif line.startswith("_"):
            columns[block][line.split()[0][1:]] = len(columns[block])
        elif line.strip() and not line.startswith(("loop_", "#")):
            rows[block].append(number)
    return lines, columns, rows


def _set(folder: Path, block: str, label: str, value: str, which: slice) -> None:
    lines, columns, rows = _lines(folder)
    for number in rows[block][which]:
        words = lines[number].split()
        words[columns[block][label]] = value
        lines[number] = " ".join(words)
    (folder / TABLE).write_text("\n".join(lines) + "\n\n")


def _of_optics(folder: Path, label: str, value: str) -> None:
    _set(folder, "optics", label, value, slice(0, 1))


def _of_particles(folder: Path, label: str, value: str) -> None:
    _set(folder, "particles", label, value, slice(5, 6))


def _whole_column(folder: Path, label: str, value: str) -> None:
    _set(folder, "particles", label, value, slice(None))


def _keep_rows(folder: Path, count: int) -> None:
    lines, _, rows = _lines(folder)
    gone = set(rows["particles"][count:])
    (folder / TABLE).write_text("\n".join(line for at, line in enumerate(lines) if at not in gone) + "\n\n")

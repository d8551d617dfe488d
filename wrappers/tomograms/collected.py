"""Tomograms out of folders, one by one, before there is a table of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from ..formats.mrc_header import MrcHeader
from ..formats.mrc_windows import MrcWindows
from .name_matching import TOMOGRAM_ENDINGS, files_in, halves_of, series_name
from .table_paths import root_of
from .voxel_sizes import voxel_size_of

_THIN = 0.7
"""IMOD's reconstructions have the thickness as y, by so much less than the other sides, until they are turned."""


@dataclass(frozen=True)
class CollectedTomogram:
    """The files of one tomogram: the whole one, or both halves, or all three."""

    full: Path | None
    half1: Path | None = None
    half2: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that there are, the whole one first."""
        return tuple(path for path in (self.full, self.half1, self.half2) if path is not None)

    @property
    def name(self) -> str:
        """Root of the first file's name."""
        return root_of(self.files[0])


@dataclass(frozen=True)
class CheckedTomogram:
    """A tomogram whose headers were read: (z, y, x) voxels, of so many Angstrom."""

    files: CollectedTomogram
    shape: tuple[int, int, int]
    voxel_size_A: float


def collected(folder: Path, even: Path | None, odd: Path | None) -> list[CollectedTomogram]:
    """The tomograms of folders, sorted by name.

    Parameters
    ----------
    folder
        Of whole tomograms; of even halves if only `odd` is given beside it.
    even, odd
        Of halves.

    Raises
    ------
    InputInvalid
        If a folder holds none, or one has no partner.
    """
    first = _tomograms(folder)
    if odd is None:
        return [CollectedTomogram(path) for path in first]
    pairs = halves_of(first if even is None else _tomograms(even), _tomograms(odd))
    if even is None:
        return [CollectedTomogram(None, *pair) for pair in pairs]
    of_series = {series_name(pair[0]): pair for pair in pairs}
    lonely = next((path for path in first if series_name(path) not in of_series), None)
    if lonely is not None:
        raise InputInvalid(f"{lonely}: has no halves of its name in {even}; name all three alike but for even and odd")
    return [CollectedTomogram(path, *of_series[series_name(path)]) for path in first]


def checked(
    tomogram: CollectedTomogram, pixel_size_A: float | None, say: Callable[[str], None]
) -> CheckedTomogram | None:
    """Read the headers of a tomogram.

    Parameters
    ----------
    pixel_size_A
        Goes before the headers.
    say
        Is told what is odd.

    Returns
    -------
    The tomogram; None, which is said too, if a file cannot be read.

    Raises
    ------
    InputInvalid
        If nobody knows the voxel size, or whole tomogram and halves are of different sizes.
    """
    try:
        headers = [_header(path) for path in tomogram.files]
    except InputInvalid as error:
        say(f"Left out: {error}")
        return None
    sizes = []
    for path, header in zip(tomogram.files, headers, strict=True):
        if header.shape != headers[0].shape:
            raise InputInvalid(
                f"{path}: has {_as_xyz(header.shape)} voxels, {tomogram.files[0].name} {_as_xyz(headers[0].shape)}; "
                "give tomograms and halves of one reconstruction"
            )
        size_A, remarks = voxel_size_of(path, header, pixel_size_A)
        sizes.append(size_A)
        for line in remarks:
            say(line)
    if max(sizes) > 1.01 * min(sizes):
        raise InputInvalid(
            f"{tomogram.files[0]}: its files have voxels of {min(sizes):.4g} to {max(sizes):.4g} A; give 'pixel_size_A'"
        )
    if headers[0].shape[0] < 2:
        say(f"Left out: {tomogram.files[0]}: is one section, no tomogram")
        return None
    z, y, x = headers[0].shape
    if y < _THIN * min(z, x):
        say(f"{tomogram.files[0].name}: is thinnest along y, and the beam must be z; was it turned by trimvol -rx?")
    return CheckedTomogram(tomogram, headers[0].shape, sizes[0])


def _tomograms(folder: Path) -> Sequence[Path]:
    paths = files_in(folder, TOMOGRAM_ENDINGS)
    if not paths:
        raise InputInvalid(f"{folder}: holds no tomograms ({', '.join(TOMOGRAM_ENDINGS[:2])}); give their folder")
    return paths


def _as_xyz(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(side) for side in reversed(shape))


def _header(path: Path) -> MrcHeader:
    """The header, read as later jobs do: they take parts of a file, which a packed one does not have."""
    with MrcWindows(path) as file:
        return file.header

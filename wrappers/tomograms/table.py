"""The table of tomograms, `tomograms.star`, in the dialects of IsoNet, IsoNet2 and RELION 5.

One row is one tomogram. Values are found by label. What is written keeps everything else byte for byte: other blocks,
comments, columns that only another program knows.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from ..formats.whole_file import whole_file, write_all
from .row_choice import chosen_indices
from .row_tilts import TILT_ANGLES, TILT_SERIES, tilts_of_row
from .table_lock import locked_table
from .table_paths import found_from, is_volume_name, root_of, text_of
from .table_text import TableText, read_table_text

WANTED = "a table of tomograms"
FULL = ("rlnMicrographName", "rlnTomoName", "rlnTomoReconstructedTomogram")
"""Columns of the whole tomogram; the first that has a file is taken."""
HALVES = ("rlnTomoReconstructedTomogramHalf1", "rlnTomoReconstructedTomogramHalf2")
DENOISED = ("rlnDenoisedTomoName", "rlnTomoReconstructedTomogramDenoised")
PATH_LABELS = (
    *FULL,
    *HALVES,
    *DENOISED,
    TILT_ANGLES,
    TILT_SERIES,
    "rlnDeconvTomoName",
    "rlnMaskName",
    "rlnMaskBoundary",
    "rlnCorrectedTomoName",
    "rlnBoxFile",
    "rlnGroundTruth",
    "rlnEtomoDirectiveFile",
)
"""Columns whose values are paths."""
_NO_VALUE = ("", "none", "nan", "<na>", "null")


@dataclass(frozen=True)
class Tomogram:
    """One row of the table. Paths are absolute; a file need not exist.

    Attributes
    ----------
    row
        In the table, from 0.
    index
        `rlnIndex`; the number of the row from 1 where there is none.
    full, half1, half2
        The whole tomogram, and the two of even and odd tilts or frames; whichever there is.
    pixel_size_A
        `rlnPixelSize`, or RELION 5's size of the tilt series times the binning. None: ask the header.
    defocus_A
        Of the tilt at 0 degrees, underfocus positive; 0 if unknown.
    tilt_min_deg, tilt_max_deg, tilt_angles_deg
        What was measured, in the convention of `wrappers.tomograms.tilt_angles`; None if unknown.
    values
        Every column as text, by label without the underscore.
    source
        The table, for messages.
    root
        What `name` gives, if stems are not unique in the table.
    """

    row: int
    index: str
    full: Path | None = None
    half1: Path | None = None
    half2: Path | None = None
    pixel_size_A: float | None = None
    defocus_A: float = 0.0
    voltage_kV: float | None = None
    spherical_aberration_mm: float | None = None
    amplitude_contrast: float | None = None
    phase_shift_deg: float | None = None
    tilt_min_deg: float | None = None
    tilt_max_deg: float | None = None
    tilt_angles_deg: tuple[float, ...] | None = None
    number_subtomos: int | None = None
    deconv: Path | None = None
    mask: Path | None = None
    mask_boundary: Path | None = None
    corrected: Path | None = None
    denoised: Path | None = None
    box_file: Path | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    root: str = ""

    @property
    def name(self) -> str:
        """Root of the names of what is made of it: the stem of `full`, else of `half1`."""
        path = self.full or self.half1
        return self.root or (f"tomogram_{self.index}" if path is None else root_of(path))

    def number(self, label: str) -> float | None:
        """A column as a number; None for the text `None` and for a missing column.

        Raises
        ------
        InputInvalid
            If it is neither.
        """
        text = _given(self.values, label)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputInvalid(
                f"{self.source}: row {self.row + 1} has '{text[:40]}' as '{label}', which is no number; mend it"
            )
        return value


@dataclass(frozen=True)
class TomogramTable:
    """A table of tomograms as it was read."""

    path: Path
    tomograms: tuple[Tomogram, ...]
    text: TableText = field(repr=False)

    def chosen(self, tomo_idx: str | None) -> tuple[Tomogram, ...]:
        """The tomograms of some indices (`rlnIndex`), in the order of the table; all without any.

        Parameters
        ----------
        tomo_idx
            Indices and ranges: `1,2,4`, `5-10,15`.

        Raises
        ------
        InputInvalid
            If an index is not in the table, or the text is no list of them.
        """
        if tomo_idx is None or tomo_idx.strip().lower() in ("", "none", "all"):
            return self.tomograms
        wanted = chosen_indices(tomo_idx, {tomogram.index for tomogram in self.tomograms}, self.path)
        return tuple(tomogram for tomogram in self.tomograms if tomogram.index in wanted)

    def with_values(self, values: Mapping[int, Mapping[str, str]], at: Path | None = None) -> bytes:
        """The whole file with labels set for rows.

        Parameters
        ----------
        values
            Texts by row, from 0, and by label. Labels that are no columns yet are added as the last ones, with `None`
            in all other rows.
        at
            Where it will lie, if not where it was read: relative paths that would not be found from there are written
            absolute.

        Raises
        ------
        InputInvalid
            If a text cannot stand in a STAR file.
        """
        if at is None:
            return self.text.with_cells(values)
        moved = {tomogram.row: self._moved(tomogram, at) for tomogram in self.tomograms}
        return self.text.with_cells({row: {**paths, **values.get(row, {})} for row, paths in moved.items()})

    def path_text(self, path: Path, of: Path) -> str:
        """How to write a path into a table that lies at `of`."""
        return text_of(path, of)

    def _moved(self, tomogram: Tomogram, at: Path) -> dict[str, str]:
        moved = {}
        for label in PATH_LABELS:
            text = _given(tomogram.values, label)
            if text is None or Path(text).is_absolute() or (label == "rlnTomoName" and not is_volume_name(text)):
                continue
            path = found_from(self.path.parent, text)
            if found_from(at.parent, text) != path:
                moved[label] = text_of(path, at)
        return moved


def read_tomogram_table(path: Path) -> TomogramTable:
    """Read a table of tomograms.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no STAR file, holds no tomograms or names none in a row, or a number is none.
    """
    text = read_table_text(path, tomogram_rank, WANTED)
    rows = [_tomogram(text, number, path) for number in range(len(text.rows))]
    return TomogramTable(path, _with_roots(rows), text)


def update_table(path: Path, values: Mapping[int, Mapping[str, str]], read_before: TomogramTable | None = None) -> None:
    """Set labels of rows in the user's own file, which is read anew under a lock and replaced whole.

    Parameters
    ----------
    path
        The table; a link is followed.
    values
        As of `TomogramTable.with_values`.
    read_before
        The table that `values` count rows of, if somebody may have added or removed rows since. Rows are found again
        by index and files; what was removed is passed over.

    Raises
    ------
    InputInvalid
        If the file or its folder cannot be written to, or another job holds it for a minute.
    """
    target = Path(os.path.realpath(path))
    with locked_table(target):
        text = read_table_text(target, tomogram_rank, WANTED)
        new = text.with_cells(values if read_before is None else _found_again(values, read_before, text))
        if new == b"".join(text.lines):
            return
        try:
            with whole_file(target) as descriptor:
                os.fchmod(descriptor, target.stat().st_mode & 0o7777)
                write_all(descriptor, new, 0)
        except OSError as error:
            raise InputInvalid(
                f"{path}: cannot be written: {error.strerror}; set 'update_star' to false, or mend its permissions"
            ) from error


def tomogram_rank(labels: Collection[str]) -> int:
    """How surely a table of such labels is one of tomograms; 0 if it is none.

    Tables of tilt images, which some files hold beside it, have `rlnMicrographName` too, but no index.
    """
    if not any(label in labels for label in (*FULL, *HALVES)):
        return 0
    return 1 + any(label in labels for label in ("rlnIndex", "rlnTomoName", *HALVES))


def _tomogram(text: TableText, number: int, path: Path) -> Tomogram:
    values = text.row(number)
    # Without its numbers it can already tell which row is meant where one of them is none.
    bare = Tomogram(number, _index(values, number), values=values, source=text.name)
    tilts = tilts_of_row(_given(values, TILT_ANGLES), _given(values, TILT_SERIES), path)
    tilt_min_deg, tilt_max_deg = bare.number("rlnTiltMin"), bare.number("rlnTiltMax")
    if tilts is not None:
        tilt_min_deg = tilts.tilt_min_deg if tilt_min_deg is None else tilt_min_deg
        tilt_max_deg = tilts.tilt_max_deg if tilt_max_deg is None else tilt_max_deg
    defocus_A = bare.number("rlnDefocus")
    if defocus_A is None:
        defocus_A = (None if tilts is None else tilts.defocus_A) or 0.0
    tomogram = replace(
        bare,
        full=_full(values, path),
        half1=_path(values, HALVES[0], path),
        half2=_path(values, HALVES[1], path),
        pixel_size_A=_pixel_size_A(bare),
        defocus_A=defocus_A,
        voltage_kV=bare.number("rlnVoltage"),
        spherical_aberration_mm=bare.number("rlnSphericalAberration"),
        amplitude_contrast=bare.number("rlnAmplitudeContrast"),
        phase_shift_deg=bare.number("rlnPhaseShift"),
        tilt_min_deg=tilt_min_deg,
        tilt_max_deg=tilt_max_deg,
        tilt_angles_deg=None if tilts is None else tilts.angles_deg,
        number_subtomos=_count(bare, "rlnNumberSubtomo"),
        deconv=_path(values, "rlnDeconvTomoName", path),
        mask=_path(values, "rlnMaskName", path),
        mask_boundary=_path(values, "rlnMaskBoundary", path),
        corrected=_path(values, "rlnCorrectedTomoName", path),
        denoised=_path(values, DENOISED[0], path) or _path(values, DENOISED[1], path),
        box_file=_path(values, "rlnBoxFile", path),
    )
    if tomogram.full is None and tomogram.half1 is None:
        raise InputInvalid(f"{text.name}: row {number + 1} names no tomogram; give its file as 'rlnMicrographName'")
    return tomogram


def _given(values: Mapping[str, str], label: str) -> str | None:
    text = values.get(label, "").strip()
    return None if text.lower() in _NO_VALUE else text


def _path(values: Mapping[str, str], label: str, table: Path) -> Path | None:
    text = _given(values, label)
    return None if text is None else found_from(table.parent, text)


def _full(values: Mapping[str, str], table: Path) -> Path | None:
    for label in FULL:
        text = _given(values, label)
        if text is not None and (label != "rlnTomoName" or is_volume_name(text)):
            return found_from(table.parent, text)
    return None


def _index(values: Mapping[str, str], row: int) -> str:
    text = _given(values, "rlnIndex") or str(row + 1)
    try:
        # Programs that keep all columns as floats write 1 as 1.000000.
        return str(int(float(text))) if "." in text and float(text).is_integer() else text
    except ValueError:
        return text


def _pixel_size_A(tomogram: Tomogram) -> float | None:
    size_A = tomogram.number("rlnPixelSize")
    if size_A is None:
        series_A, binning = tomogram.number("rlnTomoTiltSeriesPixelSize"), tomogram.number("rlnTomoTomogramBinning")
        size_A = series_A * binning if series_A is not None and binning is not None else None
    return size_A if size_A is not None and size_A > 0 else None


def _count(tomogram: Tomogram, label: str) -> int | None:
    value = tomogram.number(label)
    return None if value is None else int(value)


def _with_roots(rows: Sequence[Tomogram]) -> tuple[Tomogram, ...]:
    """Names that differ: several programs call every tomogram alike and put each into a folder of its own."""
    named = list(rows)
    for longer in (_with_folder, _with_index):
        counts = Counter(tomogram.name for tomogram in named)
        named = [
            replace(tomogram, root=longer(tomogram)) if counts[tomogram.name] > 1 else tomogram for tomogram in named
        ]
    return tuple(named)


def _with_folder(tomogram: Tomogram) -> str:
    path = tomogram.full or tomogram.half1
    return tomogram.name if path is None else f"{path.parent.name}_{root_of(path)}".lstrip("_")


def _with_index(tomogram: Tomogram) -> str:
    return f"{tomogram.name}_{tomogram.row + 1}"


def _found_again(
    values: Mapping[int, Mapping[str, str]], before: TomogramTable, now: TableText
) -> dict[int, Mapping[str, str]]:
    """Values by the rows that the file has now."""
    places: dict[tuple[str, ...], list[int]] = {}
    for number in range(len(now.rows)):
        places.setdefault(_identity(now.row(number), number), []).append(number)
    found: dict[int, Mapping[str, str]] = {}
    for row, cells in values.items():
        again = places.get(_identity(before.tomograms[row].values, row), [])
        if again:
            found[row if row in again else again[0]] = cells
    return found


def _identity(values: Mapping[str, str], row: int) -> tuple[str, ...]:
    named = tuple(values.get(label, "") for label in (*FULL, *HALVES))
    return (*named, values.get("rlnIndex", ""))

"""The angles of a STAR file of particles, row by row: nothing else of the file is kept."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .star_rows import Table, TakeRow, read_tables
from .table_content import TableContent

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
TABLE = "a table of particles (RELION .star or CryoSPARC .cs)"
MAX_PARTICLES = 10_000_000
SUBTOMOGRAM = ("rlnCtfImage", "rlnCoordinateZ", "rlnCenteredCoordinateZAngst")
"""Columns that only subtomograms have, besides all that begin with `rlnTomo`; RELION 3 has no others."""
_DIMENSIONS, _MICROGRAPH = "rlnImageDimensionality", "rlnMicrographName"
_TILT_SERIES = ".tomostar"
_ANGLES_OF_OTHERS = {
    "cisTEMAnglePsi": "cisTEM",
    "phi": "STOPGAP or emClarity",
    "ptclAngleRot": "another program",
    "angleRot": "Xmipp",
}
"""Columns of angles, by the program that has them in a STAR file of its own."""


def angles_of_star(content: TableContent, stranger: str | None) -> NDArray[np.float64]:
    """Read rot, tilt, psi in degrees, (N, 3), of the first table that has them; any number counts.

    Parameters
    ----------
    content
        At its start.
    stranger
        What to say of a file without a single table, if its first bytes are of something else.

    Raises
    ------
    InputInvalid
        If it is cut off, holds no angles, or something that is not a number; also for subtomograms.
    """
    name = content.name
    if not content.head:
        raise InputInvalid(f"{name}: is empty; it was cut off, copy it again")
    found = _Found(name)
    read_tables(content.lines(), name, found.begin)
    if found.why_subtomograms:
        raise InputInvalid(
            f"{name}: holds subtomograms ({found.why_subtomograms}); each is seen from many sides, so its angles say "
            "nothing of the sampling"
        )
    if found.missing:
        raise InputInvalid(f"{name}: column '{found.missing}' is missing; give the particles of a finished refinement")
    if found.has_angles:
        return np.frombuffer(found.angles, np.float64).reshape(-1, len(ANGLES))
    if found.program:
        raise InputInvalid(
            f"{name}: is a STAR file of {found.program}, whose angles are not read; export it for RELION"
        )
    if stranger is not None and not found.has_tables:
        raise InputInvalid(stranger)
    raise InputInvalid(f"{name}: has no table with {ANGLES[0]}; give the particles of a finished refinement")


def why_subtomograms(columns: Mapping[str, Sequence[str]]) -> str:
    """What shows that a table with these columns is of subtomograms or their optics; empty where nothing does."""
    column = next((label for label in columns if label.startswith("rlnTomo") or label in SUBTOMOGRAM), None)
    if column is not None:
        return f"column '{column}'"
    if "3" in columns.get(_DIMENSIONS, ()):
        return f"{_DIMENSIONS} 3"
    series = next((text for text in columns.get(_MICROGRAPH, ()) if text.endswith(_TILT_SERIES)), None)
    return "" if series is None else f"micrograph '{series[:80]}'"


class _Found:
    """What the tables of a file hold, as far as it matters here."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.angles = array("d")
        self.has_tables = False
        self.has_angles = False
        self.missing = ""
        self.program = ""
        self.why_subtomograms = ""

    def begin(self, table: Table) -> TakeRow | None:
        """Note the columns of a table, and give what takes its rows if they are needed."""
        self.has_tables = True
        names = table.names
        missing = [name for name in ANGLES if name not in names]
        if len(missing) < len(ANGLES):
            why = why_subtomograms(dict.fromkeys(names, ()))
            if why:
                self._are_subtomograms(why)
        others = (program for name, program in _ANGLES_OF_OTHERS.items() if name in names)
        self.program = self.program or next(others, "")
        takers: list[TakeRow] = []
        if not self.has_angles and not self.missing and len(missing) < len(ANGLES):
            self.missing = missing[0] if missing else ""
            self.has_angles = not missing
            if not missing:
                takers.append(self._taker_of_angles(names))
        if _DIMENSIONS in names or _MICROGRAPH in names:
            takers.append(self._taker_of_signs(names))
        if len(takers) < 2:
            return takers[0] if takers else None
        angles, signs = takers

        def take(number: int, values: Sequence[bytes]) -> None:
            angles(number, values)
            signs(number, values)

        return take

    def _are_subtomograms(self, why: str) -> None:
        self.why_subtomograms = self.why_subtomograms or why

    def _taker_of_angles(self, names: Sequence[str]) -> TakeRow:
        rot, tilt, psi = (names.index(name) for name in ANGLES)
        append, limit = self.angles.append, len(ANGLES) * MAX_PARTICLES

        def take(number: int, values: Sequence[bytes]) -> None:
            for name, at in zip(ANGLES, (rot, tilt, psi), strict=True):
                try:
                    append(float(values[at]))
                except ValueError as error:
                    raise self._no_number(name, number, values[at]) from error
                # Python would pass over them, RELION would end the number there.
                if b"_" in values[at]:
                    raise self._no_number(name, number, values[at])
            if len(self.angles) > limit:
                raise InputInvalid(f"{self._name}: holds more than {MAX_PARTICLES} particles; so many are not read")

        return take

    def _no_number(self, column: str, line: int, value: bytes) -> InputInvalid:
        shown = " ".join(value[:40].decode("utf-8", "replace").split())
        return InputInvalid(
            f"{self._name}: column '{column}' holds something that is not a number in line {line} ('{shown}'); mend it"
        )

    def _taker_of_signs(self, names: Sequence[str]) -> TakeRow:
        """Looks for what only files of subtomograms say in columns that others have too."""
        dimensions = names.index(_DIMENSIONS) if _DIMENSIONS in names else None
        micrograph = names.index(_MICROGRAPH) if _MICROGRAPH in names else None

        def take(_: int, values: Sequence[bytes]) -> None:
            if dimensions is not None and values[dimensions] == b"3":
                self._are_subtomograms(f"{_DIMENSIONS} 3")
            if micrograph is not None and values[micrograph].endswith(_TILT_SERIES.encode()):
                self._are_subtomograms(f"micrograph '{values[micrograph].decode('utf-8', 'replace')[:80]}'")

        return take

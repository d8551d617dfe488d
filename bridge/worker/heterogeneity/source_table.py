"""The table that particles came from, and some of its rows as a table of the same program with every column kept."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib import recfunctions
from numpy.typing import NDArray

from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.jobfile import parse_text
from cryobridge.schemas.plain_file import read_bounded
from cryobridge.wrappers.formats.cs_table import UID, read_rows, rows_bytes
from cryobridge.wrappers.formats.star_selection import StarRows, read_star_rows, star_of_rows
from cryobridge.wrappers.particles.latent_slots import latent_slots
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ..jobs.input_records import file_record

_MOST_RESULT_BYTES = 1 << 26
_PACKED = (".gz", ".bz2")


class SourceTable(Protocol):
    """A table of particles.

    Attributes
    ----------
    path
        Its file.
    ending
        Of files of its sort.
    columns
        Names of its columns.
    """

    path: Path
    ending: str
    columns: Sequence[str]

    def __len__(self) -> int:
        """Number of its rows."""

    def uids(self, rows: NDArray[np.int64]) -> NDArray[np.uint64] | None:
        """CryoSPARC's ids of some rows, None where there are none."""

    def of_rows(self, rows: NDArray[np.int64], latents: NDArray[np.float32] | None) -> bytes:
        """A file with some rows (K,) of the table, in its own order, and their latents (K, zdim) where given."""


def open_source(path: Path, particles: ParticleSet) -> SourceTable | None:
    """Open the table that particles came from; None where it is neither a STAR file nor a `.cs`.

    Raises
    ------
    InputInvalid
        If it cannot be read, or is not the table that it was when the particles were read.
    """
    name = path.with_suffix("").name if path.suffix.lower() in _PACKED else path.name
    if not name.lower().endswith((".star", ".cs")):
        return None
    table: SourceTable
    numbers: NDArray[np.int64] | None
    if name.lower().endswith(".star"):
        star = read_star_rows(path)
        table, numbers = _Star(path, star), star.numbers
    else:
        cs = read_rows(path)
        table = _Cs(path, cs)
        numbers = cs["blob/idx"].astype(np.int64) if "blob/idx" in table.columns else None
    last = int(particles.rows.max(initial=-1))
    if last >= len(table):
        raise _changed(path, f"it has {len(table)} particles, and the run used number {last + 1} of it")
    uids = table.uids(particles.rows)
    if uids is not None and particles.uid is not None and not np.array_equal(uids, particles.uid):
        raise _changed(path, "its particles have other ids")
    if numbers is not None and not np.array_equal(numbers[particles.rows], particles.number):
        raise _changed(path, "its rows name other images")
    return table


def expect_unchanged(path: Path, run: Path) -> None:
    """Refuse a table that is not the one that a run was trained on, as far as the run says which it was.

    Raises
    ------
    InputInvalid
        If the run's result has a record of a table with another content.
    """
    try:
        result = parse_text(read_bounded(run / RESULT_NAME, _MOST_RESULT_BYTES), RESULT_NAME)
    except InputInvalid:
        return  # a run of cryoDRGN has none
    recorded = None
    with contextlib.suppress(KeyError, TypeError):
        recorded = result["inputs"]["particles"]["sha256"]
    if isinstance(recorded, str) and recorded != file_record(path).sha256:
        raise _changed(path, "its content is another")


def passed_rows(path: Path, uids: NDArray[np.uint64]) -> tuple[bytes, Sequence[str]]:
    """The rows of a passthrough table with some ids, in the table's order: the file, and its columns.

    Raises
    ------
    InputInvalid
        If it is no such table, or lacks one of them.
    """
    rows = read_rows(path)
    names = rows.dtype.names or ()
    if UID not in names:
        raise InputInvalid(f"{path}: has no column 'uid'; give the passthrough file of the same job")
    kept = np.isin(rows[UID].astype(np.uint64), uids)
    if int(kept.sum()) != len(uids):
        raise InputInvalid(
            f"{path}: lacks {len(uids) - int(kept.sum())} of {len(uids)} selected particles; give the passthrough file "
            "of the same job"
        )
    return rows_bytes(rows[kept]), names


def _changed(path: Path, why: str) -> InputInvalid:
    return InputInvalid(
        f"{path}: is not the table that the run's particles were read from ({why}); give that one as 'particles'"
    )


class _Star:
    ending = ".star"

    def __init__(self, path: Path, star: StarRows) -> None:
        self.path = path
        self.columns: Sequence[str] = star.columns
        self._star = star

    def __len__(self) -> int:
        return len(self._star)

    def uids(self, rows: NDArray[np.int64]) -> None:
        return None

    def of_rows(self, rows: NDArray[np.int64], latents: NDArray[np.float32] | None) -> bytes:
        if latents is None:
            return star_of_rows(self._star, rows)
        added = {
            f"cryobridgeZ{number}": [f"{value:.6g}" for value in column] for number, column in enumerate(latents.T, 1)
        }
        return star_of_rows(self._star, rows, added)


class _Cs:
    ending = ".cs"

    def __init__(self, path: Path, rows: NDArray[np.void]) -> None:
        self.path = path
        self.columns: Sequence[str] = rows.dtype.names or ()
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def uids(self, rows: NDArray[np.int64]) -> NDArray[np.uint64] | None:
        return self._rows[UID][rows].astype(np.uint64) if UID in self.columns else None

    def of_rows(self, rows: NDArray[np.int64], latents: NDArray[np.float32] | None) -> bytes:
        order = np.argsort(rows, kind="stable")
        kept = self._rows[rows[order]]
        if latents is None:
            return rows_bytes(kept)
        added = latent_slots(latents[order])
        twice = next((name for name in added if name in self.columns), None)
        if twice is not None:
            raise InputInvalid(f"{self.path}: has the column '{twice}' already; leave out 'with_latents'")
        return rows_bytes(recfunctions.append_fields(kept, list(added), list(added.values()), usemask=False))

"""Columns of a CryoSPARC table as a conversion needs them: there, of the right width, and every number one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.cs_table import UID, Columns, slot_of

ANY = -1
"""A width that a column may choose."""
LARGEST = 1e18
"""No program writes larger numbers there, and their products would be none in single precision."""
_LARGEST_COUNT = 2**53

FINEST_A, COARSEST_A = 1e-3, 1e4
"""Of pixels; a STAR file has six digits after the point."""
LARGEST_BOX = 16_384


class ParticleSource:
    """A table of particles that is being converted.

    Parameters
    ----------
    columns
        Of the table.
    name
        What to call it in messages.

    Attributes
    ----------
    rows
        Number of particles, one or more.

    Raises
    ------
    InputInvalid
        If it holds no particles.
    """

    def __init__(self, columns: Columns, name: str) -> None:
        self._columns = columns
        self.name = name
        self.rows = len(next(iter(columns.values()), ()))
        if self.rows == 0:
            raise InputInvalid(f"{name}: holds no particles; give the particles of a job that has finished")

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self._columns

    def slots(self) -> list[str]:
        """The slots, in their order."""
        return list(dict.fromkeys(slot_of(column) for column in self._columns if "/" in column))

    def numbers(self, column: str, *width: int) -> NDArray[np.float64]:
        """A column of numbers, (rows, *width).

        Raises
        ------
        InputInvalid
            If it is missing, of another width, holds something else, or a number that is none.
        """
        values = self._there(column)
        if values.dtype.kind not in "biuf" or values.ndim != 1 + len(width):
            raise InputInvalid(f"{self.name}: column '{column}' does not hold {_told(width)} a particle")
        if any(wanted not in (ANY, found) for wanted, found in zip(width, values.shape[1:], strict=True)):
            raise InputInvalid(f"{self.name}: column '{column}' does not hold {_told(width)} a particle")
        # A float that is no number may warn when it is cast; it is refused here.
        with np.errstate(all="ignore"):
            found = values.astype(np.float64)
        bad = ~(np.abs(found.reshape(self.rows, -1)) <= LARGEST).all(axis=1)
        self.refuse(bad, column, "holds something that is no number")
        return found

    def pixel_sizes(self, column: str) -> NDArray[np.float64]:
        """A column of pixel sizes in Angstrom, (rows,); raises `InputInvalid` as `numbers` does."""
        found = self.numbers(column)
        self.refuse((found < FINEST_A) | (found > COARSEST_A), column, "is no pixel size in Angstrom")
        return found

    def counts(self, column: str, *width: int) -> NDArray[np.int64]:
        """A column of whole numbers from 0 on, (rows, *width); raises `InputInvalid` as `numbers` does."""
        found = self.numbers(column, *width)
        bad = ((found < 0) | (found != np.floor(found)) | (found > _LARGEST_COUNT)).reshape(self.rows, -1).any(axis=1)
        self.refuse(bad, column, "is no count")
        return found.astype(np.int64)

    def texts(self, column: str) -> NDArray[np.str_]:
        """A column of texts on one line each, without the ">" that exported tables put before a path.

        Raises
        ------
        InputInvalid
            If it is missing, holds something else, or a text that is empty or cannot be a path.
        """
        values = self._there(column)
        if values.dtype.kind != "U" or values.ndim != 1:
            raise InputInvalid(f"{self.name}: column '{column}' does not hold a text a particle")
        found = np.char.lstrip(values.astype(np.str_), ">")
        known, which = np.unique(found, return_inverse=True)
        bad = np.array([not text.strip() or not text.isprintable() or {'"', "'"} <= set(text) for text in known])
        self.refuse(bad[which.ravel()], column, "is no path")
        return found

    def is_blank(self, column: str) -> NDArray[np.bool_]:
        """Whether a text is empty, (rows,): nothing that a job could fill in; all are where it holds no texts."""
        values = self._there(column)
        if values.dtype.kind != "U" or values.ndim != 1:
            return np.ones(self.rows, np.bool_)
        blank: NDArray[np.bool_] = np.char.strip(values.astype(np.str_), "> ") == ""
        return blank

    def refuse(self, bad: NDArray[np.bool_] | np.bool_, column: str, why: str) -> None:
        """Raise `InputInvalid` with the first particle of those that are bad (rows,), if any is."""
        if bad.any():
            row = int(np.flatnonzero(np.atleast_1d(bad))[0])
            uid = f" (uid {self._columns[UID][row]})" if UID in self._columns else ""
            raise InputInvalid(
                f"{self.name}: '{column}' of particle {row + 1} of {self.rows}{uid} {why}; export the particles again"
            )

    def _there(self, column: str) -> NDArray[np.generic]:
        if column not in self._columns:
            raise InputInvalid(
                f"{self.name}: has no column '{column}'; give the passthrough file of the same job as well"
            )
        return self._columns[column]


def _told(width: tuple[int, ...]) -> str:
    return " by ".join("some" if one == ANY else str(one) for one in width) + " numbers" if width else "a number"

"""Rows of a particle table of RELION (3.0; 3.1 to 5 with optics groups): each particle with what its group says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.star import Block
from .source import COARSEST_A, FINEST_A, LARGEST


class RelionRows:
    """Columns of the particles, and those of their optics groups by particle."""

    def __init__(self, particles: Block, optics: Block | None, name: str) -> None:
        self._name = name
        self._columns = particles.columns
        self._optics: Mapping[str, Sequence[str]] = {} if optics is None else optics.columns
        self.count = particles.n_rows
        self.group = self._group()

    def _group(self) -> NDArray[np.int64]:
        """Row of the optics table of each particle; all 0 without one."""
        groups = self._optics.get("rlnOpticsGroup", ())
        if not self._optics or ("rlnOpticsGroup" not in self._columns and len(groups) < 2):
            return np.zeros(self.count, np.int64)
        numbers = self._as_numbers("rlnOpticsGroup", groups).tolist()
        known = {number: row for row, number in enumerate(numbers)}
        if len(known) < len(numbers):
            raise InputInvalid(f"{self._name}: its optics table has two groups of one number; mend 'rlnOpticsGroup'")
        own = self._as_numbers("rlnOpticsGroup", self.texts("rlnOpticsGroup")).tolist()
        lost = next((number for number in own if number not in known), None)
        if lost is not None:
            raise InputInvalid(
                f"{self._name}: particles are of optics group {lost:g}, which its optics table does not have"
            )
        return np.array([known[number] for number in own], np.int64)

    def has(self, label: str) -> bool:
        """Whether particles or optics groups have a column."""
        return label in self._columns or label in self._optics

    def numbers(self, label: str) -> NDArray[np.float64] | None:
        """A column of numbers by particle, its own before its optics group's; None where neither has it."""
        if label in self._columns:
            return self._as_numbers(label, self._columns[label])
        if label in self._optics:
            return self._as_numbers(label, self._optics[label])[self.group]
        return None

    def texts(self, label: str) -> Sequence[str]:
        """A column of texts of the particles; raises `InputInvalid` where it is missing."""
        if label not in self._columns:
            raise InputInvalid(f"{self._name}: column '{label}' is missing; give the particles of RELION")
        return self._columns[label]

    def _as_numbers(self, label: str, values: Sequence[str]) -> NDArray[np.float64]:
        try:
            # Python would pass over them, RELION would end the number there.
            if any("_" in text for text in values):
                raise ValueError("an underscore")
            numbers = np.array(values, dtype=np.float64)
        except ValueError as error:
            at = next(row for row, text in enumerate(values) if not _is_number(text))
            raise InputInvalid(
                f"{self._name}: column '{label}' holds {values[at][:40]!r} in row {at + 1}, which is not a number"
            ) from error
        self.refuse(~(np.abs(numbers) <= LARGEST), label, "is not finite, or larger than any such number")
        return numbers

    def refuse(self, bad: NDArray[np.bool_], label: str, why: str) -> None:
        """Raise `InputInvalid` with the first row that is bad, if any is."""
        if bad.any():
            raise InputInvalid(f"{self._name}: '{label}' in row {int(np.flatnonzero(bad)[0]) + 1} {why}; mend it")


def particles_block(blocks: Mapping[str, Block], name: str) -> Block:
    """The table of particles; raises `InputInvalid` where there is none, or an empty one."""
    block = next((block for block in blocks.values() if "rlnImageName" in block.columns), None)
    if block is None or block.n_rows == 0:
        raise InputInvalid(f"{name}: has no table of particles with 'rlnImageName'; give the particles of RELION")
    return block


def optics_block(blocks: Mapping[str, Block]) -> Block | None:
    """The table of optics groups of RELION 3.1 and later; None in older files."""
    return next((block for key, block in blocks.items() if key == "optics" and block.n_rows), None)


def pixel_sizes(rows: RelionRows, name: str, given_A: float | None) -> NDArray[np.float64]:
    """Pixel size of each particle's image in Angstrom, (N,).

    Parameters
    ----------
    given_A
        What is believed in the place of the file.

    Raises
    ------
    InputInvalid
        If the file does not say, or something that is no pixel size.
    """
    if given_A is not None:
        return np.full(rows.count, given_A)
    size = rows.numbers("rlnImagePixelSize")
    if size is None:
        # RELION 3.0: detector pixels in micrometres, and the magnification.
        detector_um, magnification = rows.numbers("rlnDetectorPixelSize"), rows.numbers("rlnMagnification")
        if detector_um is None or magnification is None or bool((magnification <= 0).any()):
            raise InputInvalid(f"{name}: does not say the pixel size of the images; give 'pixel_size_A'")
        size = 1e4 * detector_um / magnification
    for extreme in (size.min(), size.max()):
        if not FINEST_A <= extreme <= COARSEST_A:
            raise InputInvalid(f"{name}: says a pixel size of {extreme:g} A; give 'pixel_size_A'")
    return size


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text

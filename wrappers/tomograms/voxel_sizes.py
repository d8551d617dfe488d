"""The voxel size of a tomogram: what its header says, whether that is believed, and what is odd about it."""

from __future__ import annotations

from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from ..formats.mrc_header import MrcHeader

SMALLEST_A, LARGEST_A = 2.0, 50.0
"""Beyond these tomograms are rare, and a header of them is more often in nanometres, or unset."""
_SAME = 0.01


def believed_voxel_size_A(header: MrcHeader) -> float | None:
    """The voxel size of a header in Angstrom; None where it is not believed.

    0 and 1 are what programs write that know none, and unequal sides are no voxel of a tomogram.
    """
    z, y, x = header.voxel_size_A
    is_unset = min(z, y, x) <= 0 or abs(x - 1.0) < 1e-3
    return None if is_unset or max(z, y, x) > (1 + _SAME) * min(z, y, x) else x


def voxel_size_of(path: Path, header: MrcHeader, given_A: float | None) -> tuple[float, list[str]]:
    """The voxel size to go on with, and what a user should look at.

    Parameters
    ----------
    given_A
        What the user says, in Angstrom; goes before the header.

    Raises
    ------
    InputInvalid
        If nobody says it.
    """
    of_header_A = believed_voxel_size_A(header)
    if given_A is None and of_header_A is None:
        z, y, x = header.voxel_size_A
        raise InputInvalid(
            f"{path}: its header has {x:g} x {y:g} x {z:g} A as voxel size, which is not believed; give 'pixel_size_A'"
        )
    size_A = given_A if given_A is not None else of_header_A
    if size_A is None:
        raise ValueError("a size that was neither given nor read")
    remarks = []
    if given_A is not None and of_header_A is not None and abs(given_A - of_header_A) > _SAME * of_header_A:
        remarks.append(f"{path.name}: its header says {of_header_A:.4g} A, {given_A:.4g} A was given and is used")
    if not SMALLEST_A <= size_A <= LARGEST_A:
        remarks.append(
            f"{path.name}: a voxel of {size_A:.4g} A is odd for a tomogram; see that it is in Angstrom, not nanometres"
        )
    return size_A, remarks

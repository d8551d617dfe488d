"""Resolutions that users choose, held against what the voxels and the box of a map can hold: one rule for all kinds."""

from __future__ import annotations

from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

_ROUNDED = 1e-3
"""A resolution so little beyond a border is the border, typed or computed with fewer digits."""


def within_grid(name: str, value_A: float, path: Path, box: int, voxel_size_A: float, *, first_shell: int = 1) -> float:
    """A resolution in Angstrom as it is used: itself, if a map of this grid can hold it.

    Parameters
    ----------
    name
        The option, for messages.
    value_A
        As the user chose it.
    path
        The map.
    box, voxel_size_A
        Its grid.
    first_shell
        The coarsest shell that is of use.

    Raises
    ------
    InputInvalid
        If it is finer than Nyquist or coarser than the first shell.
    """
    nyquist_A, coarsest_A = 2 * voxel_size_A, box * voxel_size_A / first_shell
    if nyquist_A * (1 - _ROUNDED) <= value_A <= coarsest_A * (1 + _ROUNDED):
        return min(max(value_A, nyquist_A), coarsest_A)
    beyond = value_A < nyquist_A
    what = "its box" if first_shell == 1 else f"shell {first_shell}"
    why = (
        f"voxels of {voxel_size_A:g} A hold nothing beyond Nyquist; is their size right in the header? voxel_size_A "
        "(--apix) takes its place"
        if beyond
        else f"a box of {box} voxels of {voxel_size_A:g} A holds nothing so coarse"
    )
    raise InputInvalid(
        f"{path}: {name} {value_A:g} is not between {coarsest_A:.4g} A ({what}) and {nyquist_A:.4g} A (Nyquist) of "
        f"this grid: {why}"
    )


def clipped_to_grid(value_A: float, box: int, voxel_size_A: float) -> float:
    """A default resolution in Angstrom as it is used: nobody chose it, so it ends where the grid does."""
    return min(max(value_A, 2 * voxel_size_A), box * voxel_size_A)

"""Which axis a dihedral group has its two-fold on, for programs that do not agree about it.

RELION has it on x, CryoSPARC on y. For an even order both are there; for an odd one they are different groups, and a
turn by 90 degrees about z takes one to the other (a public report: pyem's issue 33).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cryobridge.core.volume import rotation_about, turned
from cryobridge.schemas.errors import InputInvalid

from ...jobs.volumes import read_map

QUARTER_DEG = 90.0
_SURE = 0.1
"""One axis must correlate by so much better than the other for the map to decide; ours."""


@dataclass(frozen=True)
class Turn:
    """By how many degrees about z particles are turned, and why, in a sentence; empty where nothing was asked."""

    degrees: float
    why: str


def turn_between(symmetry: str, refined_on: str, wanted_on: str, map_path: Path | None) -> Turn:
    """Find the turn for a point group.

    Parameters
    ----------
    symmetry
        In RELION's names.
    refined_on, wanted_on
        The axis of the two-fold ("x" or "y") as the particles' program has it, and as the other has it.
    map_path
        Map of the refinement, which is believed rather than the rule.

    Raises
    ------
    InputInvalid
        If the map has its two-fold on neither axis, or cannot be read.
    """
    order = symmetry.upper().removeprefix("D")
    if not symmetry.upper().startswith("D") or not int(order) % 2 or int(order) == 1:
        return Turn(0.0, "")
    found = refined_on if map_path is None else _axis_of(map_path, symmetry)
    how = "as its program has it" if map_path is None else "as the map shows"
    if found == wanted_on:
        return Turn(0.0, f"{symmetry.upper()}: the two-fold is on {found} already, {how}; nothing was turned.")
    return Turn(
        QUARTER_DEG,
        f"{symmetry.upper()}: the two-fold is on {found}, {how}; all particles were turned by 90 degrees about z, so "
        f"that it is on {wanted_on}. A map of them is turned likewise.",
    )


def _axis_of(path: Path, symmetry: str) -> str:
    volume = read_map(path).data.float()
    agreement = {
        letter: _correlation(volume, axis) for letter, axis in (("x", (1.0, 0.0, 0.0)), ("y", (0.0, 1.0, 0.0)))
    }
    best = max(agreement, key=agreement.__getitem__)
    if abs(agreement["x"] - agreement["y"]) < _SURE:
        raise InputInvalid(
            f"{path}: does not show whether its two-fold is on x or on y (correlation {agreement['x']:.2f} and "
            f"{agreement['y']:.2f} under the two); give the map of the refinement with {symmetry.upper()}, or none"
        )
    return best


def _correlation(volume: torch.Tensor, axis: tuple[float, float, float]) -> float:
    other = turned(volume, rotation_about(2, axis).rotation)
    # Both about their means, inside the sphere that a turn cannot lead out of.
    n = volume.shape[0]
    along = torch.arange(n) - n // 2
    inside = (along[:, None, None] ** 2 + along[None, :, None] ** 2 + along**2) < (n // 2 - 1) ** 2
    pair = torch.stack((volume[inside], other[inside])).double()
    return float(torch.corrcoef(pair)[0, 1])

"""Which axis a dihedral group has its two-fold on, for programs that do not agree about it.

RELION has it on x, CryoSPARC on y. For an even order both are there; for an odd one they are different groups, and a
turn by 90 degrees about z takes one to the other (a public report: pyem's issue 33).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cryobridge.core.fourier import fsc
from cryobridge.core.volume import rotation_about, turned
from cryobridge.schemas.errors import InputInvalid

from ...jobs.volumes import read_map

QUARTER_DEG = 90.0
_LIKELY, _SURE = 0.6, 0.15
"""The map decides where it agrees so well with itself, and by so much better than on the other axis; ours."""
_FROM_SHELL = 2
"""Before it there is the shape of the whole only, which hardly changes when it is turned."""
_UNTRIED = ("T", "O", "I")
"""Groups whose axes in the two programs were not compared."""


@dataclass(frozen=True)
class Turn:
    """By how many degrees about z (x towards y) particles are turned, and why; empty where nothing was asked."""

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
    group = symmetry.upper()
    if group.startswith(_UNTRIED):
        return Turn(0.0, f"{group}: its axes in the two programs were not compared; nothing was turned. Look at a map.")
    if not group.startswith("D") or int(group.removeprefix("D")) % 2 == 0:
        return Turn(0.0, "")
    found = refined_on if map_path is None else _axis_of(map_path, group)
    how = "as its program has it" if map_path is None else "as the map shows"
    if found == wanted_on:
        return Turn(0.0, f"{group}: the two-fold is on {found} already, {how}; nothing was turned.")
    # There and back again is no turn at all, so that maps and masks from before still fit.
    degrees = QUARTER_DEG if wanted_on == "y" else -QUARTER_DEG
    return Turn(
        degrees,
        f"{group}: the two-fold is on {found}, {how}; all particles were turned by {degrees:g} degrees about z (x "
        f"towards y), so that it is on {wanted_on}. Turn maps and masks of them likewise.",
    )


def _axis_of(path: Path, group: str) -> str:
    volume = read_map(path).data.float()
    agreement = {letter: _agreement(volume, axis) for letter, axis in (("x", (1.0, 0.0, 0.0)), ("y", (0.0, 1.0, 0.0)))}
    best = max(agreement, key=agreement.__getitem__)
    if agreement[best] < _LIKELY or abs(agreement["x"] - agreement["y"]) < _SURE:
        raise InputInvalid(
            f"{path}: does not show whether its two-fold is on x or on y (it agrees with itself by "
            f"{agreement['x']:.2f} and {agreement['y']:.2f} when it is turned about the two); give the map of the "
            f"refinement with {group}, or none"
        )
    return best


def _agreement(volume: torch.Tensor, axis: tuple[float, float, float]) -> float:
    """Mean FSC of a map and itself turned by a half about an axis, up to half of Nyquist.

    Every shell counts the same: a correlation of voxels would see the shape of the whole and little else.
    """
    n = volume.shape[0]
    other = turned(volume, rotation_about(2, axis).rotation)
    # Inside the sphere that a turn cannot lead out of.
    along = torch.arange(n) - n // 2
    inside = (along[:, None, None] ** 2 + along[None, :, None] ** 2 + along**2) < (n // 2 - 1) ** 2
    return float(fsc(volume, other, inside.float())[_FROM_SHELL : max(n // 4, _FROM_SHELL) + 1].mean())

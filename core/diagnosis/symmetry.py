"""Whether two half-maps have the point group that is said of them.

The mean of the half-maps is turned by each rotation that generates the group and compared with itself, shell by shell,
up to where the half-maps agree. A map that has the rotation differs from its turned self by noise only, which has been
measured: with an FSC f between the half-maps, the mean and its turned self correlate by 2f / (1 + f), whatever
direction the noise is in, since a rotation keeps shells. (Where the noise was symmetrised too, by more.) A map that
does not have it agrees in the lowest shells, as any globule does, and hardly beyond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..fourier import (
    check_same_box,
    forward,
    fsc,
    inverse,
    resample,
    resolution_shell,
    shell_counts,
    shell_index,
)
from ..volume import SymmetryElement, generators, rotation_about, turned

SymmetryLevel = Literal["has", "doubtful", "lacks", "untested"]

# Ours. On simulated pairs rotations that the map has give 0.97 to 1.05, others -0.05 to 0.25.
_DOUBTFUL_BELOW, _LACKS_BELOW = 0.8, 0.5
_FEWEST_SHELLS = 5
"""Up to so many shells any compact particle looks like its turned self."""
_MOST_SHELLS = 24
"""More shells make the test slower, not surer."""
_UNCERTAIN = 0.15
_ROOM = 1.5
"""Box over the smallest that holds the shells: maps are read between voxels, which wants some room below Nyquist."""


@dataclass(frozen=True)
class ElementFound:
    """How well a rotation fits.

    name
        As "2-fold on x".
    share
        Agreement of the map with its turned self, as a share of what the half-maps' own agreement allows: 1 where the
        map has the rotation.
    uncertainty
        Standard deviation of the share.
    beside_voxels
        Where the axis is, to about half a voxel, in voxels x, y, z from the middle of the box, if the rotation fits
        about an axis there and not about the middle; else None.
    """

    name: str
    share: float
    uncertainty: float
    beside_voxels: tuple[float, float, float] | None = None

    @property
    def level(self) -> SymmetryLevel:
        """Whether the map has this rotation."""
        if self.uncertainty > _UNCERTAIN:
            return "untested"
        if self.share < _LACKS_BELOW - self.uncertainty:
            return "lacks"
        return "doubtful" if self.share < _DOUBTFUL_BELOW - self.uncertainty else "has"


@dataclass(frozen=True)
class SymmetryFound:
    """What came of testing a point group.

    point_group
        Its name.
    elements
        The rotations that generate it; none for C1, and where too few shells agree to tell.
    instead
        Rotations that fit in the place of those that do not.
    """

    point_group: str
    elements: tuple[ElementFound, ...]
    instead: tuple[ElementFound, ...] = ()

    @property
    def level(self) -> SymmetryLevel:
        """The worst of the rotations."""
        levels = {element.level for element in self.elements}
        order: tuple[SymmetryLevel, ...] = ("lacks", "doubtful", "untested", "has")
        return next((level for level in order if level in levels), "untested")

    @property
    def sentence(self) -> str | None:
        """What to tell a user; None where there is nothing to tell."""
        if self.level in ("has", "untested"):
            return None
        shares = [f"{max(0.0, min(1.0, one.share)):.0%} (its {one.name})" for one in self.elements]
        verb = "do not have" if self.level == "lacks" else "may not have"
        words = (
            f"the half-maps {verb} {self.point_group}: when their mean is turned, {', '.join(shares)} is left of the "
            "agreement between them"
        )
        for one in self.elements:
            if one.beside_voxels is not None:
                where = ", ".join(f"{value:.0f}" for value in one.beside_voxels)
                return (
                    f"{words}; there is a {one.name}, but about {where} voxels (x, y, z) beside the middle of the box"
                )
        if self.instead:
            fits = " and a ".join(one.name for one in self.instead)
            words = f"{words}; what fits is a {fits}, so the map is not turned as {self.point_group} of RELION is"
            # Two-folds on x and y are different groups for odd orders only, and a quarter turn takes one to the other.
            quarter = self.point_group.upper().startswith("D") and fits == "2-fold on y"
            return f"{words}: a quarter turn about z mends that" if quarter else words
        return words


def symmetry_found(
    half1: Tensor, half2: Tensor, mask: Tensor | None, point_group: str, *, limit_shell: int | None = None
) -> SymmetryFound:
    """Test a point group on two half-maps.

    Parameters
    ----------
    half1, half2
        (n, n, n).
    mask
        (n, n, n), or None for the whole box; where a turned mask does not overlap it nothing is compared.
    point_group
        In RELION's names, see `operators`.
    limit_shell
        First shell that is left out; None goes as far as the half-maps agree.
    """
    elements = generators(point_group)
    if not elements:
        return SymmetryFound(point_group, ())
    n = check_same_box(half1, half2)
    last = min(resolution_shell(fsc(half1 - half1.mean(), half2 - half2.mean(), mask)), (n - 1) // 2, _MOST_SHELLS)
    if limit_shell is not None:
        last = min(last, limit_shell - 1)
    if last < _FEWEST_SHELLS:
        return SymmetryFound(point_group, ())
    box = min(n, 2 * math.ceil(_ROOM * (last + 1)))
    first, second = (resample(half - half.mean(), box) for half in (half1, half2))
    small = torch.ones_like(first) if mask is None else resample(mask, box).clamp(0.0, 1.0)
    test = _Test(first, second, small, last, n / box)
    found = tuple(test.element(element) for element in elements)
    lacking = [element for element in found if element.level in ("lacks", "doubtful") and element.beside_voxels is None]
    tried = {element.name for element in found}
    others = [[one for one in _others(point_group, element.name) if one.name not in tried] for element in lacking]
    instead = tuple(test.best(one) for one in others)
    fitting = tuple({element.name: element for element in instead if element is not None}.values())
    return SymmetryFound(point_group, found, fitting)


class _Test:
    """Two halves (m, m, m) and a mask, of which rotations are tried; `scale` is the voxel's size in voxels as given."""

    def __init__(self, half1: Tensor, half2: Tensor, mask: Tensor, last: int, scale: float) -> None:
        self._halves, self._mask, self._last, self._scale = (half1, half2), mask, last, scale
        self._mean = (half1 + half2) / 2

    def element(self, element: SymmetryElement) -> ElementFound:
        """Try a rotation about the middle and, where that does not fit, about an axis beside it."""
        share, uncertainty = self._share(element.rotation, (0, 0, 0))
        found = ElementFound(element.name, share, uncertainty)
        if found.level not in ("lacks", "doubtful"):
            return found
        shift = self._shift(element.rotation)
        if not any(shift):
            return found
        beside, _ = self._share(element.rotation, shift)
        if beside < _DOUBTFUL_BELOW:
            return found
        # The turned map at r is the map at r + (1 - R^-1) c for an axis through c.
        moved = torch.tensor([shift[2], shift[1], shift[0]], dtype=torch.float64)
        lever = torch.eye(3, dtype=torch.float64) - element.rotation.double().T
        x, y, z = (torch.linalg.pinv(lever) @ moved * self._scale).tolist()
        return ElementFound(element.name, share, uncertainty, (x, y, z))

    def best(self, elements: Sequence[SymmetryElement]) -> ElementFound | None:
        """Return the rotation that fits best, if one fits."""
        tried = [ElementFound(element.name, *self._share(element.rotation, (0, 0, 0))) for element in elements]
        fitting = [one for one in tried if one.level == "has"]
        return max(fitting, key=lambda one: one.share, default=None)

    def _share(self, rotation: Tensor, shift: tuple[int, int, int]) -> tuple[float, float]:
        """Agreement with the turned and then shifted self as a share of what is to be expected, and its deviation."""
        window = self._mask * turned(self._mask, rotation).roll(shift, (0, 1, 2)).clamp(0.0, 1.0)
        if not bool((window > 0).any()):
            return 0.0, math.inf
        n, upto = self._mask.shape[-1], slice(1, self._last + 1)
        between = fsc(*self._halves, window).clamp(0.0, 1.0)
        expected = (2 * between / (1 + between))[upto]
        own = fsc(self._mean, turned(self._mean, rotation).roll(shift, (0, 1, 2)), window)[upto]
        weight = shell_counts(n, window.device)[upto]
        information = (weight * expected.square()).sum()
        # A window of this share of the box leaves so many independent voxels, half of them Friedel mates.
        independent = float(window.square().mean() ** 2 / window.square().square().mean()) / 2
        if not float(information) > 0:
            return 0.0, math.inf
        return float((weight * expected * own).sum() / information), 1.0 / math.sqrt(independent * float(information))

    def _shift(self, rotation: Tensor) -> tuple[int, int, int]:
        """Voxels z, y, x by which the turned map is to be moved so that it lies best on the map."""
        seen = self._mean * self._mask
        first, second = forward(seen), forward(turned(seen, rotation))
        n = self._mask.shape[-1]
        cross = first * second.conj()
        cross = cross / cross.abs().clamp(min=torch.finfo(torch.float32).tiny)
        inside = shell_index(n, cross.device) <= self._last
        place = int(inverse(cross * inside, n).argmax())
        found = (place // n**2, place // n % n, place % n)
        z, y, x = (value if value <= n // 2 else value - n for value in found)
        return z, y, x


def _others(point_group: str, name: str) -> list[SymmetryElement]:
    """Rotations that other conventions have in the place of one that does not fit."""
    order = int(name.split("-")[0])
    axes = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    others = [rotation_about(order, axis) for axis in axes]
    if point_group.upper().startswith("I"):
        others += [one for group in ("I1", "I2", "I3", "I4") for one in generators(group)]
    return [one for one in others if one.name.startswith(f"{order}-")]

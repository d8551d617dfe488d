"""Directional hold-out: whether what a correction puts into a badly measured direction is what was measured there.

A well-measured double cone of the user's own data is made as bad as the worst one; the correction is run on that, and
each corrected half is compared inside the cone with the other half as it had been measured there: the spoilt halves
still hold some of their own noise, and a reference that holds it too would flatter. Everything outside the cone stays
as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..directional import cone_areas, symmetric_views, whole_shells
from ..fourier import (
    THRESHOLD,
    check_same_box,
    expand,
    forward,
    frequency_axes,
    inverse,
    radial_sum,
    radius,
    shell_index,
    spectrum_fsc,
)


@dataclass(frozen=True)
class Cone:
    """A double cone of Fourier space: its axes (k, 3) z, y, x (one, or all its symmetry mates), and half-angle."""

    axes: Tensor
    half_angle_deg: float

    def member(self, n: int) -> Tensor:
        """Which Fourier voxels lie in it, boolean (n, n, n//2+1), within the shells the grid holds whole."""
        kz, ky, kx = frequency_axes(n, self.axes.device)
        least = radius(n, self.axes.device) * (math.cos(math.radians(self.half_angle_deg)) - 1e-6)
        inside = torch.zeros((n, n, n // 2 + 1), dtype=torch.bool, device=self.axes.device)
        for z, y, x in self.axes.float():
            inside |= (kz * z + ky * y + kx * x).abs() >= least
        shell = shell_index(n, self.axes.device)
        return inside & (shell > 0) & (shell < whole_shells(n))

    def with_mates(self, symmetry: Tensor | None) -> Cone:
        """The cone and all its images under a point group's rotations (g, 3, 3) in x, y, z."""
        return self if symmetry is None else Cone(symmetric_views(self.axes, symmetry), self.half_angle_deg)


@dataclass(frozen=True)
class HeldOut:
    """Halves (n, n, n) with one cone made bad, and its FSC per shell, float64 (n//2+1,), before and as aimed at."""

    half1: Tensor
    half2: Tensor
    cone: Cone
    fsc_before: Tensor
    fsc_aimed: Tensor


def worst_and_best(
    curves: Tensor, directions: Tensor, half_angle_deg: float = 20.0, symmetry: Tensor | None = None
) -> tuple[int, int]:
    """Numbers of the worst- and the best-measured of directions (d, 3), by the area under their curves (d, m).

    The best is looked for among directions whose cones do not overlap that of the worst, or its symmetry mates,
    as long as there are any.
    """
    areas = cone_areas(curves)
    worst = int(areas.argmin())
    mates = Cone(directions[worst : worst + 1], half_angle_deg).with_mates(symmetry).axes
    apart = (directions @ mates.to(directions).T).abs().amax(dim=1) < math.cos(math.radians(2.0 * half_angle_deg))
    if bool(apart.any()):
        areas = torch.where(apart, areas, -math.inf)
    return worst, int(areas.argmax())


def degrade(half1: Tensor, half2: Tensor, cone: Cone, like: Cone, generator: torch.Generator) -> HeldOut:
    """Make a cone of two half-maps as badly measured as another, `like`.

    In each shell let f and P be the FSC and mean power of the halves in the cone, g and Q those in the cone to be
    like (g no higher than f, no lower than 0). Each half X becomes a X + b N with N white noise of its own,
    a^2 = g Q / (f P) and b^2 = Q (1 - g / f) in units of N's power: then the common signal holds g Q of the power Q, so
    the FSC is g and the power Q. Shells with f <= g are as bad already and stay untouched.
    The noise already in X is kept, so nothing is taken twice; FSC and power are those of the unmasked halves.

    Parameters
    ----------
    half1, half2
        (n, n, n), not masked.
    cone
        To be degraded; give it with its symmetry mates, else a symmetric correction just copies from them.
    like
        The badly measured cone.
    generator
        The noise is drawn where it lives, so a seed gives the same on every device.
    """
    n = check_same_box(half1, half2)
    spectra = [forward(half1.float()), forward(half2.float())]
    index = shell_index(n, half1.device)
    member = cone.member(n)
    f, power = _inside(spectra, member, n, index)
    g, like_power = _inside(spectra, like.member(n), n, index)
    g = torch.minimum(g.clamp(min=0.0), f)
    worse = (f > g) & (power > 0) & (like_power > 0)
    keep = torch.where(worse, (g * like_power / (f * power)).sqrt(), 1.0)
    add = torch.where(worse, (like_power * (1.0 - g / f)).clamp(min=0.0).sqrt(), 0.0)
    keep3d = torch.where(member, expand(keep.float(), n, index=index), 1.0)
    add3d = torch.where(member, expand(add.float(), n, index=index), 0.0)
    halves = []
    for spectrum in spectra:
        white = torch.randn((n, n, n), generator=generator, device=generator.device, dtype=torch.float32)
        noise = forward(white.to(half1.device)) / n**1.5
        halves.append(inverse(keep3d * spectrum + add3d * noise, n))
    return HeldOut(halves[0], halves[1], cone, f, torch.where(worse, g, f))


def score(volume: Tensor, reference: Tensor, cone: Cone, mask: Tensor | None = None) -> Tensor:
    """FSC per shell, float64 (n//2+1,), between a map and the reference (n, n, n) inside a cone only.

    With the untouched full map as the reference it says how much of what had been measured there came back. Both
    hold the noise that `degrade` left in the cone, so compare before with after and do not take either by itself.
    """
    n = check_same_box(volume, reference)
    if mask is not None:
        check_same_box(volume, mask)
        volume, reference = volume * mask, reference * mask
    member = cone.member(n)
    return spectrum_fsc(forward(volume) * member, forward(reference) * member, n)


def truth_estimate(
    maps: tuple[Tensor, Tensor],
    halves: tuple[Tensor, Tensor],
    cone: Cone,
    mask: Tensor | None = None,
) -> Tensor:
    """Estimate the FSC per shell, float64 (n//2+1,), of two maps to the truth inside a well-measured cone.

    Each map (n, n, n) is compared with the other, measured half (n, n, n), whose noise it does not hold; with f the FSC
    of the measured halves in the cone, such a half correlates with the truth by sqrt(f), which is divided out. Where
    the halves agree by less than 0.143 there is no telling: NaN.

    Parameters
    ----------
    maps
        What was made of half 1 and of half 2, or of what `degrade` left of them.
    halves
        As measured.
    cone, mask
        Where they are compared.
    """
    across = (score(maps[0], halves[1], cone, mask) + score(maps[1], halves[0], cone, mask)) / 2
    between = score(halves[0], halves[1], cone, mask)
    return torch.where(between >= THRESHOLD, across / between.clamp(min=THRESHOLD).sqrt(), math.nan)


def mean_score(curve: Tensor, shells: Tensor) -> float:
    """Mean of a curve (m,) over the shells (m,) that are True, each weighted by its surface; NaN without any."""
    shells = shells & curve.isfinite()
    curve = torch.where(shells, curve, 0.0)
    weight = torch.where(shells, torch.arange(curve.shape[0], device=curve.device).double().square(), 0.0)
    return float((curve * weight).sum() / weight.sum())


def _inside(spectra: list[Tensor], member: Tensor, n: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """FSC and mean power per voxel, each float64 (n//2+1,), of two half-spectra among the member voxels."""
    first, second = (spectrum * member for spectrum in spectra)
    power = (first.abs().double().square() + second.abs().double().square()) / 2.0
    counts = radial_sum(member.double(), n, index=index)
    mean = torch.where(counts > 0, radial_sum(power, n, index=index) / counts.clamp(min=1.0), 0.0)
    return spectrum_fsc(first, second, n, index), mean

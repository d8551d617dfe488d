"""Poses corrected by what particles say beside their heterogeneity: only for poses that are known to be wrong.

A pose that is wrong by a small turn and move shows the consensus plus amplitudes times its `pose_tangents`. These
amplitudes are found together with the latents. What of them goes with the latents is taken for heterogeneity, since a
motion has a part that looks like a change of pose; the rest is taken for an error of the pose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..particles import shifted
from .consensus import Consensus
from .controls import low_passed, pose_tangents
from .fit import ITERATIONS, SubspaceFit
from .images import SeenImages
from .parts import Parts
from .scores import LinearScorer

_TURN_RAD, _MOVE_PX, _CONTRAST = math.radians(4.0), 0.7, 0.2
"""Deviations that are thought likely before looking."""
_MODES = 3
_IMAGES_AT_ONCE = 1024
_TURNS, _MOVES = slice(3, 6), slice(0, 3)


@dataclass(frozen=True)
class Repaired:
    """Images with new poses.

    Attributes
    ----------
    images
        Recentred anew, with the new rotations.
    moved_px
        (N, 2) in x, y by how much images were moved: to be added to what recentres them.
    turns
        (N, 3, 3): a new rotation is the old one times this.
    """

    images: SeenImages
    moved_px: Tensor
    turns: Tensor


def repair_in_parts(
    images: SeenImages,
    consensus: Consensus,
    residuals: Tensor,
    radius: float,
    *,
    members: Tensor | None = None,
    seed: int = 0,
) -> Parts[Repaired]:
    """Correct the poses once; after it the consensus is to be found anew.

    Parameters
    ----------
    residuals
        (N, M) of the images.
    radius
        Up to which they are looked at, in cycles per box.
    members
        Images that the latents are fitted on, where there are very many; all if None.
    """
    shown = low_passed(consensus.volume, radius)
    nuisance = torch.cat([pose_tangents(shown), shown[None]])
    spread = torch.tensor([_MOVE_PX] * 3 + [_TURN_RAD] * 3 + [_CONTRAST], device=shown.device).square()
    alone = LinearScorer(consensus.volume, nuisance, spread, consensus.noise, radius)
    cleaned = residuals[:, : len(images.disc.within(radius))].clone()
    parts = [slice(start, start + _IMAGES_AT_ONCE) for start in range(0, len(images), _IMAGES_AT_ONCE)]
    for part in parts:
        some = images.of(part)
        cleaned[part] -= alone.views(some, alone.scores(some).mean)
        yield
    left = images.within(radius).with_spectra(cleaned)
    fit = SubspaceFit(left if members is None else left.of(members), radius, consensus.prior_power)
    subspace = yield from fit.fit_in_parts(_MODES, ITERATIONS, seed=seed)
    basis = torch.cat([subspace.volumes(), nuisance])
    together = LinearScorer(consensus.volume, basis, torch.cat([subspace.eigenvalues, spread]), consensus.noise, radius)
    amounts = []
    for part in parts:
        amounts.append(together.scores(images.of(part)).mean)
        yield
    found = torch.cat(amounts)
    errors = _beside(found[:, _MODES : _MODES + 6], found[:, :_MODES])
    return _applied(images, errors)


def _beside(amplitudes: Tensor, latents: Tensor) -> Tensor:
    """Amplitudes (N, 6) without what a polynomial of second order of the latents (N, K) explains."""
    z = latents / latents.std(dim=0).clamp_min(1e-30)
    pairs = torch.triu_indices(z.shape[1], z.shape[1], device=z.device)
    columns = torch.cat([torch.ones_like(z[:, :1]), z, z[:, pairs[0]] * z[:, pairs[1]]], dim=1).double()
    fitted: Tensor = columns @ torch.linalg.lstsq(columns, amplitudes.double()).solution
    return (amplitudes - fitted).float()


def _applied(images: SeenImages, amplitudes: Tensor) -> Repaired:
    """A volume turned by w and moved by t is V - w . (r x grad V) - t . grad V."""
    turn, move = -amplitudes[:, _TURNS], -amplitudes[:, _MOVES]
    turns = torch.linalg.matrix_exp(_cross(turn))
    rotations = images.rotations @ turns
    # Where the particle lies beside the centre, in its view.
    beside = (images.rotations @ move[:, :, None])[:, :2, 0]
    spectra = shifted(images.spectra, images.disc, -beside)
    moved = SeenImages(images.disc, spectra, images.ctf, rotations)
    return Repaired(moved, -beside, turns)


def _cross(vectors: Tensor) -> Tensor:
    """(N, 3, 3) such that the matrix times p is the cross product of the vector (N, 3) and p."""
    x, y, z = vectors.unbind(dim=1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)

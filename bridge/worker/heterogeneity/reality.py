"""Whether heterogeneity is real, asked of the user's own particles: what was measured, and what is said of it.

The thresholds are those of trials on simulated particles of known truth; each sentence gives the trial's figures, so
that a reader can weigh a number that is near a threshold.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.subspace import (
    MODES,
    NULL_FACTOR,
    AgainstNoise,
    Consensus,
    SeenImages,
    Split,
    Subspace,
    SubspaceFit,
    agreement_in_parts,
    explained_by_group,
    explained_by_number,
    explained_by_view,
    low_passed,
    pose_tangents,
    power_within,
    share_within,
    shared_directions,
    split_of,
)
from cryobridge.core.training import generator_at
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ..loop import Progress
from ..report.page import Judged
from ..report.quantities import angstrom
from .objects import Objects, objects_named

WRONG_POSES = 0.5
"""Share of a mode inside the span of pose errors from which on it is taken for one."""
_CONTRAST = 0.5
_HALVES_AGREE = 0.7
_BY_LITTLE = 3.0
"""Times the first eigenvalue of the null: up to it the halves decide. Sets of one state had 1.1 to 1.6."""
_WEAK, _BY_CHANCE = 0.6, 2.0
"""Cosine of the halves' first direction from which on there may be something below noise, and over that of chance."""
_SHARED, _OVER_CHANCE = 0.8, 1.3
"""Cosine of the halves' directions from which on a mode is in both, and over that of chance."""
_LEAST_SHARE = 0.005
"""Of the consensus' power that a mode has; noise-free images of one volume left a mode of 0.004."""
_EXPLAINED = 0.1
_JUNK_RADIUS = 14 / 32
"""Of Nyquist, up to which images are compared with the consensus."""
_FEWEST = 8
_NULL = 21


@dataclass(frozen=True)
class SubspaceControls:
    """What was measured of a subspace of K modes.

    Attributes
    ----------
    noise
        Eigenvalues against those of residuals permuted over poses.
    halves
        (K,) cosines of the directions that both halves of the particles have.
    by_chance
        The first such cosine of these modes and those of the permuted residuals, which have none in common.
    power
        (K,) variance of each mode over the power of the consensus, as far as the modes reach.
    in_pose_errors, in_contrast
        (K,) share of each mode inside the span of pose errors, and along the consensus itself.
    agreement
        (N,) normalised correlation of each image with the consensus.
    split
        Where they are cut in two.
    """

    noise: AgainstNoise
    halves: Tensor
    by_chance: float
    power: Tensor
    in_pose_errors: Tensor
    in_contrast: Tensor
    agreement: Tensor
    split: Split

    @property
    def kept(self) -> int:
        """Modes above noise; none where the first is by little, and the halves do not have it."""
        return 0 if self.is_by_little else self.noise.kept

    @property
    def is_by_little(self) -> bool:
        """Whether the first mode is hardly above noise, and not one that both halves of the particles have."""
        return NULL_FACTOR < self.noise.ratio < _BY_LITTLE and float(self.halves[0]) < _HALVES_AGREE

    @property
    def shared(self) -> int:
        """Modes that both halves of the particles have."""
        return int((self.halves > max(_SHARED, _OVER_CHANCE * self.by_chance)).long().cumprod(0).sum())

    @property
    def worth_keeping(self) -> int:
        """Modes above noise or in both halves, at least one."""
        return max(1, self.kept, self.shared)

    @property
    def poses_doubted(self) -> bool:
        """Whether a mode that is kept is mostly what wrong poses look like."""
        return bool((self.in_pose_errors[: self.kept] > WRONG_POSES).any())

    @property
    def is_weak(self) -> bool:
        """Whether no mode is above noise, yet the halves find the same one, as chance does not."""
        return self.kept == 0 and float(self.halves[0]) > max(_WEAK, _BY_CHANCE * self.by_chance)

    @property
    def is_interpolation(self) -> bool:
        """Whether the first mode is above noise, but no larger than what interpolation between voxels leaves."""
        return self.kept > 0 and float(self.power[0]) < _LEAST_SHARE

    @property
    def junk(self) -> NDArray[np.int64]:
        """Which images agree with the consensus so little that they may show no particle; from 0 on."""
        if not self.split.is_clear:
            return np.zeros(0, np.int64)
        return torch.nonzero(self.agreement < self.split.threshold)[:, 0].cpu().numpy().astype(np.int64)

    def metrics(self) -> dict[str, float | int | bool]:
        """The numbers that decide, for the result."""
        return {
            "eigenvalue_over_null": round(self.noise.ratio, 3),
            "modes_above_noise": self.kept,
            "modes_in_both_halves": self.shared,
            "halves_cosine": round(float(self.halves[0]), 4),
            "halves_by_chance": round(self.by_chance, 4),
            "share_of_power": round(float(self.power[0]), 6),
            "largest_share_in_pose_errors": round(float(self.in_pose_errors[: max(self.kept, 1)].max()), 4),
            "poses_doubted": self.poses_doubted,
            "junk": len(self.junk),
        }

    def table(self) -> str:
        """A row for each mode, as CSV."""
        rows = [
            "mode,eigenvalue,null_eigenvalue,over_first_of_null,halves_cosine,share_of_power,share_pose_errors,"
            "share_contrast"
        ]
        columns = [self.noise.eigenvalues, self.noise.null, self.noise.eigenvalues / self.noise.null[0]]
        columns += [self.halves, self.power, self.in_pose_errors, self.in_contrast]
        for number, row in enumerate(torch.stack([column.cpu() for column in columns], dim=1).tolist(), 1):
            rows.append(",".join([str(number), *(f"{value:.6g}" for value in row)]))
        return "\n".join(rows) + "\n"


def controls_of(
    images: SeenImages,
    consensus: Consensus,
    fit: SubspaceFit,
    subspace: Subspace,
    residuals: Tensor,
    *,
    seed: int = 0,
    object_of: Tensor | None = None,
) -> Generator[Progress | None, None, SubspaceControls]:
    """Measure; progress goes from 0 to 1. It takes about twice as long as the fit.

    Parameters
    ----------
    images
        That the subspace was fitted on, N.
    fit, subspace
        The fit on their residuals, and what it found.
    residuals
        (N, M) spectra without the consensus.
    object_of
        (N,) which object each image shows; None where every image shows its own.
    """
    modes, rounds, radius = subspace.modes, len(subspace.log_likelihood), subspace.grid.radius
    if len(images) < 2 * _FEWEST:
        raise ValueError(f"{len(images)} images are too few for controls")
    yield Progress("the same with permuted poses", 0.0)
    order = torch.randperm(len(images), generator=generator_at(seed, _NULL)).to(residuals.device)
    null = yield from fit.fit_in_parts(modes, rounds, seed=seed, order=order)
    halves: list[Subspace] = []
    left = images.with_spectra(residuals)
    for half in (0, 1):
        yield Progress(f"half {half + 1} of the particles", 0.45 + 0.25 * half)
        some = half_of(len(images), half, object_of).to(residuals.device)
        of_half = SubspaceFit(left.of(some), radius, consensus.prior_power)
        halves.append((yield from of_half.fit_in_parts(modes, rounds, seed=seed)))
    shown = low_passed(consensus.volume, radius)
    reach = min(_JUNK_RADIUS * images.disc.box / 2, float(images.disc.radii[-1]))
    alike = yield from agreement_in_parts(consensus, images, max(reach, 2.0))
    return SubspaceControls(
        AgainstNoise(subspace.eigenvalues.cpu(), null.eigenvalues.cpu()),
        shared_directions(halves[0], halves[1]).cpu(),
        float(shared_directions(subspace, null)[0]),
        (subspace.eigenvalues / power_within(subspace.grid, consensus.volume)).cpu(),
        share_within(subspace, pose_tangents(shown)).cpu(),
        share_within(subspace, shown[None]).cpu(),
        alike,
        split_of(alike),
    )


def half_of(count: int, half: int, object_of: Tensor | None) -> Tensor:
    """Every second of so many images, from the first or the second on; of every second object all, if there are two."""
    if object_of is None:
        return torch.arange(half, count, 2)
    which = objects_named(object_of.cpu().numpy()).of_row
    return torch.from_numpy(np.flatnonzero(which % 2 == half)) if which.any() else torch.arange(half, count, 2)


def associations(latents: NDArray[np.float32], particles: ParticleSet) -> dict[str, Tensor]:
    """What latents (N, K) may go with that is not of the particle: by name, shares (K,) of their variance.

    Of a tilt series each object is there once, by its first image: all its images have one latent, and chance is told
    by how many there are.
    """
    objects = Objects.of(latents, particles)
    if not objects.are_rows:
        latents, particles = latents[objects.firsts], particles.of(objects.firsts)
    z, found = torch.from_numpy(latents), {}
    if particles.ctf is not None:
        found["defocus"] = explained_by_number(z, torch.from_numpy(particles.ctf.defocus_u_A))
    if particles.rotations is not None:
        found["direction of view"] = explained_by_view(z, torch.from_numpy(particles.rotations))
    if particles.shifts_A is not None:
        for axis, name in enumerate("xy"):
            found[f"shift in {name}"] = explained_by_number(z, torch.from_numpy(particles.shifts_A[:, axis]))
    for name, groups in (("optics group", particles.optics_group), ("micrograph", particles.micrograph)):
        if len(np.unique(groups)) > 1:
            found[name] = explained_by_group(z, torch.from_numpy(groups))
    return found


def verdict_of(controls: SubspaceControls, explained: Mapping[str, Tensor]) -> Judged:
    """In a few words whether the heterogeneity is real, and in numbers why; doubts are the `warnings_of` them."""
    noise, kept = controls.noise, controls.kept
    reasons = [_against_noise(noise), _against_halves(controls)]
    if controls.is_by_little:
        reasons.append(
            f"The first mode is above noise by little, and the halves do not have it (cosine "
            f"{float(controls.halves[0]):.2f}): it is taken for noise."
        )
    if controls.shared > kept > 0:
        reasons.append(
            f"Both halves have {controls.shared} modes. What single images have too much or too little of, as junk "
            "does, is in the permuted residuals as well, and may hide modes that are real."
        )
    if controls.is_weak:
        return Judged("nothing above noise, but both halves agree", reasons, "careful")
    if kept == 0:
        return Judged("nothing found", reasons, "bad")
    if controls.poses_doubted:
        return Judged("may be wrong poses", reasons, "bad")
    if float(controls.halves[0]) < _HALVES_AGREE:
        return Judged("more than noise, but not the same in both halves of the particles", reasons, "careful")
    if warnings_of(controls, explained):
        return Judged("there is something, but look at the warnings", reasons, "careful")
    return Judged(f"{kept} {'mode' if kept == 1 else 'modes'} above noise", reasons, "good")


def warnings_of(controls: SubspaceControls, explained: Mapping[str, Tensor]) -> list[str]:
    """One sentence for each threshold that was passed."""
    kept, found = controls.kept, []
    if controls.is_weak:
        return [
            "No mode stands out from noise, yet both halves of the particles find the same first one (cosine "
            f"{float(controls.halves[0]):.2f}; {controls.by_chance:.2f} by chance): weak evidence that particles "
            "differ. More particles or images of each would decide; single latents say little."
        ]
    if kept == 0:
        return [
            "Nothing was found: no mode stands out from noise. Do not read anything into the latents and the volumes; "
            "they are what noise gives."
        ]
    if float(controls.halves[0]) < _HALVES_AGREE:
        found.append(
            f"The two halves of the particles do not agree on a mode (cosine {float(controls.halves[0]):.2f}; 0.98 "
            "where the trials had heterogeneity, 0.32 where they had none)."
        )
    if controls.is_interpolation:
        found.append(
            f"The first mode has {float(controls.power[0]):.2%} of the consensus' power: interpolation between voxels "
            f"leaves as much (0.38 % in noise-free images of one volume), so below {_LEAST_SHARE:.1%} a mode may be of "
            "the computation and not of the particles."
        )
    if controls.poses_doubted:
        shares = ", ".join(f"{value:.2f}" for value in controls.in_pose_errors[:kept].tolist())
        found.append(
            f"Much of the modes ({shares}) lies in the span of what small errors of poses look like, which is the main "
            "false positive (0.86, 0.80, 0.66 in the trial with errors of 3 degrees an angle, at most 0.4 with exact "
            "poses). Refine the poses, or let this job repair them with 'repair_poses', before you believe a motion of "
            "the whole."
        )
    for number, share in enumerate(controls.in_contrast[:kept].tolist(), 1):
        if share > _CONTRAST:
            found.append(
                f"Mode {number} is mostly the consensus itself ({share:.2f}): contrast differs between particles, as "
                "with the thickness of the ice, or some images show no particle; that is no heterogeneity of the "
                "molecule."
            )
    found += [
        f"Latent {number + 1} goes with the {name}, which explains {share:.0%} of its variance: what it shows may not "
        "be of the particle."
        for name, shares in explained.items()
        for number, share in enumerate(shares[:kept].tolist())
        if share > _EXPLAINED
    ]
    if len(controls.junk):
        found.append(
            f"{len(controls.junk)} of {len(controls.agreement)} images agree with the consensus so much less than the "
            "others that they may show no particle; junk.npz lists them for vae.select."
        )
    return found


def may_not_be_concluded(radius: float, box: int, voxel_size_A: float) -> list[str]:
    """What no control can make up for."""
    return [
        f"Modes reach to {angstrom(box * voxel_size_A / radius)}: nothing finer than that was asked, and volumes have "
        "the consensus' own detail there.",
        "Linear modes add and remove density. A large motion takes several of them, and a volume half way along one "
        "need not be a state that exists.",
        "Latents of the particles that a model was fitted on are better than those of others would be; distances "
        "between latents are no energies.",
    ]


def _against_noise(noise: AgainstNoise) -> str:
    return (
        f"The first eigenvalue is {noise.ratio:.1f} times that of the same residuals permuted over the poses (kept "
        f"above {NULL_FACTOR:g}; the trials had 1.2 without heterogeneity, 11 to 14 with it, also at a signal-to-noise "
        f"ratio of 0.02); {noise.kept} of {len(noise.eigenvalues)} modes are above it."
    )


def _against_halves(controls: SubspaceControls) -> str:
    cosines = ", ".join(f"{value:.2f}" for value in controls.halves[:MODES].tolist())
    return (
        f"Directions that both halves of the particles have, each fitted apart on what one consensus of all leaves: "
        f"cosines {cosines} (the trials had .98, .95, .84 for a "
        "motion, .98, .16 for two states, .32, .04, .02 for nothing)."
    )

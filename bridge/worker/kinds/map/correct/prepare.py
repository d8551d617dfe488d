"""`map.correct`, first part: its files, read once, and the pair that the networks learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.correction import LowResolutions, Plan, ReadyPair
from cryobridge.core.correction import prepare as ready_pair
from cryobridge.core.diagnosis import symmetry_found
from cryobridge.core.fourier import half_of_centred, last_shell, radius, shell_index
from cryobridge.core.volume import operators, soft_sphere, solvent_mask
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.map.correct import CorrectInputs, CorrectOptions, MapCorrectJob

from ....jobs.limits import within_grid
from ....jobs.pretrained import StoredNetwork, pretrained_network, read_network
from ....jobs.volumes import Pair, Volume, read_map, read_pair, read_spectrum, under
from ..measured import Measured

WHITEN_FROM_A = 10.0
_LEAST_MASKED, _MOST_MASKED = 0.005, 0.4
"""Shares of the box; a made mask outside them did not find the particle."""

_FILTERED = (
    "The noise of the half-maps does not tell how well directions are measured, as where a program has regularised or "
    "filtered them: they are not filtered again, and their FSC in cones of 20 degrees tells it instead. Unfiltered "
    "half-maps would be better."
)


@dataclass(frozen=True)
class Files:
    """What a job reads, each file once; None for what was not given; and the options that fit a given network."""

    pair: Pair
    network_options: CorrectionOptions
    fsc3d: Volume | None = None
    reference: Volume | None = None
    network: StoredNetwork | None = None


@dataclass(frozen=True)
class Prepared:
    """Two half-maps ready for training, and what is known of them.

    pair
        As it was read; with the mask that was made, where none was given.
    measured
        The half-maps, their mask, FSC and limit.
    ready
        What the networks learn from and the final maps are made of.
    mask_made, fsc3d_given
        Whether the mask was made here, and the 3DFSC read from a file.
    choices
        What was decided here and a user should know, in sentences.
    """

    pair: Pair
    measured: Measured
    ready: ReadyPair
    mask_made: bool
    fsc3d_given: bool
    choices: list[str] = field(default_factory=list)

    @property
    def originals(self) -> tuple[Tensor, Tensor]:
        """Both half-maps as they were read."""
        return self.ready.halves

    @property
    def mask(self) -> Tensor | None:
        """The mask, or None where the whole box counts."""
        return self.ready.mask

    @property
    def fsc3d(self) -> Tensor:
        """How well each Fourier voxel is measured, (n, n, n // 2 + 1) in [0, 1]."""
        return self.ready.fsc3d

    @property
    def limit_A(self) -> float:
        """Up to where the networks' maps count."""
        return self.ready.limit_A


def read_files(
    inputs: CorrectInputs,
    network: CorrectionOptions,
    voxel_size_A: float | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008
    *,
    pretrained: bool = False,
    chosen: Collection[str] = (),
) -> Files:
    """Read every file before anything is computed or written; that takes seconds, a training takes hours.

    `pretrained`: start from our own network where none is given. What was not `chosen` of a network's shape is that of
    the file.

    Raises
    ------
    InputInvalid
        If one cannot be used, or the network is not what the options want.
    """
    pair = read_pair(inputs, voxel_size_A, device)
    fsc3d = None if inputs.fsc3d is None else read_spectrum(inputs.fsc3d, pair.half1)
    reference = None if inputs.reference is None else read_map(inputs.reference, like=pair.half1)
    stored = None
    if inputs.network is not None:
        stored = read_network(inputs.network)
    elif pretrained:
        stored = pretrained_network()
    if stored is not None:
        network = stored.fitting(network, chosen)
        stored.started(network, "cpu")
    return Files(pair, network, fsc3d, reference, stored)


def prepare(job: MapCorrectJob, files: Files, device: torch.device) -> Prepared:
    """Measure the half-maps of a job.

    Raises
    ------
    InputInvalid
        If an input cannot be used, or the half-maps agree at no resolution.
    """
    options, pair, choices = job.options, files.pair, list[str]()
    mask_made = pair.mask is None and options.method == "improved"
    if mask_made:
        pair = under(pair, _made_mask(pair, job.output / "mask.mrc", choices), device)
    voxel_A = pair.voxel_size_A
    measured = Measured(pair, job.inputs, device, options.limit_resolution_A)
    _check_symmetry(measured, job, choices)
    choices[:0] = [*measured.remarks, *(() if files.reference is None else files.reference.remarks)]
    limit_A, given = measured.limit_A, None
    if files.fsc3d is not None:
        given = _centre_first(files.fsc3d, device)
        ends = int(shell_index(pair.box, device)[given > 0].max())
        if 0 < ends < last_shell(pair.box, voxel_A, limit_A):
            ends_A = pair.box * voxel_A / ends
            choices.append(f"{files.fsc3d.path} ends at {ends_A:.2f} A, so the correction ends there too.")
            limit_A = ends_A
    plan = dataclasses.replace(plan_of(options, limit_A), given_fsc3d=given, rotations=operators(options.symmetry))
    if files.reference is not None:
        within_grid("reference_resolution_A", options.reference_resolution_A, files.reference.path, pair.box, voxel_A)
        reference = files.reference.data.to(device)
        plan = dataclasses.replace(plan, low=LowResolutions((reference, reference), options.reference_resolution_A))
    ready = ready_pair((measured.half1, measured.half2), measured.mask, voxel_A, plan)
    if ready.filtered:
        choices.append(_FILTERED)
    return Prepared(
        pair=pair,
        measured=measured,
        ready=ready,
        mask_made=mask_made,
        fsc3d_given=given is not None,
        choices=choices,
    )


def plan_of(options: CorrectOptions, limit_A: float) -> Plan:
    """How the options prepare half-maps for networks, up to a limit."""
    return Plan(
        limit_A=limit_A,
        whiten_from_A=WHITEN_FROM_A if options.whitens else None,
        low_pass=options.method == "published",
        half_angle_deg=options.half_angle_deg,
        weighting="c_ref" if options.weighting == "noise" else options.weighting,
        level=options.weighting == "noise",
        apart=options.is_independent,
    )


def whitened(options: CorrectOptions, limit_A: float) -> bool:
    """Whether the networks see whitened halves."""
    return options.whitens and limit_A < WHITEN_FROM_A


def _check_symmetry(measured: Measured, job: MapCorrectJob, choices: list[str]) -> None:
    """Refuse a point group that the half-maps do not have; say so where that is in doubt."""
    found = symmetry_found(measured.half1, measured.half2, measured.mask, job.options.symmetry)
    if found.level == "lacks":
        raise InputInvalid(
            f"{job.inputs.half1} and {job.inputs.half2.name}: {found.sentence}; give the point group that they have, "
            "or C1, and turn or move the maps if need be"
        )
    if found.sentence is not None:
        choices.append(f"Look at the symmetry: {found.sentence}.")


def _centre_first(spectrum: Volume, device: torch.device) -> Tensor:
    """A 3DFSC from a file as a half spectrum (n, n, n // 2 + 1), DC first, in [-1, 1]."""
    half = half_of_centred(spectrum.data.to(device)).clamp(-1.0, 1.0)
    n = spectrum.box
    inner, outer = radius(n, device) < 2, radius(n, device) >= n // 2 - 1
    if float(half[inner].mean()) <= float(half[outer].mean()):
        raise InputInvalid(
            f"{spectrum.path}: it is no larger at the centre of its box than at the edges; a 3DFSC with the origin at "
            "the centre is needed, as FSC3D.mrc of map.fsc3d"
        )
    return half


def _made_mask(pair: Pair, path: Path, choices: list[str]) -> Volume:
    """A solvent mask of both halves together or, where that does not find a particle, a soft sphere."""
    n = pair.box
    try:
        smooth_A = max(15.0, 4 * pair.voxel_size_A)
        mask = solvent_mask((pair.half1.data + pair.half2.data) / 2, pair.voxel_size_A, lowpass_A=smooth_A)
        share = float(mask.mean())
        if not _LEAST_MASKED <= share <= _MOST_MASKED:
            raise ValueError(f"it covers {share:.1%} of the box")
        choices.append("No mask was given: a solvent mask was made from the mean of the half-maps, mask.mrc.")
    except ValueError as error:
        edge = min(5.0, n / 8)
        mask = soft_sphere(n, n / 2 - 1 - edge, edge)
        choices.append(f"No mask was given and none could be made ({error}): a soft sphere is used, mask.mrc.")
    return Volume(path, mask, pair.voxel_size_A)

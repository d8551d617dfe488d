"""The first part of a call: RELION's sums of one half-map to its standard map, and what the correction needs later."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from cryobridge.core.fourier import resolution
from cryobridge.core.relion import Style, SumsGeometry, reconstruct, wiener_gain
from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.relion import RelionOptions, resolve_options
from cryobridge.schemas.worker_messages import HalfTask, StandardMade
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.particles import read_star_angles
from cryobridge.wrappers.relion.jobdir import MAX_TEXT_BYTES, RefinementFacts, refinement_facts
from cryobridge.wrappers.relion.sums import CallDescription, Sums, read_description, read_sums

from ..loop import Progress
from .due import Due, decide
from .history_page import history_page

_UNKNOWN_A = 1.0
"""RELION reads no voxel size from the map that it gets back."""
_NO_VOXEL_SIZE = (
    "the pixel size is neither in the call (RELION 3.1) nor in the previous model file; nothing is corrected"
)


@dataclass
class KeptHalf:
    """What is kept of one call until its iteration is answered. Tensors live on the host.

    `standard` and `unregularised` are (n, n, n) maps, `gain` is the (n, n, n//2+1) Wiener gain in [0, 1),
    `fsc` the (n//2+1,) half-map FSC that RELION measured from the uncorrected sums of this iteration.
    """

    task: str
    warm_key: str
    half: int
    iteration: int
    voxel_size_A: float
    geometry: SumsGeometry
    options: RelionOptions
    facts: RefinementFacts
    standard: torch.Tensor
    fsc: torch.Tensor
    unregularised: torch.Tensor | None = None
    gain: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    starting_reference: torch.Tensor | None = None
    angles_deg: torch.Tensor | None = None
    descriptors: dict[str, int] = field(default_factory=dict)

    @property
    def box(self) -> int:
        """Voxels along a side of the map."""
        return self.geometry.box

    def limit_resolution_A(self) -> float:
        """Where the FSC of this iteration falls below the chosen threshold; infinite if it is never above."""
        return resolution(self.fsc, self.voxel_size_A, 0.5 if self.options.fsc_05 else 0.143, box=self.box)


def named_descriptors(names: Sequence[str], fds: Sequence[int]) -> dict[str, int]:
    """Match a frame's descriptors with the names it gives them."""
    if len(names) != len(fds):
        raise InputInvalid(f"{len(fds)} descriptors came under {len(names)} names; hook and daemon do not match")
    return dict(zip(names, fds, strict=True))


def standard_half(
    frame: HalfTask, fds: Sequence[int], device: torch.device
) -> Generator[Progress | None, None, tuple[KeptHalf, StandardMade]]:
    """Make the standard map of one call and say whether a correction is due.

    Yields between the reading and the reconstruction. Returns the half to keep (still without what only a
    correction needs) and the `standard` reply.

    Raises
    ------
    InputInvalid
        If RELION's files are missing, truncated, not finite or do not fit together.
    """
    started = time.monotonic()
    descriptors = named_descriptors(frame.fd_names, fds)
    prefix = f"half{frame.half}."
    sums = _sums(descriptors, prefix)
    description, facts = sums.description, _facts(descriptors)
    options, notes = _options(frame, facts)
    voxel_size_A = description.pixel_size_A or facts.pixel_size_A
    for note in notes:
        yield Progress(note)

    style = description.style if options.style == "auto" else options.style
    standard = _standard_map(sums, style, _gridding(options, facts), device)
    written = mrc.write(_given(descriptors, f"{prefix}standard"), standard.numpy(), voxel_size_A or _UNKNOWN_A)
    yield None

    kept = _kept(frame, description, options, facts, voxel_size_A, standard)
    if voxel_size_A is None:
        verdict = Due(False, Code.INPUT_INVALID, _NO_VOXEL_SIZE)
    else:
        verdict = _verdict(kept, frame.kind, has_room=f"{prefix}corrected" in descriptors)
    if verdict.due:
        verdict = _prepared(kept, sums, descriptors, device)
    reply = StandardMade(
        task=frame.task,
        half=frame.half,
        size=written.size,
        crc32=written.crc32,
        seconds=round(time.monotonic() - started, 3),
        style=style,
        due=verdict.due,
        code=verdict.code,
        line=verdict.line,
        resolution_A=_resolution_A(kept),
        report=history_page(descriptors, frame.iteration),
        wait_partner_s=options.partner_wait_s,
        deadline_s=options.deadline_s,
    )
    return kept, reply


def _kept(
    frame: HalfTask,
    description: CallDescription,
    options: RelionOptions,
    facts: RefinementFacts,
    voxel_size_A: float | None,
    standard: torch.Tensor,
) -> KeptHalf:
    return KeptHalf(
        task=frame.task,
        warm_key=f"{frame.session}#{frame.kind}{frame.number:03d}",
        half=frame.half,
        iteration=frame.iteration,
        voxel_size_A=voxel_size_A or _UNKNOWN_A,
        geometry=description.geometry,
        options=options,
        facts=facts,
        standard=standard,
        fsc=torch.from_numpy(description.fsc),
    )


def _sums(descriptors: Mapping[str, int], prefix: str) -> Sums:
    description = read_description(_given(descriptors, f"{prefix}star"), name="the call's STAR file")
    parts = (_given(descriptors, f"{prefix}{part}") for part in ("data_real", "data_imag", "weight"))
    return read_sums(description, *parts)


def _options(frame: HalfTask, facts: RefinementFacts) -> tuple[RelionOptions, list[str]]:
    chosen = None if frame.hook_settings is None else frame.hook_settings.as_settings()
    return resolve_options(frame.environment, facts.command_line, frame.settings, chosen)


def _standard_map(sums: Sums, style: Style, use_gridding: bool | None, device: torch.device) -> torch.Tensor:
    """Reconstruct as RELION does; (n, n, n), on the host."""
    description = sums.description
    standard = reconstruct(
        sums.data.to(device),
        sums.weight.to(device),
        description.geometry,
        description.tau2,
        fudge=description.fudge,
        style=style,
        use_gridding=use_gridding,
    ).cpu()
    if not torch.isfinite(standard).all():
        raise InputInvalid("the reconstruction from RELION's sums is not finite; look at the data and weight files")
    return standard


def _verdict(kept: KeptHalf, kind: str, *, has_room: bool) -> Due:
    """Whether to correct this half; `has_room`: the hook handed over a file for the corrected map."""
    fsc_A = resolution(kept.fsc, kept.voxel_size_A, 0.143, box=kept.box)
    verdict = decide(
        kept.options,
        kept.facts,
        half=kept.half,
        iteration=kept.iteration,
        resolution_A=None if math.isinf(fsc_A) else fsc_A,
        kind=kind,
    )
    if verdict.due and not has_room:
        # The hook makes room for both maps before it calls; where it could not, it hands over one file only.
        return Due(False, Code.DISK_FULL, "there is no room on the disk for a corrected map")
    return verdict


def _resolution_A(kept: KeptHalf) -> float | None:
    """For the records; None where the voxel size is not known or the halves agree nowhere."""
    found = resolution(kept.fsc, kept.voxel_size_A, 0.143, box=kept.box)
    known = kept.voxel_size_A != _UNKNOWN_A and kept.half != 0
    return round(found, 3) if known and math.isfinite(found) else None


def _prepared(kept: KeptHalf, sums: Sums, descriptors: dict[str, int], device: torch.device) -> Due:
    """Keep what a correction needs; a file that only it needs and cannot be used does not cost the standard map."""
    try:
        _prepare_correction(kept, sums, descriptors, device)
    except InputInvalid as error:
        return Due(False, Code.INPUT_INVALID, str(error))
    return Due(True)


def _prepare_correction(kept: KeptHalf, sums: Sums, descriptors: dict[str, int], device: torch.device) -> None:
    """Keep what the joint step needs, and let the padded sums (gigabytes at large boxes) go."""
    description = sums.description
    data, weight = sums.data.to(device), sums.weight.to(device)
    # The network does not need the gridding iterations: they change an unregularised map by less than its noise.
    kept.unregularised = reconstruct(
        data, weight, description.geometry, description.tau2, style="relion5", regularised=False
    ).cpu()
    kept.gain = wiener_gain(weight, description.geometry, description.tau2, fudge=description.fudge).cpu()
    if "mask" in descriptors:
        kept.mask = _map(descriptors["mask"], kept.facts.solvent_mask or "the solvent mask")
        if kept.mask.shape != kept.standard.shape:
            raise InputInvalid(
                f"{kept.facts.solvent_mask}: the solvent mask is {tuple(kept.mask.shape)}, the map "
                f"{tuple(kept.standard.shape)}; make the mask in the refinement's box"
            )
    reference = descriptors.get(f"reference_start.{kept.half}")
    if reference is not None and kept.options.keep_lowres:
        kept.starting_reference = _map(reference, "the starting reference")
    if kept.options.sampling_density and "data" in descriptors:
        kept.angles_deg = _angles_deg(descriptors["data"])
    for name in ("data", "session_in", "session_out", f"half{kept.half}.corrected"):
        if name in descriptors:
            kept.descriptors[name.removeprefix(f"half{kept.half}.")] = descriptors[name]


def _facts(descriptors: dict[str, int]) -> RefinementFacts:
    texts = {
        name: _text(descriptors[name])
        for name in ("optimiser_start", "optimiser", "sampling", "model")
        if name in descriptors
    }
    return refinement_facts(**texts)


def _gridding(options: RelionOptions, facts: RefinementFacts) -> bool | None:
    """Say what RELION was told of gridding; None when nothing, so that the style's own default holds."""
    words = facts.command_line.split() if options.style == "auto" else []
    if "--dont_skip_gridding" in words:
        return True
    return False if "--skip_gridding" in words else None


def _given(descriptors: Mapping[str, int], name: str) -> int:
    fd = descriptors.get(name)
    if fd is None:
        raise InputInvalid(f"the hook did not hand over '{name}'; hook and daemon do not match")
    return fd


def _map(fd: int, name: str) -> torch.Tensor:
    return torch.from_numpy(mrc.read(fd, name=name)[0])


def _angles_deg(fd: int) -> torch.Tensor:
    """Read rot, tilt, psi (m, 3) of a particle STAR file."""
    return torch.from_numpy(read_star_angles(fd, "the particle STAR file"))


def _text(fd: int) -> str:
    """The beginning of one of RELION's files, as much as can be of use: what is looked for stands there."""
    return os.pread(fd, MAX_TEXT_BYTES, 0).decode(errors="replace")

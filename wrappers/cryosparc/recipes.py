"""What a kind of job takes from CryoSPARC and gives back, derived from what its class declares.

A kind says of each input and output what it is (`schemas.paths.Holds`, `schemas.outputs.Output`); here that is put into
CryoSPARC's words: groups with slots. A new kind needs nothing here unless it brings a new sort of file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cryobridge.schemas.describe import FieldDescription, KindDescription, describe_kind
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.schemas.outputs import Output
from cryobridge.schemas.paths import Holds

GroupType = Literal["volume", "mask", "particle"]
VOLUME, MASK, PARTICLES = "volume", "mask", "particles"
HALVES = "volume_corrected_halves"
OWN_MASKS = ("mask_refine", "mask_fsc", "mask_fsc_auto")
"""Masks that come with a refinement's volume, the one that is taken first before the others."""
_PARTS = {"images": "blob", "ctf": "ctf", "views": "alignments3D", "location": "location"}


@dataclass(frozen=True)
class Slot:
    """One result of a group: its name, CryoSPARC's type of it, and whether a job can do without."""

    name: str
    dtype: str
    required: bool = True


@dataclass(frozen=True)
class InputGroup:
    """An input of an external job.

    Attributes
    ----------
    feeds
        The job's input that each slot is for; several slots may be for one, the first that is there is taken.
    """

    name: str
    type: GroupType
    title: str
    required: bool
    slots: tuple[Slot, ...]
    feeds: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OutputGroup:
    """An output of an external job.

    Attributes
    ----------
    roles
        Slot and role of the file that goes into it, for each slot; of particles the one file is a table, whose own
        slots count.
    passthrough
        The input whose other slots it inherits, or None.
    numbered
        Pattern of the files where there may be several, each of which is an output of its own; else empty.
    """

    name: str
    type: GroupType
    title: str
    roles: tuple[tuple[Slot, str], ...]
    passthrough: str | None
    numbered: str = ""


@dataclass(frozen=True)
class CardRecipe:
    """A kind of job as an external job.

    Attributes
    ----------
    project
        The job's input that is the folder of the project, and whether it is needed; None where there is none.
    """

    kind: str
    help: str
    inputs: tuple[InputGroup, ...]
    outputs: tuple[OutputGroup, ...]
    project: tuple[str, bool] | None = None

    def input(self, name: str) -> InputGroup:
        """The input of this name."""
        return next(group for group in self.inputs if group.name == name)


def recipe_of(model: type[Job]) -> CardRecipe:
    """Derive how a kind runs as an external job.

    Raises
    ------
    JobRejected
        If it needs an input that no job of CryoSPARC has, or two that cannot be told apart there.
    """
    described = describe_kind(model)
    inputs = tuple(_input_groups(described))
    project = (
        (field.key, field.required) for field in described.inputs if field.holds and field.holds.type == "project"
    )
    return CardRecipe(
        described.kind,
        f"{described.summary}.",
        inputs,
        tuple(_output_groups(described.outputs, {group.name for group in inputs})),
        next(project, None),
    )


def recipes() -> dict[str, CardRecipe]:
    """Every kind that can run as an external job."""
    found = {}
    for kind in user_kinds():
        try:
            recipe = recipe_of(JOB_MODELS[kind])
        except JobRejected:
            continue
        if recipe.inputs:
            found[kind] = recipe
    return found


# ---- inputs


@dataclass
class _Growing:
    type: GroupType
    title: str
    required: bool
    slots: list[Slot]
    feeds: list[tuple[str, str]]


def _input_groups(kind: KindDescription) -> Iterator[InputGroup]:
    growing: dict[str, _Growing] = {}
    takes_mask = False
    for field in kind.inputs:
        holds = field.holds
        place = None if holds is None else _place(holds)
        if holds is None or place is None:
            if field.required and (holds is None or holds.type != "project"):
                raise JobRejected(
                    f"{kind.kind} cannot run as a job of CryoSPARC: no job there has its input '{field.key}'"
                )
            continue
        takes_mask = takes_mask or (holds.type == "mask" and not field.required)
        _add(growing, field, *place)
    if takes_mask and VOLUME in growing:
        for name in OWN_MASKS:
            growing[VOLUME].slots.append(Slot(name, "blob", required=False))
            growing[VOLUME].feeds.append((name, "mask"))
    for name, group in growing.items():
        fed = [slot for slot, _ in group.feeds]
        if len(set(fed)) < len(fed):
            raise JobRejected(f"{kind.kind} cannot run as a job of CryoSPARC: two of its inputs are one '{name}' there")
        yield InputGroup(name, group.type, group.title, group.required, tuple(group.slots), tuple(group.feeds))


def _add(
    growing: dict[str, _Growing],
    field: FieldDescription,
    name: str,
    type_: GroupType,
    slots: tuple[Slot, ...],
) -> None:
    title = (field.help or field.key).split(";")[0]
    group = growing.setdefault(name, _Growing(type_, title, False, [], []))
    group.required = group.required or field.required
    if len(group.slots) > 0:
        group.title = {VOLUME: "refinement whose half-maps are used"}.get(name, name.replace("_", " "))
    group.slots += slots
    # Of particles all slots are columns of one table.
    group.feeds += [(slot.name, field.key) for slot in slots]


def _place(holds: Holds) -> tuple[str, GroupType, tuple[Slot, ...]] | None:
    """Group, its type, and slots for an input; None for what no job of CryoSPARC has."""
    if holds.type == "half_map":
        which, base = holds.role[-1:], holds.role[:-1]
        slot = Slot({"1": "map_half_A", "2": "map_half_B"}[which], "blob")
        return VOLUME if base == "half" else {"corrected": HALVES}.get(base, _fit(base)), "volume", (slot,)
    if holds.type in ("map", "fourier_volume"):
        return _fit(holds.role or VOLUME), "volume", (Slot("map", "blob"),)
    if holds.type == "mask":
        return MASK, "mask", (Slot("mask", "blob"),)
    if holds.type == "particles" and holds.role != "passthrough":
        parts = [(_PARTS.get(part.lstrip("?"), ""), not part.startswith("?")) for part in holds.parts or ("images",)]
        if all(name for name, _ in parts):
            slots = tuple(Slot(name, name, required) for name, required in parts)
            return _fit(holds.role or PARTICLES), "particle", slots
    return None


def _fit(name: str) -> str:
    """A name that is fit for CryoSPARC, where it becomes part of a URL and of names of files."""
    return re.sub("[^A-Za-z0-9_]", "_", name)


# ---- outputs

_TABLE = Slot("", "")
"""In the place of the slots of a table of particles, which are known when it is written."""
_TITLES = {
    VOLUME: "Volume",
    HALVES: "Corrected half-maps (the FSC between them is not a resolution)",
    MASK: "Mask",
    PARTICLES: "Particles",
    "fsc3d": "3DFSC, by Fourier voxel (not a map)",
    "sampling": "Sampling of Fourier space (not a map)",
}


def _output_groups(outputs: tuple[Output, ...], inputs: set[str]) -> Iterator[OutputGroup]:
    groups: dict[tuple[str, str], tuple[GroupType, list[tuple[Slot, str]]]] = {}
    for output in outputs:
        place = _place_of_output(output)
        if place is not None:
            name, type_, slot = place
            numbered = output.pattern if "*" in output.pattern else ""
            groups.setdefault((name, numbered), (type_, []))[1].append((slot, output.role))
    for (name, numbered), (type_, roles) in groups.items():
        source = PARTICLES if type_ == "particle" else name
        # Of volumes with numbers each is another than the one that was connected; of tables each is some of its rows.
        inherits = source in inputs and source in (VOLUME, PARTICLES) and (type_ == "particle" or not numbered)
        passthrough = source if inherits else None
        title = _TITLES.get(name, name.replace("_", " ").capitalize())
        if passthrough == VOLUME:
            title += ", with the raw half-maps and masks of the one that was connected"
        yield OutputGroup(name, type_, title, tuple(roles), passthrough, numbered)


def _place_of_output(output: Output) -> tuple[str, GroupType, Slot] | None:
    """Group, its type and slot for an output; None for a file that only lies in the job's folder."""
    if output.type == "particles":
        # Only a table of CryoSPARC's can come back; a STAR file lies in the folder.
        return (_fit(output.role), "particle", _TABLE) if output.pattern.endswith(".cs") else None
    if output.type == "map" and "*" in output.pattern:
        return _fit(output.role), "volume", Slot("map", "blob")
    if output.type == "half_map" and output.always and output.role in ("half1", "half2"):
        return HALVES, "volume", Slot({"half1": "map_half_A", "half2": "map_half_B"}[output.role], "blob")
    if output.type == "map" and output.role in ("map", "sharpened"):
        return VOLUME, "volume", Slot({"map": "map", "sharpened": "map_sharp"}[output.role], "blob")
    if output.type == "fourier_volume":
        return _fit(output.role), "volume", Slot("map", "blob")
    if output.type == "mask":
        return MASK, "mask", Slot("mask", "blob")
    return None

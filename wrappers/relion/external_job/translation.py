"""An External job's command line as one of our jobs: what goes where follows from what the kind declares.

RELION's fields for inputs are matched to the kind's inputs by what they hold (`schemas.paths.Holds`), labels to its
inputs and options by all the names that these have. A new kind needs nothing here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryobridge.schemas.describe import FieldDescription, KindDescription, nested
from cryobridge.schemas.envelope import JOB_SCHEMA
from cryobridge.schemas.errors import InputInvalid, OptionsInvalid
from cryobridge.schemas.paths import HeldType

from .arguments import RELION_INPUTS, ExternalCall
from .half_maps import pair_of

DEFAULT_KIND = "map.correct"
"""Where a reference is given and no kind."""


@dataclass(frozen=True)
class _JobPlace:
    section: str
    field: FieldDescription

    @property
    def whole(self) -> str:
        return f"{self.section}.{self.field.key}"


@dataclass
class TranslatedJob:
    """A job, not yet checked.

    Attributes
    ----------
    spec
        As `schemas.job.parse_job` takes it; paths still start at the project.
    names
        What the keys of the job were called on the command line, for messages (`bridge.spoken`).
    notes
        What was taken for what, a line each.
    """

    spec: dict[str, Any]
    names: dict[str, str]
    notes: list[str] = field(default_factory=list)


def kind_of(call: ExternalCall) -> str:
    """The kind that is asked for.

    Raises
    ------
    OptionsInvalid
        If none is, and there is no reference to correct.
    """
    if call.kind:
        return call.kind
    if "in_3dref" in call.inputs:
        return DEFAULT_KIND
    raise OptionsInvalid(
        "",
        "which job? Give the parameter 'kind', e.g. vae.linear (docs/jobs.md has all kinds), or a half-map as "
        "'Input 3D reference' for map.correct",
    )


def translate(call: ExternalCall, kind: KindDescription, project: Path) -> TranslatedJob:
    """Make a job of a command line.

    Parameters
    ----------
    project
        RELION's project folder, where its paths start.

    Raises
    ------
    OptionsInvalid
        If a label is none of the kind's, is given twice, or has no value where it needs one.
    InputInvalid
        If the kind has no use for an input, or a half-map's partner is not found.
    """
    places = _places(kind)
    given: dict[str, tuple[_JobPlace, object]] = {}
    names = {place.whole: f"--{place.field.key}" for place in places.values()}
    for label, values in call.labels:
        place = _place_of(label, places, kind)
        if place.whole in given:
            raise OptionsInvalid("", f"{names[place.whole]} and --{label} are the same; give one")
        names[place.whole] = f"--{label}"
        given[place.whole] = place, _value(label, values, place.field)
    notes: list[str] = []
    for argument, text in call.inputs.items():
        for found, path in _inputs(argument, Path(text), kind, project, set(given)):
            place = _JobPlace("inputs", found)
            if place.whole in given:
                raise OptionsInvalid("", f"--{argument} and {names[place.whole]} are the same; give one")
            names[place.whole] = f"--{argument}"
            given[place.whole] = place, str(path)
            notes.append(f"{found.key}: {path}")
    if call.threads is not None and "run.threads" not in given:
        place = next(_JobPlace("run", one) for one in kind.run if one.key == "threads")
        names[place.whole] = "--j"
        given[place.whole] = place, call.threads
    spec: dict[str, Any] = {"schema": JOB_SCHEMA, "kind": kind.kind, "output": call.output}
    for section in ("inputs", "options", "run"):
        spec[section] = nested({place.field.key: value for place, value in given.values() if place.section == section})
    return TranslatedJob(spec, names, notes)


# ---- labels


def _places(kind: KindDescription) -> dict[str, _JobPlace]:
    """Where the value of each label goes; inputs go before options, and these before how the job is run."""
    places: dict[str, _JobPlace] = {}
    for section, fields in (("inputs", kind.inputs), ("options", kind.options), ("run", kind.run)):
        for one in fields:
            for spelling in (one.key, *one.aliases):
                places.setdefault(_alike(spelling), _JobPlace(section, one))
    return places


def _alike(label: str) -> str:
    return label.replace("_", "-").replace(".", "-")


def _place_of(label: str, places: dict[str, _JobPlace], kind: KindDescription) -> _JobPlace:
    place = places.get(_alike(label))
    if place is None:
        near = difflib.get_close_matches(_alike(label), places, n=1)
        hint = f"; did you mean {places[near[0]].field.key}?" if near else ""
        raise OptionsInvalid("", f"--{label}: {kind.kind} has no option of this name{hint}")
    return place


def _value(label: str, values: tuple[str, ...], one: FieldDescription) -> object:
    """A label's value as the kind's model takes it; the model itself checks it."""
    if one.is_flag and not values:
        return True
    if not values:
        raise OptionsInvalid("", f"--{label}: has no value; give one, or leave the label out")
    if one.type == "files":
        return list(values)
    if len(values) > 1 and one.type != "list":
        raise OptionsInvalid("", f"--{label}: takes one value, not {len(values)}: {' '.join(values)[:80]}")
    return ",".join(values)


# ---- RELION's fields


def _inputs(
    argument: str, path: Path, kind: KindDescription, project: Path, given: set[str]
) -> Iterator[tuple[FieldDescription, Path]]:
    """Which inputs of the kind a field of RELION's is for, and the file of each.

    Raises
    ------
    InputInvalid
        If the kind has no input of this sort, or several, of which one must be named.
    """
    if argument == "in_3dref":
        halves = [_only(kind, "half_map", role) for role in ("half1", "half2")]
        if halves[0] is not None and halves[1] is not None:
            yield from _halves(halves[0], halves[1], path, kind, project, given)
            return
    sorts: dict[str, tuple[HeldType, ...]] = {
        "in_3dref": ("map",),
        "in_mask": ("mask",),
        "in_parts": ("particles", "star"),
    }
    for held in sorts.get(argument, ()):
        one = _only(kind, held)
        if one is not None:
            yield one, path
            return
    named = [f"--{one.key}" for one in kind.inputs if one.holds and one.holds.type in sorts.get(argument, ())]
    instead = f", and give {' and '.join(named)} as parameters" if named else ""
    raise InputInvalid(f"{kind.kind} has no use for --{argument}; leave '{RELION_INPUTS[argument]}' empty{instead}")


def _halves(
    half1: FieldDescription,
    half2: FieldDescription,
    path: Path,
    kind: KindDescription,
    project: Path,
    given: set[str],
) -> Iterator[tuple[FieldDescription, Path]]:
    """Both halves where neither is named otherwise; the mask of a STAR file where none is."""
    if f"inputs.{half2.key}" in given:
        yield half1, path
        return
    pair = pair_of(path, project)
    yield half1, pair.half1
    yield half2, pair.half2
    mask = _only(kind, "mask")
    if pair.mask is not None and mask is not None and f"inputs.{mask.key}" not in given:
        yield mask, pair.mask


def _only(kind: KindDescription, held: HeldType, role: str = "") -> FieldDescription | None:
    """The one input that holds this in this role; None where there is none, or more than one."""
    found = [one for one in kind.inputs if one.holds and (one.holds.type, one.holds.role) == (held, role)]
    return found[0] if len(found) == 1 else None

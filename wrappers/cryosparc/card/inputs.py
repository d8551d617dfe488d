"""What is connected to a card as inputs of a job: tables read, files found, one sentence where that cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryobridge.schemas.errors import InputInvalid

from ...formats.cs_table import UID, Columns, write_table
from ..documents import Card, CardInput
from ..options_block import MaskChoice
from ..recipes import MASK, OWN_MASKS, CardRecipe, InputGroup
from ..server import CryosparcServer
from .project_files import ProjectFiles


@dataclass
class Staged:
    """Inputs of a job, as far as they are connected.

    Attributes
    ----------
    paths
        By the job's key.
    notes
        What was taken for what, a line each.
    uids
        Of the rows of each input, for outputs that pass through what they do not replace.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    uids: dict[str, np.ndarray] = field(default_factory=dict)


def missing_inputs(card: Card, recipe: CardRecipe) -> list[str]:
    """What has to be connected still, a few words each."""
    lacking = []
    for group in recipe.inputs:
        connected = card.inputs.get(group.name)
        there = _there(connected)
        if group.required and not there:
            lacking.append(f"input '{group.name}' is not connected")
        elif there:
            gone = [slot.name for slot in group.slots if slot.required and slot.name not in there]
            lacking += [f"what is connected to '{group.name}' has no {slot}" for slot in gone]
    return lacking


def staged(
    server: CryosparcServer, card: Card, recipe: CardRecipe, files: ProjectFiles, use_mask: MaskChoice
) -> Staged:
    """Read what is connected, and find or fetch the files.

    Raises
    ------
    InputInvalid
        If something needed is not connected, is not one volume, or a file cannot be had.
    """
    lacking = missing_inputs(card, recipe)
    if lacking:
        raise InputInvalid(f"{card.id}: {lacking[0]}; connect it, then start again")
    found = Staged()
    stacks: set[str] = set()
    # A mask that was connected for itself goes before those that come with a volume.
    for group in sorted(recipe.inputs, key=lambda one: one.name != MASK):
        connected = card.inputs.get(group.name)
        if connected is not None and len(connected.sources) > 1:
            raise InputInvalid(
                f"{card.id}: {len(connected.sources)} outputs are connected to '{group.name}', which takes one; "
                "disconnect the others"
            )
        there = _there(connected)
        wanted = [slot.name for slot in group.slots if slot.name in there and wants(slot.name, use_mask)]
        if wanted:
            columns = server.load_input(card.id, group.name, wanted)
            _take(found, card, group, columns, files)
            if recipe.project is not None and "blob/path" in columns:
                stacks |= set(np.unique(columns["blob/path"].astype(np.str_)).tolist())
    if recipe.project is not None:
        _take_project(found, recipe.project, stacks, files)
    if use_mask in OWN_MASKS and "mask" not in found.paths:
        raise InputInvalid(f"{card.id}: what is connected has no {use_mask}; choose another 'use_mask', or none")
    if use_mask == "none" and found.paths.pop("mask", None) is not None:
        found.notes = [note for note in found.notes if not note.startswith("mask:")]
    return found


def wants(slot: str, use_mask: MaskChoice) -> bool:
    """Whether a slot of a volume is read: of its own masks only the one that was chosen, or all to take the first."""
    return slot not in OWN_MASKS or use_mask in ("auto", slot)


def _take_project(found: Staged, wanted: tuple[str, bool], stacks: set[str], files: ProjectFiles) -> None:
    """Let a job that reads stacks by itself have the project's folder; one that can do without goes on."""
    key, required = wanted
    try:
        found.paths[key] = files.folder_with(sorted(stacks))
        found.notes.append(f"{key}: {found.paths[key]}")
    except InputInvalid as error:
        if required:
            raise
        found.notes.append(f"{key}: left out ({error})")


def _there(connected: CardInput | None) -> set[str]:
    return set() if connected is None else {result for source in connected.sources for result in source.results}


def _take(found: Staged, card: Card, group: InputGroup, columns: Columns, files: ProjectFiles) -> None:
    if UID not in columns or len(columns[UID]) == 0:
        raise InputInvalid(
            f"{card.id}: what is connected to '{group.name}' has no rows; run the job it comes from again"
        )
    found.uids[group.name] = columns[UID]
    if group.type == "particle":
        key = group.feeds[0][1]
        path = files.work / f"{key}.cs"
        write_table(path, columns)
        found.paths[key] = path
        found.notes.append(f"{key}: {len(columns[UID])} of them")
        return
    if len(columns[UID]) != 1:
        raise InputInvalid(
            f"{card.id}: what is connected to '{group.name}' holds {len(columns[UID])} volumes; connect one of them"
        )
    for slot, key in group.feeds:
        column = columns.get(f"{slot}/path")
        named = "" if column is None else str(column[0])
        # What a job did not make has no path; where it is needed, the job schema says so.
        if not named.strip() or key in found.paths:
            continue
        found.paths[key] = files.here(named)
        found.notes.append(f"{key}: {named}")

"""What each kind takes from CryoSPARC and gives back: groups, slots and titles."""

from __future__ import annotations

import re

import pytest

from cryobridge.schemas.job import JOB_MODELS
from cryobridge.wrappers.cryosparc.recipes import HALVES, OWN_MASKS, CardRecipe, recipe_of, recipes

RECIPES = recipes()
SLOT_TYPES = {
    "volume": {"blob"},
    "mask": {"blob"},
    "particle": {"blob", "ctf", "alignments3D", "location", "components"},
}


def outputs_of(recipe: CardRecipe) -> dict[str, dict[str, str]]:
    return {group.name: {slot.name: role for slot, role in group.roles} for group in recipe.outputs}


def inputs_of(recipe: CardRecipe) -> dict[str, dict[str, str]]:
    return {group.name: dict(group.feeds) for group in recipe.inputs}


def test_the_jobs_that_the_issue_names_are_there() -> None:
    assert {"map.correct", "map.fsc3d", "map.diagnose", "map.postprocess"} <= set(RECIPES)


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_names_and_types_of_slots_are_ones_that_a_server_takes(kind: str) -> None:
    """C3: slots come from a table, in the form of a name with a type. C4: names hold letters, digits and _ only."""
    recipe = RECIPES[kind]
    for group in (*recipe.inputs, *recipe.outputs):
        slots = group.slots if hasattr(group, "slots") else tuple(slot for slot, _ in group.roles)
        assert slots
        if group.type == "particle" and group in recipe.outputs:
            # The slots of a table are those that it is written with.
            slots = tuple(slot for slot in slots if slot.name)
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", group.name)
        assert group.title.strip() == group.title
        assert group.title
        assert "\n" not in group.title
        for slot in slots:
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", slot.name)
            assert slot.dtype in SLOT_TYPES[group.type]
        assert len({slot.name for slot in slots}) == len(slots)


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_every_required_input_of_a_kind_is_fed(kind: str) -> None:
    recipe = RECIPES[kind]
    fed = {key for group in recipe.inputs for _, key in group.feeds}
    fields = JOB_MODELS[kind].model_fields["inputs"].annotation.model_fields
    assert {key for key, field in fields.items() if field.is_required()} <= fed <= set(fields)
    for group in recipe.inputs:
        assert {slot for slot, _ in group.feeds} == {slot.name for slot in group.slots}


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_raw_half_maps_and_masks_are_passed_through_and_never_replaced(kind: str) -> None:
    """Validation, local resolution and sharpening go on with the half-maps of the refinement."""
    outputs = outputs_of(RECIPES[kind])
    assert not {"map_half_A", "map_half_B", *OWN_MASKS} & set(outputs.get("volume", {}))
    for group in RECIPES[kind].outputs:
        source = "particles" if group.type == "particle" else group.name
        takes_it = source in ("volume", "particles") and source in inputs_of(RECIPES[kind])
        assert group.passthrough == (source if takes_it else None)
        assert ("raw half-maps" in group.title) == (takes_it and group.name == "volume")


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_corrected_halves_have_a_group_whose_title_says_what_their_fsc_is_not(kind: str) -> None:
    for group in RECIPES[kind].outputs:
        if {"map_half_A", "map_half_B"} & {slot.name for slot, _ in group.roles}:
            assert group.name == HALVES
            assert "not a resolution" in group.title
        if {role for _, role in group.roles} & {"fsc3d", "sampling"}:
            assert "not a map" in group.title


def test_a_correction_takes_half_maps_and_a_mask_from_one_volume() -> None:
    recipe = RECIPES["map.correct"]
    assert inputs_of(recipe)["volume"] == {"map_half_A": "half1", "map_half_B": "half2"} | dict.fromkeys(
        OWN_MASKS, "mask"
    )
    assert [slot.name for slot in recipe.input("volume").slots if slot.required] == ["map_half_A", "map_half_B"]
    assert inputs_of(recipe)["mask"] == {"mask": "mask"}
    assert [group.name for group in recipe.inputs if group.required] == ["volume"]
    outputs = outputs_of(recipe)
    assert outputs["volume"] == {"map": "map", "map_sharp": "sharpened"}
    assert outputs[HALVES] == {"map_half_A": "half1", "map_half_B": "half2"}
    assert outputs["fsc3d"] == {"map": "fsc3d"}


def test_corrected_halves_can_be_connected_to_a_diagnosis() -> None:
    given = next(group for group in RECIPES["map.correct"].outputs if group.name == HALVES)
    taken = RECIPES["map.diagnose"].input(HALVES)
    assert given.type == taken.type
    assert {slot.name for slot in taken.slots} == {slot.name for slot, _ in given.roles}


@pytest.mark.parametrize("kind", ["vae.train", "vae.linear"])
def test_jobs_on_heterogeneity_are_cards_that_give_particles_their_latents(kind: str) -> None:
    recipe = RECIPES[kind]
    latents = next(group for group in recipe.outputs if group.name == "particles_with_latents")
    assert (latents.type, latents.passthrough) == ("particle", "particles")
    assert inputs_of(recipe) == {"particles": {"blob": "particles", "ctf": "particles", "alignments3D": "particles"}}
    assert {slot.name for slot in recipe.input("particles").slots if slot.required} == {"blob"}
    assert recipe.project == ("datadir", False)


def test_a_selection_gives_tables_that_inherit_the_slots_of_the_connected_particles() -> None:
    recipe = RECIPES["vae.select"]
    groups = {group.name: group for group in recipe.outputs}
    assert {"particles", "rest", "cluster"} <= set(groups)
    assert all(groups[name].passthrough == "particles" for name in ("particles", "rest", "cluster"))
    assert groups["cluster"].numbered == "cluster_*.cs"


def test_a_kind_is_described_by_its_own_words() -> None:
    for kind, recipe in RECIPES.items():
        assert recipe.kind == kind
        assert recipe == recipe_of(JOB_MODELS[kind])
        assert len(recipe.help) > 10
        assert "\n" not in recipe.help

"""What holds for every kind that may be submitted, so that one more needs no word in the adapter to CryoSPARC."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field
from support.made_up_heterogeneity import LATENTS, TOMOGRAMS, made_up_heterogeneity

from cryobridge.schemas.describe import describe_kind
from cryobridge.schemas.envelope import Inputs, Job
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.half_maps import MapFile
from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.schemas.memory import MemoryEstimate, volumes
from cryobridge.schemas.outputs import REPORT, Output, OutputType
from cryobridge.schemas.paths import Holds, InputFile, InputFiles
from cryobridge.wrappers.cryosparc.card.request import _inputs
from cryobridge.wrappers.cryosparc.options_block import OWN_KEYS
from cryobridge.wrappers.cryosparc.recipes import Slot, recipe_of, recipes

KINDS = user_kinds()
FIT = re.compile("[A-Za-z0-9_]+")
OF_RUNS = {"vae.analyze", "vae.encode", "vae.landscape", "vae.traverse", "vae.volumes"}
"""They take the folder of a training, which no job of CryoSPARC has."""
OF_TOMOGRAMS = {kind for kind in KINDS if kind.startswith("tomo.")}
"""They take tomograms, which no job of CryoSPARC makes."""
NOT_HERE = {"check", "particles.to_cryosparc", *OF_RUNS, *OF_TOMOGRAMS}
"""The first has no inputs, the others start from what no job of CryoSPARC has."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_says_what_it_holds(kind: str) -> None:
    held = {field.key: field.holds for field in describe_kind(JOB_MODELS[kind]).inputs}
    assert [key for key, holds in held.items() if holds is None] == []
    known = {*typing.get_args(OutputType), "project"}
    assert {holds.type for holds in held.values() if holds is not None} <= known


@pytest.mark.parametrize("kind", KINDS)
def test_no_option_is_called_like_a_key_of_the_card(kind: str) -> None:
    described = describe_kind(JOB_MODELS[kind])
    names = {name.partition(".")[0] for field in described.options for name in (field.key, *field.aliases)}
    assert names.isdisjoint(OWN_KEYS)


def test_every_kind_but_those_without_an_input_of_cryosparc_has_a_recipe() -> None:
    assert set(recipes()) == set(KINDS) - NOT_HERE


@pytest.mark.parametrize("kind", sorted(recipes()))
def test_names_are_fit_for_cryosparc_and_every_group_has_a_slot(kind: str) -> None:
    recipe = recipes()[kind]
    for groups in (recipe.inputs, recipe.outputs):
        assert all(FIT.fullmatch(group.name) for group in groups)
        assert len({group.name for group in groups}) == len(groups)
        assert all(group.title for group in groups)
    for group in recipe.inputs:
        assert group.slots
        assert all(FIT.fullmatch(slot.name) for slot in group.slots)
        assert len({slot.name for slot in group.slots}) == len(group.slots)
        assert {key for _, key in group.feeds} <= {field.key for field in describe_kind(JOB_MODELS[kind]).inputs}
    for output in recipe.outputs:
        assert output.roles
        assert output.passthrough is None or any(group.name == output.passthrough for group in recipe.inputs)


def test_a_kind_of_latents_gets_its_recipe_without_a_word_here() -> None:
    with made_up_heterogeneity():
        recipe = recipes()[LATENTS]
    particles = recipe.input("particles")
    assert particles.type == "particle"
    assert particles.required
    assert particles.slots == tuple(Slot(name, name) for name in ("blob", "ctf", "alignments3D"))
    assert recipe.project == ("project", True)
    assert not recipe.input("mask").required
    latents, samples = recipe.outputs
    assert (latents.name, latents.type, latents.passthrough) == ("particles", "particle", "particles")
    assert (samples.name, samples.type, samples.numbered) == ("sample", "volume", "sample_*.mrc")
    assert samples.passthrough is None


def test_a_kind_of_tomograms_is_refused_by_the_input_that_no_job_has() -> None:
    with made_up_heterogeneity() as (_, model):
        assert TOMOGRAMS not in recipes()
        with pytest.raises(JobRejected, match=r"made\.tomograms cannot run .* 'tilt_series'"):
            recipe_of(model)


def test_a_star_file_is_no_output_of_particles_and_a_passthrough_no_input_of_its_own() -> None:
    recipe = recipes()["particles.to_relion"]
    assert recipe.outputs == ()
    assert [group.name for group in recipe.inputs] == ["particles", "volume"]
    assert recipe.project == ("project", False)


@pytest.fixture
def kind_of() -> Iterator[Callable[[type[Inputs]], type[Job]]]:
    """Makes a kind of inputs, which is forgotten after the test."""

    def make(its_inputs: type[Inputs]) -> type[Job]:
        class OddJob(Job):
            """Do something odd."""

            outputs: ClassVar[tuple[Output, ...]] = (
                Output("odd.mrc", "fourier_volume", "an odd-role", "odd"),
                Output("odd.star", "particles", "particles", "odd"),
                REPORT,
            )

            kind: Literal["made.odd"] = "made.odd"
            inputs: its_inputs  # type: ignore[valid-type]

            def memory(self, box: int, device: str) -> MemoryEstimate:
                """A volume on either side."""
                return MemoryEstimate(volumes(1, box), volumes(1, box))

        return OddJob

    yield make
    JOB_MODELS.pop("made.odd", None)


class TwoAlike(Inputs):
    """Two inputs that nothing tells apart."""

    one: MapFile = Field(description="a map")
    other: MapFile = Field(description="another")


class ListOfMaps(Inputs):
    """A list where CryoSPARC has one."""

    maps: Annotated[InputFiles, Holds("map", "a class")] = Field(description="maps")


class UnknownPart(Inputs):
    """A part of particles that nobody has heard of."""

    particles: Annotated[InputFile, Holds("particles", parts=("images", "movies"))] = Field(description="particles")


def test_two_inputs_that_are_one_to_cryosparc_are_refused(kind_of: Callable[[type[Inputs]], type[Job]]) -> None:
    with pytest.raises(JobRejected, match="two of its inputs are one 'volume' there"):
        recipe_of(kind_of(TwoAlike))


def test_a_list_gets_one_member_and_names_are_made_fit(kind_of: Callable[[type[Inputs]], type[Job]]) -> None:
    recipe = recipe_of(kind_of(ListOfMaps))
    assert [group.name for group in recipe.inputs] == ["a_class"]
    assert [group.name for group in recipe.outputs] == ["an_odd_role"]
    assert _inputs("made.odd", {"maps": Path("/a.mrc")}) == {"maps": ["/a.mrc"]}


def test_a_part_that_particles_do_not_have_is_refused(kind_of: Callable[[type[Inputs]], type[Job]]) -> None:
    with pytest.raises(JobRejected, match="its input 'particles'"):
        recipe_of(kind_of(UnknownPart))

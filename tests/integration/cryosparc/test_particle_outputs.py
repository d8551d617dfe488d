"""Particles and volumes of a kind that nobody ships yet, saved on the stand-in and read back by its client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.cryosparc import QUICK
from support.made_up_heterogeneity import LATENTS, made_up_heterogeneity

from cryobridge.wrappers.cryosparc.card.card_run import End
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions
from cryobridge.wrappers.formats import mrc

from .conftest import Bench

pytestmark = pytest.mark.shared


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    with made_up_heterogeneity():
        yield


def card_of(bench: Bench, kind: str = LATENTS, **options: object) -> CardId:
    """A card connected to the sample's particles."""
    connections = {"particles": Source("J1", "")}
    return new_card(bench.server, "P1", "W1", CardOptions(kind, options=dict(options)), connections, "go", QUICK)


def test_latents_come_back_as_particles_with_all_that_was_passed_through(bench: Bench) -> None:
    card = card_of(bench)
    assert bench.run(card) is End.COMPLETED
    before = bench.server.load_output(CardId("P1", "J1"), "particles")
    after = bench.server.load_output(card, "particles")
    assert set(after["uid"].tolist()) == set(before["uid"][::-2].tolist())
    # Everything of the refinement, row by row after the ids, whatever their order.
    where = {uid: row for row, uid in enumerate(before["uid"].tolist())}
    rows = [where[uid] for uid in after["uid"].tolist()]
    for column in before:
        assert after[column].tolist() == before[column][rows].tolist(), column
    latents = dict(zip(before["uid"][::-2].tolist(), np.linspace(-1, 1, 4), strict=True))
    for mode in range(2):
        assert after[f"components_mode_{mode}/component"].tolist() == [mode] * 4
        wanted = [latents[uid] * (mode + 1) for uid in after["uid"].tolist()]
        assert np.allclose(after[f"components_mode_{mode}/value"], wanted)
    saved = bench.standin.job(card).spec.outputs.root["particles"]
    assert [(slot.name, slot.dtype) for slot in saved.slots] == [
        ("components_mode_0", "components"),
        ("components_mode_1", "components"),
    ]
    assert saved.passthrough == "particles"


def test_each_volume_is_an_output_of_its_own_in_the_order_of_its_number(bench: Bench) -> None:
    card = card_of(bench)
    assert bench.run(card) is End.COMPLETED
    outputs = bench.standin.job(card).spec.outputs.root
    assert list(outputs) == ["particles", "sample_1", "sample_2", "sample_10"]
    for number in (1, 2, 10):
        columns = bench.server.load_output(card, f"sample_{number}")
        volume, header = mrc.read(bench.standin.project() / str(columns["map/path"][0]))
        assert volume[0, 0, 0] == number
        assert columns["map/psize_A"].tolist() == [header.voxel_size_A[0]]


def test_a_table_of_ids_alone_is_a_selection(bench: Bench) -> None:
    card = card_of(bench, wrong="ids_only")
    assert bench.run(card) is End.COMPLETED
    before, after = (bench.server.load_output(one, "particles") for one in (CardId("P1", "J1"), card))
    assert set(after) == set(before)
    assert set(after["uid"].tolist()) == set(before["uid"][::-2].tolist())
    where = {uid: row for row, uid in enumerate(before["uid"].tolist())}
    assert after["blob/idx"].tolist() == [before["blob/idx"][where[uid]] for uid in after["uid"].tolist()]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("stranger", "1 of its 4 particles are none of those that were connected"),
        ("twice", "two rows have the same 'uid'"),
        ("nan", "'components_mode_0/value' of row 3 is nan"),
        ("slot", "slot 'my_own' (number) is none that particles of CryoSPARC have"),
        ("none", "holds no particles"),
    ],
)
def test_a_table_that_cannot_be_saved_fails_the_card_in_one_sentence(bench: Bench, wrong: str, sentence: str) -> None:
    card = card_of(bench, wrong=wrong)
    assert bench.run(card) is End.FAILED
    assert bench.standin.job(card).status == "failed"
    assert sentence in bench.standin.said(card)
    assert "particles" not in bench.standin.job(card).spec.outputs.root


def test_an_upload_that_was_cut_off_is_sent_again(bench: Bench) -> None:
    card = card_of(bench)
    bench.standin.fault("jobs.save_output", drop="before")
    assert bench.run(card) is End.COMPLETED
    assert len(bench.server.load_output(card, "particles")["uid"]) == 4


def test_a_stack_that_leads_out_of_the_project_is_not_given_to_the_job(bench: Bench, tmp_path: Path) -> None:
    stack = bench.standin.project() / "J1/particles.mrc"
    stack.rename(tmp_path / "elsewhere.mrc")
    stack.symlink_to(tmp_path / "elsewhere.mrc")
    card = card_of(bench)
    assert bench.run(card) is End.FAILED
    assert "leads out of the project" in bench.standin.said(card)
    allowed = card_of(bench)
    assert bench.run(allowed, also_read=(tmp_path,)) is End.COMPLETED


def test_a_star_file_lies_in_the_folder_of_the_card_with_stacks_that_relion_reads(bench: Bench) -> None:
    card = card_of(bench, "particles.to_relion")
    assert bench.run(card) is End.COMPLETED
    folder = bench.standin.project() / card.job / "cryobridge"
    text = (folder / "particles.star").read_text()
    assert f"000001@{folder}/stacks/J1/particles.mrcs" in text
    assert (folder / "stacks/J1/particles.mrcs").samefile(bench.standin.project() / "J1/particles.mrc")
    assert bench.standin.job(card).spec.outputs.root == {}


def test_a_project_that_may_not_be_given_is_left_out_where_the_job_can_do_without(bench: Bench, tmp_path: Path) -> None:
    stack = bench.standin.project() / "J1/particles.mrc"
    stack.rename(tmp_path / "elsewhere.mrc")
    stack.symlink_to(tmp_path / "elsewhere.mrc")
    card = card_of(bench, "particles.to_relion")
    assert bench.run(card) is End.COMPLETED
    assert "project: left out" in bench.standin.said(card)
    assert "000001@J1/particles.mrc" in (bench.standin.project() / card.job / "cryobridge/particles.star").read_text()

"""One card from its claim to its end, on a server that fails in every way that it can."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryobridge.wrappers.cryosparc.card.card_run import End
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.formats import mrc

from .conftest import Bench

pytestmark = pytest.mark.shared


@pytest.mark.slow
def test_outputs_load_back_and_are_what_the_job_wrote(bench: Bench) -> None:
    card = bench.card("map.correct", effort="quick")
    assert bench.run(card) is End.COMPLETED
    assert bench.standin.job(card).status == "completed"
    own = bench.server.load_output(card, "volume")
    before = bench.server.load_output(CardId("P1", "J1"), "volume")
    assert own["uid"].tolist() == before["uid"].tolist()
    for slot in ("map_half_A", "map_half_B", "mask_refine", "mask_fsc"):
        assert own[f"{slot}/path"].tolist() == before[f"{slot}/path"].tolist()
    project = bench.standin.project()
    for group, slot, name in (
        ("volume", "map", "corrected.mrc"),
        ("volume", "map_sharp", "postprocessed.mrc"),
        ("volume_corrected_halves", "map_half_A", "corrected_half1.mrc"),
        ("volume_corrected_halves", "map_half_B", "corrected_half2.mrc"),
        ("fsc3d", "map", "FSC3D.mrc"),
    ):
        columns = bench.server.load_output(card, group)
        path = project / str(columns[f"{slot}/path"][0])
        assert path == project / card.job / "cryobridge" / name
        volume, header = mrc.read(path)
        assert tuple(columns[f"{slot}/shape"][0]) == volume.shape
        assert columns[f"{slot}/psize_A"][0] == np.float32(header.voxel_size_A[0])
    assert "not a resolution" in bench.standin.job(card).spec.outputs.root["volume_corrected_halves"].title
    claim = json.loads((project / card.job / "bridge_claim.json").read_text())
    assert claim["ended"]
    assert bench.remembered() == []


@pytest.mark.slow
def test_a_child_takes_what_it_needs_from_the_result(bench: Bench) -> None:
    card = bench.card("map.correct", effort="quick")
    bench.run(card)
    child = bench.card("map.diagnose")
    halves = "volume_corrected_halves"
    bench.server.connect(child, halves, Source(card.job, halves))
    assert bench.run(child) is End.COMPLETED
    result = json.loads((bench.standin.project() / child.job / "cryobridge" / "result.json").read_text())
    assert {"half1", "half2", "mask", "corrected1", "corrected2"} <= set(result["inputs"])


def test_its_log_has_pictures_with_their_numbers_and_a_tile(bench: Bench) -> None:
    card = bench.card()
    bench.run(card)
    job = bench.standin.job(card)
    assert job.ui_tile_images
    pictures = [event for event in bench.standin.log_of(card) if event.type == "image"]
    files = [[asset.filetype for asset in event.imgfiles] for event in pictures]
    assert files[0] == ["png", "csv"]
    table = next(asset.fileid for asset in pictures[0].imgfiles if asset.filetype == "csv")
    sent = bench.standin.state.assets[table][1]
    assert sent == (bench.standin.project() / card.job / "cryobridge" / "fsc.csv").read_bytes()


OPERATIONS = [
    "jobs.find_one",
    "jobs.mark_running",
    "projects.upload_file",
    "projects.download_file",
    "projects.get_directory",
    "jobs.load_input",
    "jobs.add_event_log",
    "jobs.add_external_output",
    "jobs.get_output_fields",
    "jobs.save_output",
    "jobs.load_output",
    "jobs.add_checkpoint",
    "assets.upload",
    "jobs.add_image_log",
    "jobs.set_tile_image",
    "jobs.set_output_image",
    "jobs.get_status",
    "jobs.mark_completed",
]


@pytest.mark.slow
@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_broken_connection_costs_nothing(bench: Bench, operation: str, drop: str) -> None:
    card = bench.card()
    bench.standin.fault(operation, drop=drop, times=3)
    assert bench.run(card) is End.COMPLETED
    assert bench.standin.job(card).status == "completed"
    columns = bench.server.load_output(card, "fsc3d")
    assert columns["map/path"].tolist() == [f"{card.job}/cryobridge/FSC3D.mrc"]
    assert len(bench.daemon.jobs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one not in ("jobs.add_event_log", "jobs.find_one")])
def test_a_refusal_fails_the_card_in_one_short_line_or_is_got_over(bench: Bench, operation: str) -> None:
    card = bench.card()
    bench.standin.fault(operation, status=500)
    end = bench.run(card)
    job = bench.standin.job(card)
    assert job.status == ("completed" if end is End.COMPLETED else "failed")
    if end is End.FAILED:
        errors = [event.text for event in bench.standin.log_of(card) if event.type == "error"]
        assert errors
        assert all("500" in line and len(line) < 500 for line in errors)
    assert bench.remembered() == []


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_proxy_whose_server_starts_again_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Nothing is known then: the card is not failed, and what may have been done already is looked for first."""
    monkeypatch.setattr("cryobridge.wrappers.cryosparc.card.new_card._SETTLE_S", 0.0)
    for operation in OPERATIONS:
        bench.standin.fault(operation, status=status, times=2)
    bench.standin.fault("jobs.create", status=status)
    card = bench.card()
    assert bench.run(card) is End.COMPLETED
    assert [job.uid for job in bench.standin.state.jobs.values() if job.spec.type == "snowflake"] == [card.job]
    assert len(bench.daemon.jobs) == 1

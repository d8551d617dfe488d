"""A job's folder says how the job ended, and gives RELION its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from gemmi import cif

from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.schemas.outputs import OutputType
from cryobridge.schemas.result import OutputRecord
from cryobridge.wrappers.relion.external_job.folder import ABORT_NOW, NODES_NAME, ExitMarker, ExternalFolder, is_relions
from cryobridge.wrappers.relion.external_job.nodes import output_nodes, write_nodes


def record(kind: OutputType | None) -> OutputRecord:
    return OutputRecord(path="/x", sha256="0" * 64, size_bytes=1, type=kind, role="any")


@pytest.mark.parametrize("marker", list(ExitMarker))
def test_exactly_one_marker_says_how_it_ended(tmp_path: Path, marker: ExitMarker) -> None:
    folder = ExternalFolder(tmp_path / "External/job001")
    for before in ExitMarker:
        folder.begin()
        assert not list(folder.path.iterdir())
        folder.end(before)
    folder.begin()
    folder.end(marker)
    assert [path.name for path in folder.path.iterdir()] == [marker]


def test_nothing_else_of_the_folder_is_touched_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    (tmp_path / "job_pipeline.star").write_text("mine")
    (tmp_path / NODES_NAME).write_text("of an earlier run")
    ExternalFolder(tmp_path).begin()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job_pipeline.star", "note.txt"]


def test_a_wish_to_abort_is_seen_and_forgotten_at_the_end(tmp_path: Path) -> None:
    folder = ExternalFolder(tmp_path)
    assert not folder.wants_abort()
    (tmp_path / ABORT_NOW).touch()
    folder.begin()
    assert folder.wants_abort()
    folder.end(ExitMarker.ABORTED)
    assert [path.name for path in tmp_path.iterdir()] == ["RELION_JOB_EXIT_ABORTED"]


def test_a_marker_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    job = tmp_path / "job"
    job.mkdir()
    (job / ExitMarker.FAILURE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="FAILURE"):
        ExternalFolder(job).end(ExitMarker.FAILURE)


def test_nodes_have_the_types_of_both_versions(tmp_path: Path) -> None:
    outputs = {
        "corrected.mrc": record("map"),
        "corrected_half1.mrc": record("half_map"),
        "mask.mrc": record("mask"),
        "particles.star": record("particles"),
        "particles.cs": record("particles"),
        "report.html": record("report"),
        "FSC3D.mrc": record("fourier_volume"),
        "old.mrc": record(None),
    }
    assert write_nodes(tmp_path, outputs, "External/job012/") == 5
    table = cif.read_file(str(tmp_path / NODES_NAME)).find_block("output_nodes")
    rows = [
        list(row) for row in table.find(["_rlnPipeLineNodeName", "_rlnPipeLineNodeTypeLabel", "_rlnPipeLineNodeType"])
    ]
    assert rows == [
        ["External/job012/corrected.mrc", "DensityMap.mrc", "6"],
        ["External/job012/corrected_half1.mrc", "DensityMap.mrc.halfmap", "10"],
        ["External/job012/mask.mrc", "Mask3D.mrc", "7"],
        ["External/job012/particles.star", "ParticleGroupMetadata.star.relion", "3"],
        ["External/job012/report.html", "LogFile.pdf.relion", "13"],
    ]


def test_where_there_are_no_nodes_there_is_no_file(tmp_path: Path) -> None:
    assert write_nodes(tmp_path, {"x.npz": record("arrays")}, "External/job012") == 0
    assert not list(tmp_path.iterdir())
    assert list(output_nodes({}, "External/job012/")) == []


def test_no_kind_of_ours_writes_under_a_name_of_relions() -> None:
    names = ("job.star", "job_pipeline.star", "default_pipeline.star", NODES_NAME)
    assert all(is_relions(name) for name in names)
    taken = [
        (kind, output.pattern)
        for kind in user_kinds()
        for output in JOB_MODELS[kind].outputs
        for name in (*names, *ExitMarker, "note.txt", "run.out", "run.err")
        if output.names(name)
    ]
    assert taken == []

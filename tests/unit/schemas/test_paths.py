"""Every path of a job is found, resolved, checked and bounded, of whatever sort and however deep it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.made_up_kind import made_up_kind, spec

from cryobridge.schemas import paths
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import check_paths, parse_job
from cryobridge.schemas.paths import Must

EVERYTHING: dict[str, Any] = {
    "movies": "movies",
    "refinement": "job012",
    "gain": {"reference": "gain.mrc"},
    "pairs": [{"even": "even0.mrc", "odd": "odd0.mrc"}, {"even": "even1.mrc", "odd": "odd1.mrc"}],
}
FILES = ("map", "a", "b", "gain", "even0", "odd0", "even1", "odd1")


@pytest.fixture(autouse=True)
def _kind() -> Iterator[None]:
    with made_up_kind():
        yield


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose every input is there."""
    for name in FILES:
        (tmp_path / f"{name}.mrc").write_bytes(name.encode())
    for name in ("movies", "job012"):
        (tmp_path / name).mkdir()
    return parse_job(spec(tmp_path, **EVERYTHING), "job").resolved(tmp_path)


def test_paths_are_found_in_models_and_lists(tmp_path: Path, job: Job) -> None:
    assert [(key, path.relative_to(tmp_path).name, must) for key, path, must in job.paths()] == [
        ("map", "map.mrc", Must.BE_FILE),
        ("movies", "movies", Must.BE_FOLDER),
        ("refinement", "job012", Must.BE_RUN),
        ("gain.reference", "gain.mrc", Must.BE_FILE),
        ("pairs.0.even", "even0.mrc", Must.BE_FILE),
        ("pairs.0.odd", "odd0.mrc", Must.BE_FILE),
        ("pairs.1.even", "even1.mrc", Must.BE_FILE),
        ("pairs.1.odd", "odd1.mrc", Must.BE_FILE),
        ("tilt_series.0", "a.mrc", Must.BE_FILE),
        ("tilt_series.1", "b.mrc", Must.BE_FILE),
    ]


def test_every_path_starts_at_the_base_and_the_job_comes_back_from_its_spec(tmp_path: Path, job: Job) -> None:
    assert all(path.is_absolute() and path.parent == tmp_path for _, path, _ in job.paths())
    assert parse_job(job.as_spec(), "again") == job


def test_what_was_not_given_is_not_found(tmp_path: Path) -> None:
    found = [key for key, _, _ in parse_job(spec(tmp_path), "job").paths()]
    assert found == ["map", "tilt_series.0", "tilt_series.1"]


def test_inputs_that_are_there_pass(job: Job) -> None:
    check_paths(job)


def absent_member(folder: Path) -> None:
    (folder / "b.mrc").unlink()


def absent_in_a_model(folder: Path) -> None:
    (folder / "gain.mrc").unlink()


def file_for_a_folder(folder: Path) -> None:
    (folder / "movies").rmdir()
    (folder / "movies").write_bytes(b"")


def no_folder(folder: Path) -> None:
    (folder / "movies").rmdir()


def folder_for_a_member(folder: Path) -> None:
    (folder / "odd1.mrc").unlink()
    (folder / "odd1.mrc").mkdir()


def unfinished_run(folder: Path) -> None:
    (folder / "job012" / "job.yaml").write_text("kind: map.fsc3d\n")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (absent_member, r"b\.mrc \(tilt_series\.1\) does not exist"),
        (absent_in_a_model, r"gain\.mrc \(gain\.reference\) does not exist"),
        (file_for_a_folder, r"movies \(movies\) is a file; give a folder"),
        (no_folder, r"movies \(movies\) does not exist or is not a folder"),
        (folder_for_a_member, r"odd1\.mrc \(pairs\.1\.odd\) is a folder; give a file"),
        (unfinished_run, r"job012 \(refinement\) holds a job that has not finished"),
    ],
    ids=lambda case: case.__name__ if callable(case) else "",
)
def test_an_input_that_cannot_work_is_said_with_its_key(
    tmp_path: Path, job: Job, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(InputInvalid, match=sentence):
        check_paths(job)


def test_a_finished_run_of_ours_and_one_of_a_foreign_program_pass(tmp_path: Path, job: Job) -> None:
    (tmp_path / "job012" / "run_optimiser.star").write_text("")
    check_paths(job)
    unfinished_run(tmp_path)
    (tmp_path / "job012" / "result.json").write_text("{}")
    check_paths(job)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"tilt_series": []}, "'inputs.tilt_series': "),
        ({"tilt_series": ["a.mrc", ""]}, "'inputs.tilt_series.1': a path is needed"),
        ({"tilt_series": ["x.mrc"] * 5000}, "at most 4096"),
        ({"tilt_series": "a.mrc"}, "'inputs.tilt_series': "),
        ({"gain": {"refrence": "g.mrc"}}, "did you mean 'inputs.gain.reference'"),
        ({"pairs": [{"even": "a.mrc", "odds": "b.mrc"}]}, "'inputs.pairs.0.odds'; did you mean 'inputs.pairs.odd'"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path: Path, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputInvalid, match=sentence) as caught:
        parse_job(spec(tmp_path, **inputs), "job")
    assert len(str(caught.value)) < 500


def test_all_lists_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cryobridge.schemas.envelope.MAX_INPUT_PATHS", 10)
    pairs = [{"even": f"e{i}.mrc", "odd": f"o{i}.mrc"} for i in range(4)]
    with pytest.raises(InputInvalid, match="11 files; a job takes at most 10"):
        parse_job(spec(tmp_path, pairs=pairs), "job")
    assert paths.MAX_LISTED_FILES <= paths.MAX_INPUT_PATHS

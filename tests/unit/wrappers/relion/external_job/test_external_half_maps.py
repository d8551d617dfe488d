"""One name stands for a pair of half-maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.relion.external_job.half_maps import FoundPair, pair_of

JOB = Path("Refine3D/job001")
UNFIL = tuple(JOB / f"run_half{half}_class001_unfil.mrc" for half in (1, 2))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / JOB).mkdir(parents=True)
    for half in UNFIL:
        (tmp_path / half).touch()
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "run_half1_class001_unfil.mrc",
        "run_half2_class001_unfil.mrc",
        "run_class001.mrc",
        "run_model.star",
        "run_data.star",
        "run_it012_half1_model.star",
    ],
)
def test_whatever_of_a_refinement_is_named_its_halves_are_found(project: Path, name: str) -> None:
    assert pair_of(JOB / name, project) == FoundPair(*UNFIL)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("half_map_1.mrc", "half_map_2.mrc"),
        ("J42_map_half_A.mrc", "J42_map_half_B.mrc"),
        ("half12_half1.mrc", "half12_half2.mrc"),
    ],
)
def test_other_programs_names_of_halves(tmp_path: Path, first: str, second: str) -> None:
    for name in (first, second):
        (tmp_path / name).touch()
    for name in (first, second):
        assert pair_of(Path(name), tmp_path) == FoundPair(Path(first), Path(second))


def test_a_post_processing_names_halves_and_mask(project: Path) -> None:
    general = {
        "rlnUnfilteredMapHalf1": str(UNFIL[0]),
        "rlnUnfilteredMapHalf2": str(UNFIL[1]),
        "rlnMaskName": "MaskCreate/job005/mask.mrc",
    }
    star.write_atomically(project / "postprocess.star", {"general": general})
    assert pair_of(Path("postprocess.star"), project) == FoundPair(*UNFIL, Path("MaskCreate/job005/mask.mrc"))
    star.write_atomically(project / "other.star", {"general": {"rlnFinalResolution": 4}})
    with pytest.raises(InputInvalid, match="names no half-maps"):
        pair_of(Path("other.star"), project)


def test_a_half_without_its_partner_is_refused(project: Path) -> None:
    (project / UNFIL[1]).unlink()
    with pytest.raises(InputInvalid, match=r"run_half2_class001_unfil\.mrc is not there"):
        pair_of(UNFIL[0], project)


@pytest.mark.parametrize("name", ["map.mrc", "half3.mrc", "halfway12.mrc", "other_class001.mrc"])
def test_what_is_no_half_by_its_name_is_refused(project: Path, name: str) -> None:
    with pytest.raises(InputInvalid, match="is no half-map by its name"):
        pair_of(JOB / name, project)

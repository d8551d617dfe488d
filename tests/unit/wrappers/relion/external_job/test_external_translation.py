"""What a command line of RELION's means as one of our jobs, for every kind that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.describe import FieldDescription, describe_kind
from cryobridge.schemas.envelope import JOB_MODELS
from cryobridge.schemas.errors import InputInvalid, OptionsInvalid
from cryobridge.schemas.job import parse_job, user_kinds
from cryobridge.wrappers.relion.external_job.arguments import read_call
from cryobridge.wrappers.relion.external_job.translation import TranslatedJob, kind_of, translate

HALVES = ("Refine3D/job001/run_half1_class001_unfil.mrc", "Refine3D/job001/run_half2_class001_unfil.mrc")


def translated(project: Path, line: str) -> TranslatedJob:
    call = read_call(f"--o External/job012/ {line}".split())
    return translate(call, describe_kind(JOB_MODELS[kind_of(call)]), project)


def spec(project: Path, line: str) -> dict[str, Any]:
    job = translated(project, line)
    parse_job(job.spec, "")
    return job.spec


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in HALVES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_half_map_and_a_mask_are_a_correction(project: Path) -> None:
    found = spec(project, f"--in_3dref {HALVES[0]} --in_mask mask.mrc --j 4")
    assert found["kind"] == "map.correct"
    assert found["inputs"] == {"half1": HALVES[0], "half2": HALVES[1], "mask": "mask.mrc"}
    assert found["run"] == {"threads": "4"}
    assert found["output"] == "External/job012/"


def test_labels_have_our_names_and_those_of_the_peers(project: Path) -> None:
    ours = f"--in_3dref {HALVES[0]} --limit_resolution_A 4 --mask m.mrc --effort quick --whiten False --devices 0"
    peers = f"--in_3dref {HALVES[1]} --limit_res 4 --mask_file m.mrc --effort quick --whiten No --gpuID 0"
    assert parse_job(spec(project, ours), "") == parse_job(spec(project, peers), "")


def test_a_label_that_stands_alone_is_a_yes(project: Path) -> None:
    assert spec(project, f"--in_3dref {HALVES[0]} --independent")["options"] == {"independent": True}
    assert parse_job(spec(project, f"--in_3dref {HALVES[0]} --independent True"), "").options.independent  # type: ignore[attr-defined]


def test_particles_go_to_whatever_input_holds_particles(project: Path) -> None:
    assert spec(project, "--kind vae.linear --in_parts run_data.star")["inputs"] == {"particles": "run_data.star"}
    found = spec(project, "--kind particles.to_cryosparc --in_parts run_data.star")
    assert found["inputs"] == {"star": "run_data.star"}


def test_the_second_half_may_be_called_anything_if_it_is_named(project: Path) -> None:
    found = spec(project, "--kind map.fsc3d --in_3dref a.mrc --half2 b.mrc")
    assert found["inputs"] == {"half1": "a.mrc", "half2": "b.mrc"}


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("--j 1", OptionsInvalid, "which job"),
        ("--in_3dref {half} --epoch 5", OptionsInvalid, "--epoch: map.correct has no option .* epochs"),
        ("--in_3dref {half} --limit_res 4 --limit_resolution_A 5", OptionsInvalid, "are the same"),
        ("--in_3dref {half} --half1 x.mrc --half2 y.mrc", OptionsInvalid, "--in_3dref and --half1 are the same"),
        ("--in_3dref {half} --limit_res", OptionsInvalid, "--limit_res: has no value"),
        ("--in_3dref {half} --limit_res 4 5", OptionsInvalid, "takes one value, not 2"),
        ("--in_3dref {half} --in_movies m.star", InputInvalid, "leave 'Input movies' empty"),
        ("--kind map.combine --in_3dref {half}", InputInvalid, "give --low and --high as parameters"),
        ("--kind vae.linear --in_parts p.star --in_mask m.mrc", InputInvalid, "leave 'Input 3D mask' empty"),
        ("--in_3dref nothing.mrc", InputInvalid, "no half-map by its name"),
    ],
)
def test_what_cannot_be_is_said_in_relions_words(project: Path, line: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        translated(project, line.format(half=HALVES[0]))


def test_messages_use_the_label_that_was_typed(project: Path) -> None:
    names = translated(project, f"--in_3dref {HALVES[0]} --limit_res 4 --j 2").names
    assert names["options.limit_resolution_A"] == "--limit_res"
    assert names["run.threads"] == "--j"
    assert names["inputs.half2"] == "--in_3dref"


def fields() -> list[tuple[str, str, FieldDescription, str]]:
    """Every spelling of every input and option of every kind."""
    found = []
    for kind in user_kinds():
        described = describe_kind(JOB_MODELS[kind])
        for section, ones in (("inputs", described.inputs), ("options", described.options), ("run", described.run)):
            found += [
                (kind, section, one, spelling)
                for one in ones
                for spelling in (one.key, *one.aliases)
                if "." not in one.key
            ]
    return found


@given(st.sampled_from(fields()))
def test_every_field_of_every_kind_can_be_given_under_each_of_its_names(
    one: tuple[str, str, FieldDescription, str],
) -> None:
    kind, section, field, spelling = one
    call = read_call(["--o", "External/job1/", "--kind", kind, f"--{spelling}", "7"])
    assert translate(call, describe_kind(JOB_MODELS[kind]), Path("/")).spec[section] in (
        {field.key: "7"},
        {field.key: ["7"]},
    )


def rows(page: str, head: str) -> list[list[str]]:
    """The cells of the table whose head line begins so."""
    lines = page.split(f"\n| {head}", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_what_the_documents_tell_to_type_is_understood(repository: Path, project: Path) -> None:
    page = (repository / "docs/how-to/relion-external-job.md").read_text()
    for _, labels, values in rows(page, "to |"):
        for label in re.findall(r"`(\w+)`", labels):
            for value in re.findall(r"`([^`]+)`", values):
                spec(project, f"--in_3dref {HALVES[0]} --{label} {value}")
    fields = {
        "Input 3D reference": f"--in_3dref {HALVES[0]}",
        "mask": "--in_mask m.mrc",
        "particles": "--in_parts p.star",
        "Input particles": "--in_parts p.star",
        "label `run`": "--run External/job014",
        "label `box`": "--box 256",
    }
    for kinds, where, _ in rows(page, "kind |"):
        for kind in re.findall(r"`(\w+\.\w+)`", kinds):
            spec(project, f"--kind {kind} {' '.join(fields[one] for one in where.split(', '))}")

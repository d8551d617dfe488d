"""Jobs: what is accepted, and the one sentence that says why something is not."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.bounds import MAX_JOB_FILE_BYTES
from cryobridge.schemas.errors import CryobridgeError, InputInvalid, JobRejected
from cryobridge.schemas.job import (
    JOB_MODELS,
    check_paths,
    job_json_schema,
    parse_job,
    user_kinds,
)
from cryobridge.schemas.jobfile import load_job, parse_text
from cryobridge.schemas.kinds.map.fsc3d import MapFsc3dJob
from cryobridge.schemas.kinds.relion.reconstruct import RelionReconstructJob

GOOD = """\
schema: cryobridge/job/1
kind: map.fsc3d
inputs: {half1: half1.mrc, half2: half2.mrc, mask: mask.mrc}
output: out/
options: {limit_resolution_A: 3.5, half_angle_deg: 20, form: sum_ratio}
run: {priority: interactive, devices: "0,1", deadline_s: 60}
"""


def parsed(text: str) -> MapFsc3dJob:
    job = parse_job(parse_text(text, "job.yaml"), "job.yaml")
    assert isinstance(job, MapFsc3dJob)
    return job


def test_a_job_says_what_its_file_said() -> None:
    job = parsed(GOOD)
    assert job.inputs.half2 == Path("half2.mrc")
    assert job.options.half_angle_deg == 20
    assert job.options.form == "sum_ratio"
    assert job.run.deadline_s == 60


def test_only_the_two_halves_and_the_output_are_needed() -> None:
    job = parsed("schema: cryobridge/job/1\nkind: map.fsc3d\ninputs: {half1: a, half2: b}\noutput: c\n")
    assert job.options.half_angle_deg == 10
    assert job.options.form == "phase_cosine"
    assert job.options.limit_resolution_A is None
    assert job.run.priority == "batch"


def test_names_of_the_peers_mean_the_same() -> None:
    job = parsed(
        "schema: cryobridge/job/1\nkind: map.fsc3d\ninputs: {h1: a, h2: b, mask_file: m}\noutput: c\n"
        "options: {limit_res: 4, cone_sampling_angle: 15, keep_highres: true}\nrun: {gpuID: 0}\n"
    )
    assert job.inputs.mask == Path("m")
    assert job.options.limit_resolution_A == 4
    assert job.options.half_angle_deg == 15
    assert job.options.keep_high_resolution
    assert job.run.devices == "0"


def test_a_spec_comes_back_as_the_same_job() -> None:
    job = parsed(GOOD).resolved(Path("/data/project")).requested_as("abc")
    assert parse_job(json.loads(json.dumps(job.as_spec())), "store") == job


def test_relative_paths_start_at_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD.replace("mask.mrc", "/masks/m.mrc"))
    job = load_job(tmp_path / "job.yaml")
    assert {key: path for key, path, _ in job.paths()} == {
        "half1": tmp_path / "half1.mrc",
        "half2": tmp_path / "half2.mrc",
        "mask": Path("/masks/m.mrc"),
    }
    assert job.output == tmp_path / "out"


def test_json_is_read_like_yaml(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD)
    (tmp_path / "job.json").write_text(json.dumps(yaml.safe_load(GOOD)))
    assert load_job(tmp_path / "job.json") == load_job(tmp_path / "job.yaml")


BAD = [
    ("half_angle_deg: 20", "half_angel_deg: 20", "unknown key 'options.half_angel_deg'; did you mean 'options.half_a"),
    ("half1: half1.mrc", "halff1: half1.mrc", "unknown key 'inputs.halff1'; did you mean 'inputs.half1'?"),
    ("inputs:", "input:", "unknown key 'input'; did you mean 'inputs'?"),
    ("run: {", "run: {half1: x, ", "unknown key 'run.half1'; did you mean 'inputs.half1'?"),
    ("half2: half2.mrc, ", "", "'inputs.half2': is missing"),
    ("half2: half2.mrc", "half2: half1.mrc", "half1 and half2 are the same file"),
    ("half2: half2.mrc", "half2: ''", "'inputs.half2': a path is needed"),
    ("half2: half2.mrc", 'half2: "a\\nb"', "control characters"),
    ("half2: half2.mrc", f"half2: {'x' * 5000}", "more than 4096 characters"),
    ("A: 3.5", "A: -1", "'options.limit_resolution_A': Input should be greater than 0 (it is -1)"),
    ("A: 3.5", "A: .inf", "finite number"),
    ("A: 3.5", "A: .nan", "finite number"),
    ("A: 3.5", "A: high", "valid number"),
    ("A: 3.5", "A: 3.5, limit_res: 3.5", "'limit_resolution_A' and 'limit_res' in 'options' are the same; give one"),
    ("deg: 20", "deg: 91", "less than or equal to 90"),
    ("sum_ratio", "sum", "'phase_cosine' or 'sum_ratio'"),
    ('"0,1"', "fast", "auto, cpu, gpu, or GPU numbers"),
    ("interactive", "urgent", "'interactive' or 'batch'"),
    ("deadline_s: 60", "request_id: a/b", "request_id"),
    ("output: out/", "", "'output': is missing"),
    ("output: out/", "output: [a]", "'output'"),
    ("map.fsc3d", "map.fsc", "there is no kind 'map.fsc'; one of map.fsc3d"),
    ("kind: map.fsc3d", "", "'kind' is missing"),
    ("map.fsc3d", "relion.reconstruct", "made by RELION's own calls"),
    ("schema: cryobridge/job/1", "", "'schema' is missing; write 'schema: cryobridge/job/1'"),
    ("job/1", "job/2", "the schema is 'cryobridge/job/2'; this cryobridge reads cryobridge/job/1"),
    (GOOD, "- a\n- b\n", "a job is a list of 'key: value' lines"),
    (GOOD, "", "a job is a list of 'key: value' lines"),
    (GOOD, "a: [1\n", "not YAML: line 2"),
    (GOOD, "[" * 20_000, "nested too deeply"),
    ("output: out/", "output: out/\noutput: other/", "line 5: 'output' is given twice"),
    ("half1.mrc", "&a half1.mrc, half3: *a", "references (*name) are not read"),
    ("half1.mrc", "!!python/object/apply:os.system [id]", "could not determine a constructor"),
    ("output: out/", "output: out/\n---\nother: document", "not YAML"),
    ("output: out/", "output: out/\n? [1]\n: 2", "a key should be one word"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BAD, ids=[bad[2][:40] for bad in BAD])
def test_a_bad_job_is_one_sentence_with_the_file(old: str, new: str, sentence: str) -> None:
    text = GOOD.replace(old, new)
    assert text != GOOD
    with pytest.raises((InputInvalid, JobRejected)) as caught:
        parse_job(parse_text(text, "job.yaml"), "job.yaml")
    message = str(caught.value)
    assert message.startswith("job.yaml: ")
    assert sentence in message
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize("name", ["job.yaml", "job.json"])
@pytest.mark.parametrize("value", ["9" * 20_000, "0x" + "f" * 20_000, ":".join(["59"] * 40_000), "1:" * 40_000 + "1.5"])
def test_numbers_without_end_are_refused_quickly(name: str, value: str) -> None:
    started = time.monotonic()
    text = f'{{"schema": {value}}}' if name.endswith("json") else f"schema: {value}"
    with pytest.raises(InputInvalid) as caught:
        parse_job(parse_text(text, name), name)
    assert time.monotonic() - started < 1
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("key", ["schema", "kind", "output"])
def test_a_huge_number_from_elsewhere_is_one_short_sentence(key: str) -> None:
    spec = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "inputs": {}, "output": "o", key: [1 << 100_000]}
    for value in (1 << 100_000, [1 << 100_000]):
        with pytest.raises((InputInvalid, JobRejected)) as caught:
            parse_job({**spec, key: value}, "submit")
        assert len(str(caught.value)) < 300


def test_the_kinds_written_most_like_it_are_named_first() -> None:
    spec = {"schema": "cryobridge/job/1", "kind": "map.postproces", "inputs": {}, "output": "o"}
    with pytest.raises(JobRejected, match=r"no kind 'map\.postproces'; one of map\.postprocess, "):
        parse_job(spec, "submit")


def test_json_with_a_key_twice_is_refused() -> None:
    with pytest.raises(InputInvalid, match="'output' is given twice"):
        parse_text('{"output": "a", "output": "b"}', "job.json")


def test_an_unfolding_file_is_refused_before_it_unfolds() -> None:
    """Nine levels of ten references each would be a gigabyte."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(InputInvalid, match="references"):
        parse_text("\n".join(lines), "job.yaml")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"x" * (MAX_JOB_FILE_BYTES + 1), "larger than"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "job.yaml").write_bytes(content)
    with pytest.raises(InputInvalid, match=sentence):
        load_job(tmp_path / "job.yaml")


def test_a_pipe_or_folder_or_nothing_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, sentence in (
        ("pipe.yaml", "not a plain file"),
        (".", "cannot be read|not a plain file"),
        ("no", "No such"),
    ):
        with pytest.raises(InputInvalid, match=sentence):
            load_job(tmp_path / name)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["schema", "kind", "inputs", "half1", "half2", "output", "options", "run"]),
                inner,
                max_size=8,
            )
        ),
        max_leaves=12,
    )
)
def test_anything_that_can_be_written_is_either_a_job_or_an_error_of_ours(value: object) -> None:
    for spec in (value, {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "inputs": value, "output": value}):
        with contextlib.suppress(CryobridgeError):
            assert parse_job(spec, "spec").kind == "map.fsc3d"


@given(st.text(max_size=200))
def test_any_text_is_either_read_or_an_error_of_ours(text: str) -> None:
    for name in ("job.yaml", "job.json"):
        with contextlib.suppress(InputInvalid):
            value = parse_text(text, name)
            assert value is None or isinstance(value, str | int | float | list | dict | bool | datetime.date | bytes)


def files(folder: Path) -> MapFsc3dJob:
    for name in ("half1.mrc", "half2.mrc", "mask.mrc"):
        (folder / name).write_bytes(b"x")
    return parsed(GOOD).resolved(folder)


def test_paths_that_are_there_pass(tmp_path: Path) -> None:
    job = files(tmp_path)
    check_paths(job)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint").write_text("left by an interrupted run")
    check_paths(job)


def test_a_finished_result_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    job = files(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("{}")
    with pytest.raises(InputInvalid, match="holds a finished result; give another folder"):
        check_paths(job)
    check_paths(job.model_copy(update={"run": job.run.model_copy(update={"overwrite": True})}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "half1.mrc").unlink(), r"half1.mrc \(half1\) does not exist"),
        (lambda folder: ((folder / "mask.mrc").unlink(), (folder / "mask.mrc").mkdir()), r"\(mask\) is a folder"),
        (
            lambda folder: ((folder / "half2.mrc").unlink(), (folder / "half2.mrc").symlink_to("half1.mrc")),
            "are the same file",
        ),
        (lambda folder: (folder / "out").write_text(""), r"out \(output\) is a file"),
    ],
    ids=["absent", "folder", "same", "output"],
)
def test_a_path_that_cannot_work_is_said_with_its_key(tmp_path: Path, spoil: object, sentence: str) -> None:
    job = files(tmp_path)
    assert callable(spoil)
    spoil(tmp_path)
    with pytest.raises(InputInvalid, match=sentence):
        check_paths(job)


def test_the_daemon_books_iterations_that_nobody_can_submit() -> None:
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "relion.reconstruct",
        "inputs": {"job_dir": "/p/Refine3D/job001", "root": "run", "iteration": 7},
        "output": "/p/Refine3D/job001",
    }
    job = parse_job(spec, "store", internal=True)
    assert isinstance(job, RelionReconstructJob)
    assert "relion.reconstruct" not in user_kinds()


def test_the_json_schema_knows_every_key_of_the_models() -> None:
    document = job_json_schema()
    assert len(document["oneOf"]) == len(user_kinds())
    definition = document["$defs"]["MapFsc3dJob"]
    assert set(definition["properties"]) == {"schema", "kind", "inputs", "output", "options", "run"}
    assert definition["additionalProperties"] is False
    assert set(document["$defs"]["Fsc3dOptions"]["properties"]) == set(parsed(GOOD).options.model_fields_set) | {
        "keep_high_resolution",
        "voxel_size_A",
    }


def test_every_option_of_every_kind_is_described() -> None:
    for kind in user_kinds():
        for section in ("inputs", "options", "run"):
            model = JOB_MODELS[kind].model_fields[section].annotation
            assert model is not None
            for name, field in model.model_fields.items():
                assert field.description, f"{kind} {section}.{name} has no description"


_HEAD = "schema: cryobridge/job/1\nkind: map.fsc3d\noutput: o\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("values.yaml", f"{_HEAD}x: [{'1,' * 120_000}]"),
        ("tables.yaml", f"{_HEAD}x: [{'{a: 1},' * 35_000}]"),
        ("keys.yaml", _HEAD + "".join(f"k{number}: 1\n" for number in range(25_000))),
        ("depth.yaml", f"{_HEAD}x: {'[' * 120_000}"),
        ("tag.yaml", f"a: !<{'t' * 200_000}> 1"),
        ("twice.yaml", f"{'b' * 900}: 1\n" * 2),
        ("twice.json", f'{{"{"b" * 90_000}": 1, "{"b" * 90_000}": 2}}'),
        ("depth.json", f'{{"schema": "cryobridge/job/1", "kind": "map.fsc3d", "x": {"[" * 500}{"]" * 500}}}'),
        ("keys.json", json.dumps({f"k{number}": 1 for number in range(22_000)})),
    ],
)
def test_a_hostile_job_file_costs_little_and_is_one_short_sentence(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    begun = time.process_time()
    with pytest.raises(InputInvalid) as caught:
        load_job(tmp_path / name)
    assert time.process_time() - begun < 2.5
    assert len(str(caught.value)) < 700


def test_a_job_of_a_million_unknown_keys_is_refused_before_they_are_looked_at() -> None:
    spec = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", **{f"k{number}": 0 for number in range(1_000_000)}}
    begun = time.process_time()
    with pytest.raises(InputInvalid, match="a table of 1000002 keys"):
        parse_job(spec, "submit")
    assert time.process_time() - begun < 0.5

"""What holds for every kind that may be submitted, and for every later one, without a word about it anywhere."""

from __future__ import annotations

import inspect
import os
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cryobridge.bridge import cli
from cryobridge.bridge.commands.reference import BEGIN, KINDS_BEGIN, KINDS_END, kinds_table, tables
from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.runner import runner_of
from cryobridge.schemas.describe import describe_kind
from cryobridge.schemas.job import JOB_MODELS, job_json_schema, parse_job, user_kinds
from cryobridge.schemas.outputs import OutputType, output_of

WIDEST_HELP = 110
KINDS = user_kinds()
SCHEMA = job_json_schema()
BOX = 64


def example(kind: str) -> dict[str, Any]:
    return describe_kind(JOB_MODELS[kind]).example()


@pytest.mark.parametrize("kind", KINDS)
def test_its_module_is_called_as_it_is(kind: str) -> None:
    assert JOB_MODELS[kind].__module__ == f"cryobridge.schemas.kinds.{kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_its_runner_takes_the_job_and_a_context(kind: str) -> None:
    runner = runner_of(kind)
    assert list(inspect.signature(runner).parameters) == ["job", "context"]
    hints = typing.get_type_hints(runner)
    assert hints["job"] is JOB_MODELS[kind]
    assert hints["context"] is Context
    assert inspect.isgeneratorfunction(runner)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_in_the_documents(kind: str, repository: Path) -> None:
    assert f"| `{kind}` | " in kinds_table()
    described = describe_kind(JOB_MODELS[kind])
    for section, fields in (("inputs", described.inputs), ("options", described.options)):
        assert (f"### `{kind}`: {section}" in tables()) == bool(fields)


@pytest.mark.parametrize("document", ["configuration.md", "jobs.md"])
def test_the_documents_are_up_to_date(document: str, repository: Path) -> None:
    text = (repository / "docs" / document).read_text()
    made = [text.partition(BEGIN)[2], text.partition(KINDS_BEGIN)[2].partition(KINDS_END)[0]]
    wanted = [tables() if BEGIN in text else "", kinds_table() if KINDS_BEGIN in text else ""]
    assert any(wanted)
    assert [part.strip() for part in made] == [part.strip() for part in wanted], (
        f"docs/{document} is out of date; run: cryobridge config reference --write docs/{document}"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_its_help_fits_and_shows_every_option_once(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((200, 50)))
    assert cli.run([*kind.split("."), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDEST_HELP
    if "." not in kind:
        return  # a command of its own, written by hand
    described = describe_kind(JOB_MODELS[kind])
    shown = [word.strip(",").partition("/")[0] for line in lines if line.startswith("  -") for word in line.split()]
    for field in (*described.inputs, *described.options, *described.run):
        if field.required and field.is_path:
            assert sum(line.strip().startswith(field.key.upper()) for line in lines) == 1
        else:
            assert shown.count(f"--{field.key.replace('_', '-').replace('.', '-')}") == 1, field.key


@pytest.mark.parametrize("kind", KINDS)
def test_its_example_is_a_job_to_us_and_to_the_json_schema(kind: str) -> None:
    spec = example(kind)
    assert parse_job(spec, "example").kind == kind
    jsonschema.validate(spec, SCHEMA)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", [None, "inputs", "options", "run"])
def test_a_key_too_many_is_refused_by_the_json_schema(kind: str, section: str | None) -> None:
    spec = example(kind)
    (spec if section is None else spec.setdefault(section, {}))["no_such_key"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, SCHEMA)


@pytest.mark.parametrize("kind", KINDS)
def test_its_outputs_have_types_roles_and_words(kind: str) -> None:
    outputs = JOB_MODELS[kind].outputs
    assert output_of(outputs, "report.html") is not None
    assert all(output.type in typing.get_args(OutputType) for output in outputs)
    assert all(output.description and not output.description.endswith(".") for output in outputs)
    assert len({output.role for output in outputs}) == len({output.pattern for output in outputs}) == len(outputs)
    halves = {output.role for output in outputs if output.type == "half_map"}
    assert halves in (set(), {"half1", "half2"})


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_memory_grows_with_the_box(kind: str, device: str) -> None:
    job = parse_job(example(kind), "example")
    small, large = (job.memory(box, device) for box in (BOX, 2 * BOX))
    assert 0 < small.host_bytes < large.host_bytes
    assert 0 < small.device_bytes < large.device_bytes
    assert small.of_host("cpu") == small.host_bytes + small.device_bytes
    assert small.of_host("cuda:1") == small.host_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_words(kind: str) -> None:
    described = describe_kind(JOB_MODELS[kind])
    assert described.summary
    assert [field.key for field in (*described.inputs, *described.options) if not field.help] == []

"""The reference of all settings is complete, and the document holds it as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge import cli
from cryobridge.bridge.commands.reference import BEGIN, tables, write_into
from cryobridge.schemas.config import DaemonConfig, load
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.relion import ENVIRONMENT, RelionOptions
from cryobridge.schemas.variables import known_variables, variable


def test_every_key_and_variable_is_there() -> None:
    text = tables()
    for model in (RelionOptions, CorrectionOptions):
        for key in model.model_fields:
            assert key == "network" or f"| `{key}` |" in text
    for key in load(environment={}).origins:
        assert f"| `{key}` | `{variable(key)}` |" in text
    for name in ENVIRONMENT:
        assert f"`{name}`" in text
    assert "| `half_angle_deg` | `cone_sampling_angle` | `10.0` |" in text


def test_variables_are_what_the_daemon_reads() -> None:
    environment = {"CRYOBRIDGE_DEADLINES__CORRECT_S": "5", "CRYOBRIDGE_INBOX": "/data/inbox"}
    assert set(environment) <= known_variables()
    config = load(environment=environment).config
    assert config != DaemonConfig()
    assert config.deadlines.correct_s == 5


def test_the_document_is_up_to_date(repository: Path) -> None:
    text = (repository / "docs" / "configuration.md").read_text()
    assert text.partition(BEGIN)[2].strip() == tables().strip(), (
        "docs/configuration.md is out of date; run: cryobridge config reference --write docs/configuration.md"
    )


def test_only_what_follows_the_marker_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"by hand\n\n{BEGIN}\nold")
    assert cli.run(["config", "reference", "--write", str(document)]) == 0
    assert document.read_text() == f"by hand\n\n{BEGIN}\n\n{tables()}"
    document.write_text("no marker")
    with pytest.raises(InputInvalid, match="nothing was written"):
        write_into(document)
    assert document.read_text() == "no marker"
    assert cli.run(["config", "reference"]) == 0
    assert capsys.readouterr().out == tables()

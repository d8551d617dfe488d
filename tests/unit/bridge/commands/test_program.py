"""How errors of commands are said."""

from __future__ import annotations

import pytest

from cryobridge.bridge.commands import program
from cryobridge.schemas.errors import InputInvalid


def test_no_control_character_of_a_foreign_name_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        raise InputInvalid("P1-J1 has no output 'x'; it has \x1b[2Jgone\u202e\rroot")

    monkeypatch.setattr(program.cryobridge_command, "main", fails)
    assert program.answer(["status"]) == 1
    assert capsys.readouterr().err == "cryobridge: P1-J1 has no output 'x'; it has ?[2Jgone??root\n"

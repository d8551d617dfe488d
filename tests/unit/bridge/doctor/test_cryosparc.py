"""What the doctor says of tools, of the way to a server, and where nobody answers; no server is needed for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cryobridge.bridge import cli
from cryobridge.bridge.doctor import cryosparc as doctor
from cryobridge.bridge.doctor.cryosparc import check_token, check_tools, check_version, check_way, examine_cryosparc
from cryobridge.bridge.doctor.finding import Finding, Level
from cryobridge.wrappers.cryosparc.versions import Detected

NOBODY = "http://127.0.0.1:9"
ANOTHER = "http://192.0.2.7:39000"  # RFC 5737: nobody's


@pytest.mark.parametrize(
    ("found", "tools", "text", "line"),
    [
        (Detected(5), "", "are not installed here", "~=5.0.0"),
        (Detected(4, "v4.7.1"), "", "are not installed here", "~=4.7.0"),
        (None, "", "are not installed here", "~=5.0.0"),
        (Detected(4, "v4.7.1"), "5.0.3", "CryoSPARC v4.7.1 answers there, and cryosparc-tools 5.0.3 cannot", "~=4.7.0"),
        (Detected(5), "4.7.1", "CryoSPARC 5 answers there, and cryosparc-tools 4.7.1 cannot", "~=5.0.0"),
    ],
)
def test_tools_that_do_not_do_are_a_failure_with_the_line_that_installs_others(
    found: Detected | None, tools: str, text: str, line: str
) -> None:
    finding = check_tools(found, tools)
    assert finding is not None
    assert finding.level is Level.FAIL
    assert finding.text.startswith(text)
    assert f'pip install "cryosparc-tools{line}"' in finding.advice


def test_the_line_is_exact_only_where_the_version_is_known() -> None:
    unknown, known = check_tools(Detected(5), ""), check_tools(Detected(4, "v4.7.1"), "")
    assert unknown is not None
    assert known is not None
    assert "minor version" in unknown.advice
    assert known.advice == 'pip install "cryosparc-tools~=4.7.0"'


@pytest.mark.parametrize("found", [Detected(5), None])
def test_of_tools_that_may_do_nothing_is_said_yet(found: Detected | None) -> None:
    assert check_tools(found, "5.0.3") is None


@pytest.mark.parametrize(
    ("version", "tools", "level"),
    [("v5.0.3", "5.0.0", Level.OK), ("v5.1.0", "5.0.3", Level.WARN), ("5.10.2", "5.1.0", Level.WARN)],
)
def test_the_minor_version_counts_and_the_patch_level_does_not(version: str, tools: str, level: Level) -> None:
    finding = check_version(version, tools)
    assert finding.level is level
    assert version in finding.text
    assert tools in finding.text


def test_what_others_could_hear_is_a_warning() -> None:
    assert check_way("https://cryosparc.example.org") == Finding("connection", Level.OK, "is encrypted")
    assert check_way(NOBODY).text == "does not leave this machine"
    finding = check_way(ANOTHER)
    assert finding.level is Level.WARN
    assert "ssh -L" in finding.advice


def test_where_nobody_answers_the_rest_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "tools_version", lambda: "")
    environment = {"CRYOBRIDGE_SOCKET": str(tmp_path / "socket")}
    findings = list(examine_cryosparc(NOBODY, environment=environment, projects=["P1"], workspace="W1"))
    assert [(one.check, one.level) for one in findings] == [
        ("CryoSPARC", Level.FAIL),
        ("cryosparc-tools", Level.FAIL),
        ("connection", Level.OK),
        ("daemon", Level.FAIL),
    ]
    assert "address that you open in the browser" in findings[0].text


def test_of_several_users_tokens_the_first_that_lasts_is_used_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "auth.json"
    session = '{"token": {"access_token": "t", "token_type": "bearer"}, "expires": "%s"}'
    users = {"old": "2026-01-01T00:00:00Z", "ann": "2026-06-01T00:00:00Z", "ben": "2026-07-01T00:00:00Z"}
    rows = ", ".join(f'"{user}": {session % expires}' for user, expires in users.items())
    path.write_text(f'{{"{NOBODY}": {{{rows}}}}}')
    monkeypatch.setattr(doctor, "token_path", lambda: path)
    monkeypatch.setattr(doctor, "readable_by_others", lambda: False)
    now = datetime(2026, 5, 1, tzinfo=UTC)
    several, used = check_token(NOBODY, "", now)
    assert (several.level, several.text) == (Level.WARN, "there are tokens of ann, ben; the first is used")
    assert (used.level, used.text[:7]) == (Level.OK, "of ann,")
    (used,) = check_token(NOBODY, "ben", now)
    assert used.text.startswith("of ben, lasts 61.0 days")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--workspace", "W1"], 2, "give one --project with it"),
        (["--workspace", "W1", "--project", "P1", "--project", "P2"], 2, "give one --project with it"),
        (["--project", "3"], 1, "write it as in P3"),
        (["--project", "P1", "--workspace", "one"], 1, "write it as in W1"),
        (["--url", "http://:x"], 1, "http://cryosparc.example.org:39000"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert cli.run(["cryosparc", "doctor", "--url", NOBODY, *words]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_what_a_server_says_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = Finding("login", Level.FAIL, "refused\x1b[2J\rok", "do\nthis")
    monkeypatch.setattr(doctor, "examine_cryosparc", lambda *_: iter([evil]))
    assert cli.run(["cryosparc", "doctor", "--url", NOBODY]) == 1
    assert capsys.readouterr().out == "fail  login: refused?[2J?ok\n      -> do?this\n"

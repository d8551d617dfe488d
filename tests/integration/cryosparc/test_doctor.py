"""What the doctor says of a server that lets nobody in, is of another version, or has its folders elsewhere."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.cryosparc import EMAIL, PASSWORD
from support.scripted_daemon import scripted_daemon
from support.without_packages import command, not_the_agents, python_without

from cryobridge import __version__
from cryobridge.bridge import cli
from cryobridge.bridge.doctor import cryosparc as doctor
from cryobridge.bridge.doctor.cryosparc import examine_cryosparc
from cryobridge.bridge.doctor.finding import Finding, Level
from cryobridge.wrappers.cryosparc import versions
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server
from cryobridge.wrappers.cryosparc.v5.login import log_in, token_path

from .conftest import Bench

pytestmark = pytest.mark.shared


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No token of anybody else is seen, and no daemon."""
    path = pytest.importorskip("cryosparc.auth").get_default_auth_config_path
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(tmp_path / "socket"))
    for name in ("CRYOSPARC_EMAIL", "CRYOSPARC_PASSWORD", "CRYOSPARC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    path.cache_clear()
    yield tmp_path
    path.cache_clear()


def examined(bench: Bench, *, password: str = PASSWORD, **what: object) -> list[Finding]:
    email = EMAIL if password else ""
    return list(examine_cryosparc(bench.standin.url, email, password, **what))  # type: ignore[arg-type]


def of(findings: list[Finding], check: str) -> Finding:
    """The one finding of a check."""
    (found,) = [one for one in findings if one.check == check]
    return found


def test_a_server_that_is_well_gives_no_complaint(bench: Bench, tmp_path: Path) -> None:
    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("status", version=__version__, state="ready", health={"problems": []})
        findings = examined(bench, projects=["P1"], workspace="W1")
    assert {one.level for one in findings} == {Level.OK}, findings
    assert of(findings, "login").text == f"acts as {EMAIL}"
    assert "5.0.3 go with CryoSPARC v5.0.3" in of(findings, "cryosparc-tools").text
    assert "server's own" in of(findings, "project").text
    assert findings[-1].text.endswith("P1-J2 may be deleted")
    assert bench.standin.job(bench.server.find(["P1"])[0].id).status == "completed"
    left = {path.name for path in bench.standin.project().iterdir()}
    assert left == {"J1", "J2", "project.json", "workspaces.json"} | (left & {"truth.json", "truth.mrc"})


def test_a_wrong_password_is_named_and_nothing_about_tokens_is_said(bench: Bench) -> None:
    findings = examined(bench, password="wrong", projects=["P1"])
    assert of(findings, "login").level is Level.FAIL
    assert of(findings, "login").text == f"the server does not take this password for {EMAIL}"
    assert of(findings, "CryoSPARC").text.startswith("5 answers")
    assert not {"token", "project"} & {one.check for one in findings}


def test_a_password_without_a_user_is_not_taken_silently_for_nothing(bench: Bench) -> None:
    findings = list(examine_cryosparc(bench.standin.url, "", PASSWORD))
    assert any(one.level is Level.WARN and one.advice == "give --email" for one in findings)


def test_without_a_token_the_line_that_gets_one_is_told(bench: Bench) -> None:
    findings = examined(bench, password="")
    token = of(findings, "token")
    assert (token.level, token.text) == (Level.FAIL, "there is none for this server")
    assert token.advice == f"cryobridge cryosparc login --url {bench.standin.url}"
    assert "seen after login" in of(findings, "cryosparc-tools").text


def test_an_expired_token_is_told_from_none(bench: Bench) -> None:
    _rewrite_token(bench, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    token = of(examined(bench, password=""), "token")
    assert (token.level, token.text) == (Level.FAIL, "it expired on 2026-01-02 at 03:04 UTC")


def test_a_token_that_ends_soon_is_a_warning_and_one_that_does_not_is_none(bench: Bench) -> None:
    _rewrite_token(bench, datetime.now(UTC) + timedelta(days=2.5))
    findings = examined(bench, password="")
    assert of(findings, "token").level is Level.WARN
    assert "lasts 2.5 days" in of(findings, "token").text
    assert of(findings, "login").level is Level.OK
    log_in(bench.standin.url, EMAIL, PASSWORD, 30)
    assert of(examined(bench, password=""), "token").level is Level.OK


def test_a_token_that_the_server_has_forgotten_is_a_failure_of_the_login(bench: Bench) -> None:
    log_in(bench.standin.url, EMAIL, PASSWORD)
    bench.standin.state.tokens.clear()
    login = of(examined(bench, password=""), "login")
    assert (login.level, login.text) == (
        Level.FAIL,
        "the server does not take the token that is stored here any more",
    )


def test_tokens_that_others_can_read_are_a_warning(bench: Bench) -> None:
    log_in(bench.standin.url, EMAIL, PASSWORD)
    token_path().chmod(0o644)
    findings = [one for one in examined(bench, password="") if one.check == "token"]
    assert findings[0].level is Level.WARN
    assert findings[0].advice == f"chmod 600 {token_path()}"


def test_a_damaged_file_of_tokens_is_one_sentence(bench: Bench) -> None:
    log_in(bench.standin.url, EMAIL, PASSWORD)
    token_path().write_text('{"http://')
    token = of(examined(bench, password=""), "token")
    assert token.level is Level.FAIL
    assert "is damaged" in token.text


def test_tools_of_another_minor_version_are_a_warning_with_the_line_that_installs_the_right_ones(
    make_bench: Callable[..., Bench],
) -> None:
    tools = of(examined(make_bench(version="v5.1.0")), "cryosparc-tools")
    assert tools.level is Level.WARN
    assert "v5.1.0" in tools.text
    assert tools.advice == 'pip install "cryosparc-tools~=5.1.0"'


@pytest.mark.parametrize(
    ("tools", "said"),
    [("", "are not installed here"), ("4.7.1", "cryosparc-tools 4.7.1 cannot speak to it")],
)
def test_without_fitting_tools_the_rest_is_still_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tools: str, said: str
) -> None:
    for module in (doctor, versions):
        monkeypatch.setattr(module, "tools_version", lambda: tools)
    findings = examined(bench, password="")
    lacking = of(findings, "cryosparc-tools")
    assert lacking.level is Level.FAIL
    assert said in lacking.text
    assert 'pip install "cryosparc-tools~=5.0.0"' in lacking.advice
    assert {"CryoSPARC", "connection", "daemon"} <= {one.check for one in findings}
    assert "login" not in {one.check for one in findings}


def test_tools_that_do_not_load_are_a_finding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def broken(name: str, *rest: object) -> object:
        if name.startswith("cryosparc"):
            raise ImportError("numpy.core.multiarray failed to import")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(importlib, "import_module", broken)
    tools = of(examined(bench), "cryosparc-tools")
    assert (tools.level, tools.text[-40:]) == (Level.FAIL, ": numpy.core.multiarray failed to import")


def test_a_folder_that_is_not_here_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _says_folder_is(monkeypatch, tmp_path / "elsewhere")
    findings = examined(bench, projects=["P1"], workspace="W1")
    assert of(findings, "project").level is Level.WARN
    assert "is not there on" in of(findings, "project").text
    cards = [one for one in findings if one.check == "scratch card"]
    assert [one.level for one in cards].count(Level.WARN) == 1
    assert "all that a card needs works" in cards[-1].text


def test_another_folder_of_the_same_name_is_not_taken_for_the_servers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(bench.standin.project(), tmp_path / "copy")
    _says_folder_is(monkeypatch, tmp_path / "copy")
    project = of(examined(bench, projects=["P1"]), "project")
    assert project.level is Level.WARN
    assert "is not the folder that the server has" in project.text


def test_the_file_that_shows_whose_folder_it_is_can_be_read_by_another_user(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    real = V5Server.read

    def read(self: V5Server, project: str, path: str, limit: int) -> bytes | None:
        modes.append((bench.standin.project() / path).stat().st_mode & 0o777)
        return real(self, project, path, limit)

    monkeypatch.setattr(V5Server, "read", read)
    before = os.umask(0o077)
    try:
        assert of(examined(bench, projects=["P1"]), "project").level is Level.OK
    finally:
        os.umask(before)
    assert modes == [0o644]


def test_a_folder_that_cannot_be_written_to_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _says_folder_is(monkeypatch, Path("/proc/self/task"))  # not even by root
    project = of(examined(bench, projects=["P1"]), "project")
    assert project.level is Level.WARN
    assert "cannot be written to by this user" in project.text


def test_a_folder_on_whose_way_one_cannot_go_is_a_warning(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def denied(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("status", version=__version__, state="ready", health={"problems": []})
        monkeypatch.setattr(Path, "is_dir", denied)
        project = of(examined(bench, projects=["P1"]), "project")
    assert project.level is Level.WARN
    assert "may not be read by this user" in project.text


def test_a_project_that_there_is_not_is_named(bench: Bench) -> None:
    project = of(examined(bench, projects=["P7"]), "project")
    assert project.level is Level.FAIL
    assert "P7" in project.text


@pytest.mark.parametrize("operation", ["users.me", "config.get_version", "projects.get_directory"])
@pytest.mark.parametrize("how", [{"status": 503}, {"drop": "before", "times": 99}])
def test_what_a_server_cannot_do_is_one_sentence(bench: Bench, operation: str, how: dict[str, object]) -> None:
    bench.standin.fault(operation, **how)
    failed = [one for one in examined(bench, projects=["P1"]) if one.level is Level.FAIL and one.check != "daemon"]
    assert len(failed) == 1
    assert "\n" not in failed[0].text
    assert failed[0].advice


def test_a_daemon_of_another_version_is_a_warning(bench: Bench, tmp_path: Path) -> None:
    assert of(examined(bench), "daemon").level is Level.FAIL
    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("status", version="9.9", state="ready", health={"problems": []})
        levels = [one.level for one in examined(bench) if one.check == "daemon"]
    assert levels == [Level.WARN, Level.OK]


def test_the_command_prints_what_was_found_and_fails_where_something_failed(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYOSPARC_PASSWORD", PASSWORD)
    words = ["cryosparc", "doctor", "--url", bench.standin.url, "--email", EMAIL, "--project", "P1"]
    assert cli.run(words) == 1
    assert "fail  daemon: none is running" in capsys.readouterr().out
    assert cli.run([*words, "--json"]) == 1
    assert {"check", "level", "text", "advice"} == set(json.loads(capsys.readouterr().out)[0])


def test_it_works_in_the_agents_environment_which_has_no_torch(bench: Bench, home: Path) -> None:
    words = ["--url", bench.standin.url, "--email", EMAIL, "--project", "P1", "--workspace", "W1"]
    code = command("cryosparc", "doctor", *words)
    answer = python_without(not_the_agents(), code, home, environment={"CRYOSPARC_PASSWORD": PASSWORD})
    assert "all that a card needs works; P1-J2 may be deleted" in answer.stdout
    assert answer.stderr == ""
    make = command("cryosparc", "card", *words, "--job", "map.fsc3d", "--volume", "J1")
    answer = python_without(not_the_agents(), make, home, environment={"CRYOSPARC_PASSWORD": PASSWORD})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "P1-J3\n", "")


def _says_folder_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the server name a folder on its machine that is something else here."""
    monkeypatch.setattr(V5Server, "project_directory", lambda _self, _project: str(folder))


def _rewrite_token(bench: Bench, expires: datetime) -> None:
    log_in(bench.standin.url, EMAIL, PASSWORD)
    stored = json.loads(token_path().read_text())
    stored[bench.standin.url][EMAIL]["expires"] = expires.isoformat()
    token_path().write_text(json.dumps(stored))
    assert hashlib.sha256(PASSWORD.encode()).hexdigest() not in token_path().read_text()

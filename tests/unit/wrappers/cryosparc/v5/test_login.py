"""Tokens: for their owner only, several servers and users, and none after they have expired."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.cryosparc import EMAIL, PASSWORD, Standin

pytest.importorskip("cryosparc.auth", reason="cryosparc-tools are not installed (extra 'cryosparc')")

from cryosparc.auth import InstanceAuthSessions, get_default_auth_config_path

from cryobridge.wrappers.cryosparc.server import NotLoggedIn, Unreachable
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server
from cryobridge.wrappers.cryosparc.v5.login import log_in, readable_by_others, token_expires, token_path

pytestmark = pytest.mark.shared


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for tokens of this test alone; the umask is that of most systems."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    get_default_auth_config_path.cache_clear()
    before = os.umask(0o022)
    yield tmp_path / "config" / "cryosparc-tools" / "auth.json"
    os.umask(before)
    get_default_auth_config_path.cache_clear()


@pytest.fixture
def standin(shared: Path, tmp_path: Path) -> Iterator[Standin]:
    running = Standin(shared, tmp_path)
    yield running
    running.close()


def test_a_token_is_for_its_owner_only(standin: Standin, tokens: Path) -> None:
    """Trap 8: the client itself writes it with mode 644 under umask 022."""
    expires = log_in(standin.url, EMAIL, PASSWORD, 2.0)
    assert token_path() == tokens
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens.parent.stat().st_mode) & 0o077 == 0
    assert not readable_by_others()
    assert token_expires(standin.url, EMAIL) == expires
    assert timedelta(days=1.9) < expires - datetime.now(UTC) <= timedelta(days=2)
    assert V5Server(standin.url).user == EMAIL
    # What a new file gets is as before.
    (tokens.parent / "other").touch()
    assert stat.S_IMODE((tokens.parent / "other").stat().st_mode) == 0o644


def test_a_file_that_others_can_read_is_closed_before_the_token_is_in_it(
    standin: Standin, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.parent.mkdir(parents=True)
    tokens.write_text("{}")
    tokens.chmod(0o644)
    assert readable_by_others()
    modes = []
    save = InstanceAuthSessions.save

    def seen(self: InstanceAuthSessions, path: Path | None = None) -> None:
        modes.append(stat.S_IMODE(tokens.stat().st_mode))
        save(self, path)

    monkeypatch.setattr(InstanceAuthSessions, "save", seen)
    log_in(standin.url, EMAIL, PASSWORD)
    assert modes == [0o600]
    assert not readable_by_others()


def test_several_servers_have_a_token_each(shared: Path, standin: Standin, tokens: Path, tmp_path: Path) -> None:
    other = Standin(shared, tmp_path / "other")
    try:
        for one in (standin, other):
            log_in(one.url, EMAIL, PASSWORD)
        assert len(json.loads(tokens.read_text())) == 2
        for one in (standin, other):
            assert V5Server(one.url).url == one.url
    finally:
        other.close()


def test_a_wrong_password_is_said_and_keeps_the_token_that_there_is(standin: Standin, tokens: Path) -> None:
    log_in(standin.url, EMAIL, PASSWORD)
    before = tokens.read_bytes()
    with pytest.raises(NotLoggedIn) as caught:
        log_in(standin.url, EMAIL, "wrong-s3cret")
    assert "wrong-s3cret" not in str(caught.value)
    assert tokens.read_bytes() == before


def test_an_expired_token_is_none(standin: Standin, tokens: Path) -> None:
    log_in(standin.url, EMAIL, PASSWORD)
    document = json.loads(tokens.read_text())
    document[standin.url][EMAIL]["expires"] = "2020-01-01T00:00:00Z"
    tokens.write_text(json.dumps(document))
    assert token_expires(standin.url) is None
    with pytest.raises(NotLoggedIn, match="there is no token, or it has expired; log in: cryobridge cryosparc login"):
        V5Server(standin.url)


@pytest.mark.parametrize("content", ["", "{", '{"x": 1}', "[]"])
def test_a_damaged_file_is_no_token_and_is_replaced(standin: Standin, tokens: Path, content: str) -> None:
    tokens.parent.mkdir(parents=True)
    tokens.write_text(content)
    with pytest.raises(NotLoggedIn):
        V5Server(standin.url)
    log_in(standin.url, EMAIL, PASSWORD)
    assert V5Server(standin.url).user == EMAIL


def test_nobody_at_the_address_is_said(standin: Standin, tokens: Path) -> None:
    standin.close()
    with pytest.raises(Unreachable, match="no CryoSPARC answers there"):
        log_in(standin.url, EMAIL, PASSWORD, timeout_s=1.0)
    assert not tokens.exists()


def command(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cryobridge.bridge.cli", "cryosparc", "login", "--url", url, "--email", EMAIL],
        env={**os.environ, "CRYOSPARC_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_logs_in_and_never_shows_the_password_or_a_token(standin: Standin, tokens: Path) -> None:
    tokens.parent.mkdir(parents=True)
    tokens.write_text('{"http://host": {"me": {"token": "an-0ld-token"}}}')
    done = command(standin.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("logged in until ")
    (token,) = [one["token"]["access_token"] for one in json.loads(tokens.read_text())[standin.url].values()]
    for secret in (PASSWORD, token, "an-0ld-token"):
        assert secret not in done.stdout + done.stderr
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600


def test_the_command_says_in_one_line_that_nobody_answers(standin: Standin, tokens: Path) -> None:
    standin.close()
    done = command(standin.url)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no CryoSPARC answers there" in done.stderr

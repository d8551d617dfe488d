"""Stored tokens are read as they are: expired ones too, and a damaged file is not an empty one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.v5.tokens import StoredToken, stored_tokens

URL = "http://cryosparc.example.org:39000"


def written(folder: Path, sessions: object) -> Path:
    path = folder / "auth.json"
    path.write_text(json.dumps(sessions))
    return path


def session(expires: str) -> dict[str, object]:
    return {"token": {"access_token": "abc", "token_type": "bearer"}, "expires": expires}


def test_tokens_of_a_server_or_of_one_of_its_users_are_found(tmp_path: Path) -> None:
    users = {"a@example.org": session("2020-01-01T00:00:00Z"), "b@example.org": session("2026-05-01T12:00:00+02:00")}
    path = written(tmp_path, {URL: users, "http://other": {"c@example.org": session("2026-01-01T00:00:00Z")}})
    first = StoredToken("a@example.org", datetime(2020, 1, 1, tzinfo=UTC))
    second = StoredToken("b@example.org", datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert stored_tokens(path, URL) == [first, second]
    assert stored_tokens(path, URL, "b@example.org") == [second]
    assert stored_tokens(path, "http://nobody") == []


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert stored_tokens(tmp_path / "auth.json", URL) == []


@pytest.mark.parametrize("raw", ["", "[]", '{"http://x": 3}', '{"http://x": {"a": {"expires": "2026-01-01"}}}', "\0"])
def test_a_damaged_file_is_told(tmp_path: Path, raw: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(raw)
    with pytest.raises(InputInvalid, match="is damaged"):
        stored_tokens(path, URL)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "auth.json").mkdir()
    with pytest.raises(InputInvalid, match="cannot be read"):
        stored_tokens(tmp_path / "auth.json", URL)

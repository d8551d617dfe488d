"""A daemon for one program: where it lives, and what it is told of the user's settings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from cryobridge.bridge.own_daemon import OwnDaemon, own_settings
from cryobridge.schemas.config import DaemonConfig
from cryobridge.schemas.errors import DaemonUnavailable


def test_its_folder_is_private_and_its_socket_has_a_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    daemon = OwnDaemon({})
    try:
        assert len(os.fsencode(daemon.socket)) <= 90
        assert daemon.socket.parent.stat().st_mode & 0o777 == 0o700
        assert list(deep.iterdir()) == []
    finally:
        daemon.remove()
    assert not daemon.socket.parent.exists()


def test_it_has_the_users_settings_but_those_of_a_daemon_that_stays(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("inbox: /data/inbox\nwatch_roots: [/data]\nstate_dir: /state\ndeadlines: {partner_s: 7}\n")
    settings = own_settings({"CRYOBRIDGE_CONFIG": str(file), "CRYOBRIDGE_DEVICES": "cpu"})
    config = DaemonConfig.model_validate(settings)
    assert (config.inbox, config.watch_roots, config.state_dir, config.socket) == (None, [], None, None)
    assert config.deadlines.partner_s == 7
    assert config.devices == ["cpu"]


def test_settings_that_cannot_be_used_are_why_it_does_not_start(tmp_path: Path) -> None:
    daemon = OwnDaemon({"CRYOBRIDGE_CONFIG": str(tmp_path / "none.yaml")})
    try:
        with pytest.raises(DaemonUnavailable, match=r"none\.yaml"):
            daemon.start()
        assert daemon.end is None
        assert daemon.sessions() == []
        daemon.stop()
        assert not daemon.keep_log(tmp_path / "log")
    finally:
        daemon.remove()

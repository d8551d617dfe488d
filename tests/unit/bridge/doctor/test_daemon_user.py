"""A daemon of another user does nothing for the agent's files, and that is said."""

from __future__ import annotations

import os
from pathlib import Path

from cryobridge.bridge.doctor.cryosparc_project import check_daemon_may
from cryobridge.bridge.doctor.finding import Level

STRANGER = 4_000_001


def test_only_a_daemon_of_another_user_is_warned_of() -> None:
    folder = Path("/project")
    assert list(check_daemon_may("project", folder, os.getuid())) == []
    assert list(check_daemon_may("project", folder, None)) == []
    (found,) = check_daemon_may("project", folder, STRANGER)
    assert (found.level, str(folder) in found.text) == (Level.WARN, True)
    assert "as one user" in found.advice

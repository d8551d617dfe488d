"""A daemon of another user is not asked for what it cannot read."""

from __future__ import annotations

import os
from typing import Any

import pytest

from cryobridge.bridge import daemon_jobs
from cryobridge.bridge.daemon_jobs import DaemonJobs
from cryobridge.bridge.users import user_name
from cryobridge.schemas.errors import JobRejected


class AnsweringClient:
    """A daemon's client that takes every job."""

    path = "/run/cryobridge/socket"

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.asked: list[Any] = []

    def __enter__(self) -> AnsweringClient:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"job_id": "abc", "state": "queued"}


@pytest.mark.parametrize("more", [0, 1])
def test_a_daemon_of_another_user_is_not_given_what_it_cannot_read(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    client = AnsweringClient(os.getuid() + more)
    monkeypatch.setattr(daemon_jobs.DaemonClient, "connect", classmethod(lambda _: client))
    if more == 0:
        assert DaemonJobs().submit({}) == "abc"
    else:
        with pytest.raises(JobRejected, match="run both as the same user"):
            DaemonJobs().submit({})
        assert client.asked == []


def test_users_without_a_name_are_told_by_their_numbers() -> None:
    assert user_name(0) == "root"
    assert user_name(2**31 - 7) == f"user {2**31 - 7}"

"""The client: finds a daemon, greets it, and turns its answers into values or named errors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_daemon import ScriptedDaemon, scripted_daemon

from cryobridge.bridge.client import DaemonClient, degradations
from cryobridge.schemas import wire
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, DeadlineExceeded, JobRejected
from cryobridge.schemas.news import Board
from cryobridge.schemas.requests import AskStatus, CancelJob, SubmitJob, WaitForJob


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    with scripted_daemon(tmp_path / "socket") as running:
        yield running


def connect(path: Path) -> DaemonClient:
    return DaemonClient.connect({"CRYOBRIDGE_SOCKET": str(path)}, timeout_s=1.0)


def test_a_request_gets_its_reply(daemon: ScriptedDaemon) -> None:
    daemon.replies("status", state="ready", uptime_s=3)
    daemon.replies("cancel")
    with connect(daemon.path) as client:
        assert client.welcome.daemon_id == "test"
        assert client.request(AskStatus()) == {"state": "ready", "uptime_s": 3}
        client.request(CancelJob(job_id="7"))
    assert daemon.requests == [{"type": "status"}, {"type": "cancel", "job_id": "7"}]


def test_behind_a_socket_that_systemd_made_the_daemons_user_is_its_processs(
    daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(daemon.path) as client:
        monkeypatch.setattr(wire, "peer_uid", lambda _: (1, 77))
        assert client.uid == 77
        monkeypatch.setattr(wire, "peer_uid", lambda _: (1, 0))
        monkeypatch.setattr(Path, "stat", lambda _: os.stat_result((0, 0, 0, 0, 4321, *[0] * 5)))
        assert client.uid == 4321


def test_heartbeats_before_the_reply_are_passed_over(daemon: ScriptedDaemon) -> None:
    daemon.answers["wait"] = lambda _: [
        {"type": "heartbeat"},
        {"type": "progress"},
        {"type": "reply", "state": "failed"},
    ]
    with connect(daemon.path) as client:
        assert client.request(WaitForJob(job_id="7"))["state"] == "failed"


@pytest.mark.parametrize(
    ("code", "kind"), [("rejected", JobRejected), ("timeout", DeadlineExceeded), ("of the future", CryobridgeError)]
)
def test_an_error_keeps_its_name(daemon: ScriptedDaemon, code: str, kind: type[CryobridgeError]) -> None:
    daemon.answers["submit"] = lambda _: {"type": "error", "code": code, "text": "the queue is full"}
    with connect(daemon.path) as client, pytest.raises(kind, match="the queue is full") as caught:
        client.request(SubmitJob(spec={}))
    assert type(caught.value) is kind


def test_a_daemon_that_leaves_is_said(daemon: ScriptedDaemon) -> None:
    daemon.answers["status"] = lambda _: None
    with connect(daemon.path) as client, pytest.raises(DaemonUnavailable, match="went away while asked for 'status'"):
        client.request(AskStatus())


def test_without_a_daemon_the_message_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnavailable, match=r"socket: not there\); start one with 'cryobridge serve'"):
        connect(tmp_path / "socket")


def test_a_socket_left_by_a_dead_daemon_is_no_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / "socket"))
    with pytest.raises(DaemonUnavailable, match="nobody listens any more"):
        connect(tmp_path / "socket")


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnavailable, match="too long"):
        connect(tmp_path / ("x" * 200))


def test_a_daemon_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        with pytest.raises(DaemonUnavailable, match="does not answer"):
            DaemonClient.connect({"CRYOBRIDGE_SOCKET": str(tmp_path / "socket")}, timeout_s=0.1)


def test_another_protocol_is_refused_with_both_versions(tmp_path: Path) -> None:
    with (
        scripted_daemon(tmp_path / "socket", protocol=99, version="9.9") as daemon,
        pytest.raises(DaemonUnavailable, match=r"another version \(9.9; this is "),
    ):
        connect(daemon.path)


def test_waiting_goes_on_until_the_job_is_finished(daemon: ScriptedDaemon) -> None:
    states = iter(["queued", "running", "succeeded"])
    daemon.answers["wait"] = lambda _: {"type": "reply", "state": next(states)}
    with connect(daemon.path) as client:
        assert client.wait("7")["state"] == "succeeded"
    assert [request["job_id"] for request in daemon.requests] == ["7"] * 3


def test_waiting_ends_when_the_time_is_over(daemon: ScriptedDaemon) -> None:
    daemon.replies("wait", state="running")
    times = iter([0.0, 0.0, 8.0, 8.0, 11.0])
    with (
        connect(daemon.path) as client,
        pytest.raises(DeadlineExceeded, match="7 is still running after 10 s"),
    ):
        client.wait("7", 10.0, clock=lambda: next(times))
    assert [request["timeout_s"] for request in daemon.requests] == [10.0, 2.0]


@pytest.mark.parametrize(
    ("status", "problems"),
    [
        ({"state": "ready", "health": {"problems": []}}, []),
        ({"state": "draining"}, ["the daemon is draining"]),
        ({"state": "ready", "health": {"problems": ["gpu0: CUDA error"]}}, ["gpu0: CUDA error"]),
    ],
)
def test_what_is_wrong_with_a_daemon_follows_from_its_status(status: dict[str, object], problems: list[str]) -> None:
    assert degradations(status) == problems


def test_progress_before_the_end_is_passed_on(daemon: ScriptedDaemon) -> None:
    daemon.answers["wait"] = lambda _: [
        {"type": "progress", "text": "reading", "fraction": 0.5},
        {"type": "progress", "text": "odd", "fraction": "half"},
        {"type": "reply", "state": "succeeded"},
    ]
    told: list[tuple[str, float | None]] = []
    with connect(daemon.path) as client:
        client.wait("7", on_progress=lambda text, fraction: told.append((text, fraction)))
    assert told == [("reading", 0.5), ("odd", None)]


def test_news_are_a_snapshot_then_events_and_nothing_where_nothing_is_new(daemon: ScriptedDaemon) -> None:
    event = {"number": 2, "at": 1.0, "what": "job_of_the_future", "table": "jobs", "name": "7", "row": {"a": 1}}
    daemon.answers["follow"] = lambda _: [
        {"type": "snapshot", "number": 1, "at": 1.0, "tables": {"jobs": {}}},
        {"type": "heartbeat"},
        {"type": "event", **event},
    ]
    board = Board()
    with connect(daemon.path) as client:
        client.follow()
        for _ in range(3):
            told = client.news(2.0)
            if told is not None:
                board.take(told)
        assert board.tables == {"jobs": {"7": {"a": 1}}}
        assert client.news(0.01) is None


def test_who_may_not_follow_or_whose_daemon_goes_is_told_so(
    daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["follow"] = lambda _: {"type": "error", "code": "rejected", "text": "8 of your connections follow"}
    with connect(daemon.path) as client:
        client.follow()
        with pytest.raises(JobRejected, match="8 of your connections"):
            client.news(2.0)
    daemon.answers["follow"] = lambda _: None
    with connect(daemon.path) as client:
        client.follow()
        with pytest.raises(DaemonUnavailable, match="went away"):
            client.news(2.0)
    daemon.answers["follow"] = lambda _: []
    monkeypatch.setattr(wire, "SILENCE_LIMIT_S", 0.0)
    with connect(daemon.path) as client:
        client.follow()
        with pytest.raises(DaemonUnavailable, match="says nothing any more"):
            client.news(0.01)

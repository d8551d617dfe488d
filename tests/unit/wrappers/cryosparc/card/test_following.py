"""A job in the daemon's hands: away and back, with another memory, cancelled there, and not waited for for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from support.fake_cryosparc import CARD, FakeCryosparc

from cryobridge.schemas.errors import DaemonUnavailable, InputInvalid, JobRejected
from cryobridge.wrappers.cryosparc.card import following
from cryobridge.wrappers.cryosparc.card.following import JobFailed, follow
from cryobridge.wrappers.cryosparc.card.telling import Telling
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress
from cryobridge.wrappers.cryosparc.patience import CardPatience

SPEC = {"kind": "map.fsc3d", "run": {"request_id": "cs-1"}}
DONE = JobEnd("succeeded", "", "")
AWAY = DaemonUnavailable("no daemon is running; start one with 'cryobridge serve'")
FORGOTTEN = InputInvalid("there is no job job-1 of yours; 'cryobridge jobs' lists them")


@dataclass
class PlayedDaemon:
    """Answers each call with the next of its part: an end, None where it still goes on, or an error."""

    submits: list[Any] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)
    handed: list[str] = field(default_factory=list)

    def submit(self, spec: dict[str, Any]) -> str:
        answer = self.submits.pop(0) if self.submits else None
        if isinstance(answer, Exception):
            raise answer
        self.handed.append(spec["run"]["request_id"])
        return f"job-{len(self.handed)}"

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        answer = self.ends.pop(0)
        if isinstance(answer, Exception):
            raise answer
        on_progress("training", 0.5)
        return answer

    def cancel(self, job_id: str) -> None:
        raise AssertionError("following cancels nothing")


class Time:
    """`time.monotonic` that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    played = Time()
    monkeypatch.setattr(following, "time", played)
    return played


def followed(daemon: PlayedDaemon, time: Time, server: FakeCryosparc | None = None, check: Any = lambda: None) -> None:
    patience = CardPatience(daemon_s=60.0, pause_s=1.0)
    follow(daemon, SPEC, patience, Telling(server or FakeCryosparc(), CARD), check, time.sleep)


def test_a_job_is_handed_over_once_and_waited_for(time: Time) -> None:
    daemon = PlayedDaemon(ends=[None, None, DONE])
    followed(daemon, time)
    assert daemon.handed == ["cs-1"]


@pytest.mark.parametrize("away", [1, 50])
def test_a_daemon_that_is_away_for_a_while_is_waited_for(time: Time, away: int) -> None:
    server = FakeCryosparc()
    daemon = PlayedDaemon(submits=[AWAY] * away, ends=[None, AWAY, AWAY, DONE])
    followed(daemon, time, server)
    assert set(daemon.handed) == {"cs-1"}
    assert "waits for the cryobridge daemon" in [text for text, _, _ in server.logged]


def test_a_daemon_that_stays_away_is_not_waited_for_for_ever(time: Time) -> None:
    with pytest.raises(DaemonUnavailable, match="cryobridge serve"):
        followed(PlayedDaemon(submits=[AWAY] * 1000), time)
    assert 60 <= time.now <= 62


def test_a_daemon_that_goes_away_again_and_again_has_its_patience_each_time(time: Time) -> None:
    daemon = PlayedDaemon(ends=[*[None, AWAY] * 100, DONE])
    followed(daemon, time)
    assert time.now >= 100


def test_a_daemon_that_comes_back_with_another_memory_is_handed_the_job_again(time: Time) -> None:
    daemon = PlayedDaemon(ends=[None, FORGOTTEN, None, DONE])
    followed(daemon, time)
    assert daemon.handed == ["cs-1", "cs-1"]


def test_a_daemon_that_forgets_every_job_is_not_asked_for_ever(time: Time) -> None:
    with pytest.raises(InputInvalid, match="there is no job"):
        followed(PlayedDaemon(ends=[FORGOTTEN] * 1000), time)


def test_a_job_that_the_daemon_does_not_take_fails_at_once(time: Time) -> None:
    for error in (InputInvalid("half1.mrc: is no map"), JobRejected("the queue is full")):
        with pytest.raises(type(error), match=str(error)):
            followed(PlayedDaemon(submits=[error]), time)
    assert time.now == 0


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (JobEnd("failed", "oom", "the GPU has too little memory"), "the GPU has too little memory"),
        (JobEnd("cancelled", "cancelled", ""), r"the job cancelled \(cancelled\)"),
        (JobEnd("lost", "lost", "the worker was lost"), "the worker was lost"),
    ],
)
def test_an_end_without_success_is_said_in_the_daemons_words(time: Time, end: JobEnd, sentence: str) -> None:
    with pytest.raises(JobFailed, match=sentence):
        followed(PlayedDaemon(ends=[None, end]), time)


def test_it_is_left_when_nobody_wants_it_any_more(time: Time) -> None:
    asked = iter([None, None, KeyError("killed")])

    def check() -> None:
        error = next(asked)
        if error is not None:
            raise error

    daemon = PlayedDaemon(ends=[None] * 100)
    with pytest.raises(KeyError):
        followed(daemon, time, check=check)
    assert len(daemon.ends) == 98

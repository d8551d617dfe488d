"""Live sessions: a card for a new map, one at a time, none twice, and nothing for a session that did not ask for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.agent_desk import AgentDesk, at_work, finish_threads, wait_for
from support.card_user import LiveSessions
from support.cryosparc import Standin

from cryobridge.wrappers.cryosparc.agent.agent import Agent
from cryobridge.wrappers.cryosparc.agent.live import LOOK_EVERY_S
from cryobridge.wrappers.cryosparc.documents import CardId

pytestmark = pytest.mark.shared

EVERY_S = 600.0
FIRST = datetime(2026, 3, 4, 17, 32, 5, 123456, tzinfo=UTC)


@pytest.fixture
def desk(shared: Path, tmp_path: Path) -> Iterator[AgentDesk]:
    standin = Standin(shared, tmp_path / "server", projects=2)
    # A Live refinement runs as long as its session.
    standin.job(CardId("P1", "J1")).status = "running"
    yield AgentDesk(standin, tmp_path)
    standin.close()


@pytest.fixture
def sessions(desk: AgentDesk) -> LiveSessions:
    return LiveSessions(desk.standin)


def session_with(desk: AgentDesk, sessions: LiveSessions, tag: str = "cryobridge", **values: Any) -> Any:
    session = sessions.begin(tags=[desk.user.make_tag(tag, "session")], **values)
    sessions.refined(session, FIRST, 12000)
    return session


def agent_of(desk: AgentDesk, **more: Any) -> Agent:
    return desk.agent(clock=desk.clock, live_every_s=EVERY_S, **more)


def look(desk: AgentDesk, agent: Agent, later_s: float = LOOK_EVERY_S) -> None:
    """Let time pass, look at the sessions, and begin with what was made."""
    desk.clock.now += later_s
    agent.look()
    live = agent._live
    assert live is not None
    assert live._thread is not None
    live._thread.join(20)
    agent.look()
    finish_threads(agent)


def cards(desk: AgentDesk) -> list[CardId]:
    found = [key for key, job in desk.standin.state.jobs.items() if job.spec.type == "snowflake"]
    return sorted(CardId(*key) for key in found)


def test_a_new_map_makes_a_card_that_names_session_and_map(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions)
    before = sessions.all[0].model_dump()
    agent = agent_of(desk)
    look(desk, agent)
    (card,) = cards(desk)
    job = desk.standin.job(card)
    assert job.status == "completed"
    assert job.title == "cryobridge: Live S1, map of 12000 particles, 2026-03-04 17:32:05"
    assert job.workspace_uids == ["W1"]
    assert [(one.job_uid, one.output) for one in job.spec.inputs.root["volume"].connections] == [("J1", "volume")]
    assert "Live session S1" in job.description
    assert "Connect the inputs" not in job.description
    assert "resolution" in desk.standin.said(card)
    assert sessions.all[0].model_dump() == before
    assert desk.standin.job(CardId("P1", "J1")).status == "running"


def test_the_same_map_makes_no_second_card(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions)
    agent = agent_of(desk)
    for _ in range(4):
        look(desk, agent, EVERY_S)
    assert len(cards(desk)) == 1


def test_maps_in_between_are_left_out_and_old_cards_stay(desk: AgentDesk, sessions: LiveSessions) -> None:
    session = session_with(desk, sessions)
    agent = agent_of(desk)
    look(desk, agent)
    for minute in range(1, 10):
        sessions.refined(session, FIRST + timedelta(minutes=minute), 12000 + minute)
        look(desk, agent, 60.0)
    assert len(cards(desk)) == 1
    look(desk, agent, 60.0)
    first, second = cards(desk)
    assert "12009 particles" in desk.standin.job(second).title
    assert desk.status(first) == desk.status(second) == "completed"


def test_one_card_of_a_session_is_in_flight_at_a_time(desk: AgentDesk, sessions: LiveSessions) -> None:
    session = session_with(desk, sessions)
    desk.daemon.takes_s = 60
    agent = agent_of(desk)
    desk.clock.now += LOOK_EVERY_S
    agent.look()
    wait_for(lambda: len(cards(desk)) == 1 and len(agent._asked) == 1)
    agent.look()
    wait_for(lambda: len(desk.daemon.began) == 1)
    for hour in range(1, 4):
        sessions.refined(session, FIRST + timedelta(hours=hour), 20000)
        desk.clock.now += 3600
        desk.calls()
        agent.look()
        agent._live._thread.join(20)  # type: ignore[union-attr]
        assert desk.calls()["jobs.find"] == 2, "all jobs of a project are looked at for a new card only"
    assert len(cards(desk)) == 1
    # Another agent, which knows of nothing, sees it too.
    other = agent_of(desk, memory="other")
    desk.clock.now += LOOK_EVERY_S
    other.look()
    other._live._thread.join(20)  # type: ignore[union-attr]
    assert len(cards(desk)) == 1
    (card,) = cards(desk)
    desk.user.kill(card)
    agent.look()
    finish_threads(agent)
    desk.daemon.takes_s = 0
    look(desk, agent, 3600)
    assert len(cards(desk)) == 2


def test_a_session_without_the_tag_is_left_alone(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions, tag="something else")
    sessions.refined(sessions.begin(workspace="W1"), FIRST, 10)
    agent = agent_of(desk)
    look(desk, agent)
    assert cards(desk) == []


def test_without_the_option_no_session_is_looked_at(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions)
    agent = desk.agent(clock=desk.clock)
    desk.calls()
    agent.look()
    assert "sessions.find" not in desk.calls()
    assert cards(desk) == []


def test_a_session_of_another_project_is_left_alone(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions, project="P2")
    look(desk, agent_of(desk))
    assert cards(desk) == []


@pytest.mark.parametrize("how", ["ended", "no refinement", "no map"])
def test_a_session_that_has_ended_or_has_no_map_gets_none(desk: AgentDesk, sessions: LiveSessions, how: str) -> None:
    session = session_with(desk, sessions)
    if how == "ended":
        session.status = "completed"
    elif how == "no refinement":
        session.phase2_refine_job = None
    else:
        session.phase2_refine_last_updated = None
    look(desk, agent_of(desk))
    assert cards(desk) == []


def test_a_refinement_without_half_maps_is_named_once_and_harms_nobody(
    desk: AgentDesk, sessions: LiveSessions, caplog: pytest.LogCaptureFixture
) -> None:
    session_with(desk, sessions)
    other = desk.card("P2", go=True)
    outputs = desk.standin.job(CardId("P1", "J1")).spec.outputs.root
    kept = outputs.pop("volume")
    agent = desk.agent(("P1", "P2"), clock=desk.clock, live_every_s=EVERY_S)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            look(desk, agent)
    assert sum("Live session S1 of P1" in line for line in caplog.messages) == 1
    assert desk.status(other) == "completed"
    outputs["volume"] = kept
    look(desk, agent)
    assert len(cards(desk)) == 2


def test_a_restart_does_not_repeat(desk: AgentDesk, sessions: LiveSessions) -> None:
    session = session_with(desk, sessions)
    look(desk, agent_of(desk))
    agent = agent_of(desk, memory="lost")
    for _ in range(3):
        look(desk, agent, EVERY_S)
    assert len(cards(desk)) == 1
    sessions.refined(session, FIRST + timedelta(hours=1), 13000)
    look(desk, agent, EVERY_S)
    assert len(cards(desk)) == 2


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize(
    "operation", ["jobs.create", "jobs.set_description", "jobs.add_external_input", "jobs.connect"]
)
def test_a_lost_answer_makes_no_second_card(
    desk: AgentDesk, sessions: LiveSessions, operation: str, drop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryobridge.wrappers.cryosparc.card.new_card._SETTLE_S", 0.0)
    session_with(desk, sessions)
    desk.standin.fault(operation, drop=drop)
    look(desk, agent_of(desk))
    (card,) = cards(desk)
    assert desk.status(card) == "completed"


@pytest.mark.parametrize("operation", ["jobs.set_description", "jobs.connect"])
def test_a_card_that_was_made_by_half_is_completed_by_the_next_agent(
    desk: AgentDesk, sessions: LiveSessions, operation: str
) -> None:
    session_with(desk, sessions)
    desk.standin.fault(operation, status=422)
    look(desk, agent_of(desk))
    (card,) = cards(desk)
    assert desk.status(card) == "building"
    look(desk, agent_of(desk))
    assert cards(desk) == [card]
    assert desk.status(card) == "completed"


def test_a_card_that_was_made_and_not_begun_is_begun_by_the_next_agent(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions)
    agent = agent_of(desk)
    desk.clock.now += LOOK_EVERY_S
    agent.look()
    agent._live._thread.join(20)  # type: ignore[union-attr]
    (card,) = cards(desk)
    assert desk.status(card) == "building"
    look(desk, agent_of(desk))
    assert cards(desk) == [card]
    assert desk.status(card) == "completed"


def test_it_works_in_a_running_agent(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions)
    with at_work(desk.agent(live_every_s=EVERY_S)):
        wait_for(lambda: len(cards(desk)) == 1)
        desk.until(cards(desk)[0], "completed")


def test_sessions_are_asked_for_once_a_minute(desk: AgentDesk, sessions: LiveSessions) -> None:
    session_with(desk, sessions)
    agent = agent_of(desk)
    look(desk, agent)
    desk.calls()
    for _ in range(30):
        desk.clock.now += 10.0
        agent.look()
        agent._live._thread.join(20)  # type: ignore[union-attr]
    assert desk.calls() == {"jobs.find": 30, "sessions.find": 5, "tags.find": 5}

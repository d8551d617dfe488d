"""The life of an agent: kills that it notices, its own death, its token, and how often it asks the server."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.agent_desk import AgentDesk, at_work, finish_threads, wait_for
from support.cryosparc import EMAIL, PASSWORD

from cryobridge.wrappers.cryosparc.agent import agent as agent_module
from cryobridge.wrappers.cryosparc.agent.go_signs import STILL_S
from cryobridge.wrappers.cryosparc.card.following import SLICE_S
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server
from cryobridge.wrappers.cryosparc.v5.login import log_in

pytestmark = pytest.mark.shared


# ---- kills


def test_a_kill_is_noticed_and_the_daemon_told(desk: AgentDesk) -> None:
    desk.daemon.takes_s = 60
    card = desk.card(go=True)
    with at_work(desk.agent(poll_s=1.0)):
        desk.until(card, "running")
        wait_for(lambda: len(desk.daemon.began) == 1)
        desk.user.kill(card)
        begun = time.monotonic()
        wait_for(lambda: desk.daemon.cancelled == list(desk.daemon.specs), 15)
        assert time.monotonic() - begun < 1.0 + SLICE_S + 1.0
    assert desk.status(card) == "killed"
    assert not list((desk.folder / "memory").glob("P*.json"))


def test_a_kill_is_noticed_within_fifteen_seconds_at_the_usual_pace(desk: AgentDesk) -> None:
    assert agent_module.POLL_S + SLICE_S + 1.0 < 15.0
    desk.daemon.takes_s = 60
    card, agent = desk.card(go=True), desk.agent(poll_s=agent_module.POLL_S)
    agent.look()
    desk.until(card, "running")
    wait_for(lambda: len(desk.daemon.began) == 1)
    desk.user.kill(card)
    agent.look()  # the next look, at most one pause later
    wait_for(lambda: len(desk.daemon.cancelled) == 1, SLICE_S + 1.0)
    finish_threads(agent)
    assert desk.status(card) == "killed"


def test_a_card_that_waits_in_the_line_can_be_killed(desk: AgentDesk) -> None:
    desk.daemon.takes_s = 4
    first, second = desk.card(go=True), desk.card(go=True)
    with at_work(desk.agent(at_once=1)):
        wait_for(lambda: {desk.status(first), desk.status(second)} == {"running", "waiting"})
        waits = first if desk.status(first) == "waiting" else second
        desk.user.kill(waits)
        wait_for(lambda: "given up" in desk.standin.said(waits), 5)
    assert len(desk.daemon.specs) == 1
    assert desk.status(waits) == "killed"


@pytest.mark.parametrize("how", ["deleted", "cleared"])
def test_a_card_that_is_taken_away_while_it_is_at_work_is_given_up(desk: AgentDesk, how: str) -> None:
    desk.daemon.takes_s = 60
    card = desk.card(go=True)
    agent = desk.agent(clock=desk.clock)
    agent.look()
    wait_for(lambda: len(desk.daemon.began) == 1)
    if how == "deleted":
        with desk.standin.state.lock:
            del desk.standin.state.jobs[card.project, card.job]
    else:
        desk.user.clear(card)
    agent.look()
    finish_threads(agent)
    assert desk.daemon.cancelled == list(desk.daemon.specs)
    assert not list((desk.folder / "memory").glob("P*.json"))
    agent.look()
    assert not agent._threads


# ---- death and others


def test_the_next_agent_goes_on_where_one_was_stopped(desk: AgentDesk) -> None:
    desk.daemon.takes_s = 1.5
    card = desk.card(go=True)
    agent = desk.agent()
    with at_work(agent):
        wait_for(lambda: len(desk.daemon.began) == 1)
    assert desk.status(card) == "running"
    with at_work(desk.agent()):
        desk.until(card, "completed")
    assert len(desk.daemon.specs) == 1
    assert desk.standin.said(card).count("by cryobridge on") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"project": "P1"}'])
def test_a_card_whose_note_is_damaged_does_not_run_for_ever(desk: AgentDesk, content: str) -> None:
    """Somebody's hand, or a disk: what was known is gone, but that the card was begun here is not."""
    desk.daemon.takes_s = 0.3
    card = desk.card(go=True)
    with at_work(desk.agent()):
        desk.until(card, "running")
    assert desk.status(card) == "running"
    (desk.folder / "memory" / f"{card}.json").write_text(content)
    with at_work(desk.agent()):
        desk.until(card, "completed")
    assert list((desk.folder / "memory").glob("P1-*")) == []


def test_a_damaged_note_of_a_card_that_has_ended_is_looked_at_once(desk: AgentDesk) -> None:
    card = desk.card(go=True)
    with at_work(desk.agent()):
        desk.until(card, "completed")
    (desk.folder / "memory" / f"{card}.json").write_text("{")
    agent = desk.agent(poll_s=60.0)
    agent.look()
    finish_threads(agent)
    assert list((desk.folder / "memory").glob("P1-*")) == []


def test_an_agent_stops_soon_however_long_its_pause_is(desk: AgentDesk) -> None:
    desk.card(go=True)
    agent = desk.agent(poll_s=60.0)
    with at_work(agent) as thread:
        time.sleep(0.3)
        begun = time.monotonic()
        agent.stop()
        thread.join(20)
        assert time.monotonic() - begun < 5


def test_two_agents_of_two_users_do_a_card_once(desk: AgentDesk) -> None:
    cards = [desk.card(go=True) for _ in range(4)]
    with at_work(desk.agent(memory="one")), at_work(desk.agent(memory="two")):
        for card in cards:
            desk.until(card, "completed")
    assert len(desk.daemon.specs) == len(cards)
    for card in cards:
        assert desk.standin.said(card).count("done") == 1


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.cryosparc import EMAIL, PASSWORD, surroundings
from cryobridge.wrappers.cryosparc.agent.agent import Agent, AgentSettings
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server

class Slow:
    def submit(self, spec):
        Path({mark!r}).write_text(spec["run"]["request_id"])
        return "1"
    def end_of(self, job, timeout_s, on_progress):
        time.sleep(timeout_s)
    def cancel(self, job):
        Path({mark!r}).write_text("cancelled")

server = V5Server({url!r}, EMAIL, PASSWORD)
Agent(AgentSettings(("P1",), poll_s=0.1), surroundings(server, Slow(), Path({memory!r}))).run()
"""


@pytest.mark.slow
def test_the_next_agent_goes_on_where_one_was_killed(desk: AgentDesk, tmp_path: Path) -> None:
    card, mark = desk.card(go=True), tmp_path / "mark"
    tests = str(Path(__file__).parents[2])
    text = PROGRAM.format(tests=tests, mark=str(mark), url=desk.standin.url, memory=str(tmp_path / "memory"))
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)])
    try:
        wait_for(mark.exists, 60)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert desk.status(card) == "running"
    with at_work(desk.agent()):
        desk.until(card, "completed")
    assert list(desk.daemon.specs) == [mark.read_text()]


def test_an_expired_token_is_named_once_and_a_new_login_is_enough(
    desk: AgentDesk, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    importlib.import_module("cryosparc.auth").get_default_auth_config_path.cache_clear()
    card = desk.card()
    log_in(desk.standin.url, EMAIL, PASSWORD)
    server = V5Server(desk.standin.url, EMAIL, timeout_s=10.0)
    with caplog.at_level(logging.INFO), at_work(desk.agent(server=server)):
        wait_for(lambda: "jobs.find" in desk.calls())
        desk.standin.state.tokens.clear()
        wait_for(lambda: any("log in again" in line for line in caplog.messages))
        time.sleep(0.5)
        assert sum("log in again" in line for line in caplog.messages) == 1
        log_in(desk.standin.url, EMAIL, PASSWORD)
        desk.server.renew()
        desk.user.tag(card)
        desk.until(card, "completed")
    assert any("answers again" in line for line in caplog.messages)
    importlib.import_module("cryosparc.auth").get_default_auth_config_path.cache_clear()


def test_a_server_that_is_restarting_behind_its_proxy_is_waited_for(desk: AgentDesk) -> None:
    desk.daemon.takes_s = 0.2
    card = desk.card(go=True)
    for operation in ("jobs.find", "jobs.find_one", "jobs.mark_running", "jobs.save_output", "jobs.mark_completed"):
        desk.standin.fault(operation, status=502, times=2)
    with at_work(desk.agent()):
        desk.until(card, "completed")
    assert len(desk.daemon.specs) == 1


def test_a_token_that_will_expire_is_named_days_ahead_once_a_day(
    desk: AgentDesk, caplog: pytest.LogCaptureFixture
) -> None:
    agent = desk.agent()
    agent._token._expires = lambda: datetime(2026, 3, 9, 12, tzinfo=UTC)
    days = []
    for hour in range(0, 24 * 6, 2):
        agent._token._now = lambda hour=hour: datetime(2026, 3, 4, tzinfo=UTC) + timedelta(hours=hour)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            agent.look()
            days += [hour / 24 for line in caplog.messages if "2026-03-09 at 12:00 UTC" in line and "login" in line]
    assert days == [3, 4, 5]


# ---- how often the server is asked


@pytest.mark.slow
def test_however_many_cards_there_are_it_is_asked_thrice_a_look(desk: AgentDesk) -> None:
    desk.daemon.takes_s = 120
    for number in range(12):
        desk.card("P1")
        desk.card("P2", auto=True)
        desk.card("P3", go=number < 6)
    desk.standin.job(CardId("P2", "J1")).status = "running"
    agent = desk.agent(("P1", "P2", "P3"), clock=desk.clock)
    agent.look()
    jobs = desk.standin.state.jobs.values()
    wait_for(lambda: [sum(one.status == status for one in jobs) for status in ("running", "waiting")] == [3, 4])
    desk.clock.now += STILL_S
    agent.look()
    time.sleep(SLICE_S + 0.5)
    desk.calls()
    for _ in range(6):
        desk.clock.now += agent_module.POLL_S
        agent.look()
    found = desk.calls()
    lines = found.pop("jobs.update_event_log", 0) + found.pop("jobs.add_event_log", 0)
    assert found == {"jobs.find": 18}, "changes, statuses, parents"
    assert lines <= 12, "the progress of those at work"
    agent.stop()
    finish_threads(agent)

"""The agent on a server: when cards begin, what is said on them, who stops them, and who goes on after it died."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.agent_desk import VOLUME, AgentDesk, at_work, finish_threads, wait_for
from support.cryosparc import EMAIL, PASSWORD, Standin

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc import agent as agent_module
from cryobridge.wrappers.cryosparc.card_watch import WHOLE_LOOK_S
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.following import SLICE_S
from cryobridge.wrappers.cryosparc.go_signs import AGAIN_S, STILL_S
from cryobridge.wrappers.cryosparc.login import log_in
from cryobridge.wrappers.cryosparc.server import Refused
from cryobridge.wrappers.cryosparc.v5 import V5Server

pytestmark = pytest.mark.shared


@pytest.fixture
def desk(shared: Path, tmp_path: Path) -> Iterator[AgentDesk]:
    standin = Standin(shared, tmp_path / "server", projects=3)
    yield AgentDesk(standin, tmp_path)
    standin.close()


# ---- go signs


def test_a_tag_starts_a_card_and_nothing_else_does(desk: AgentDesk) -> None:
    tagged, left = desk.card(), desk.card()
    desk.user.tag(left, "something else")
    with at_work(desk.agent()):
        desk.user.tag(tagged, "CryoBridge ")
        desk.until(tagged, "completed")
        assert desk.status(left) == "building"
    assert len(desk.daemon.specs) == 1


def test_a_title_starts_a_card(desk: AgentDesk) -> None:
    card, other = desk.card(), desk.card()
    desk.user.retitle(other, "goat virus, try 2")
    with at_work(desk.agent()):
        desk.user.retitle(card, " Go: try 2")
        desk.until(card, "completed")
        assert desk.status(other) == "building"


def test_a_tag_that_is_called_otherwise_later_is_seen(desk: AgentDesk) -> None:
    card, agent = desk.card(), desk.agent(clock=desk.clock)
    tag = desk.user.tag(card, "later")
    agent.look()
    desk.standin.state.tags[tag].title = "cryobridge"
    desk.clock.now += WHOLE_LOOK_S
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"


def test_a_card_that_begins_by_itself_waits_until_it_is_left_alone(desk: AgentDesk) -> None:
    card, agent = desk.card(auto=True, connected=False), desk.agent(clock=desk.clock)
    agent.look()
    desk.clock.now += 2 * STILL_S
    agent.look()
    assert not agent._threads, "nothing is connected"
    desk.user.drop(card, "volume", VOLUME["volume"])
    agent.look()
    desk.clock.now += STILL_S - 1
    desk.user.retitle(card, "my card")
    agent.look()
    desk.clock.now += STILL_S - 1
    agent.look()
    assert not agent._threads, "it was changed a moment ago"
    desk.clock.now += 1
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"


def test_a_card_that_is_told_to_go_too_early_says_what_it_waits_for_once(desk: AgentDesk) -> None:
    card = desk.card(connected=False, go=True)
    agent = desk.agent()
    for _ in range(5):
        agent.look()
    assert desk.standin.said(card) == "waits: input 'volume' is not connected"
    assert desk.status(card) == "building"
    desk.user.drop(card, "volume", VOLUME["volume"])
    with at_work(agent):
        desk.until(card, "completed")


@pytest.mark.parametrize("auto", [False, True])
def test_a_parent_that_runs_is_waited_for(desk: AgentDesk, auto: bool) -> None:
    card = desk.card(auto=auto, go=not auto)
    parent = desk.standin.job(CardId("P1", "J1"))
    agent = desk.agent(clock=desk.clock)
    for status, sentence in (
        ("running", "waits for J1, which is running"),
        ("failed", "waits: J1, which it needs, is failed; run that again, or connect another"),
        ("running", "waits for J1, which is running"),
    ):
        parent.status = status
        for _ in range(3):
            agent.look()
            desk.clock.now += STILL_S
        # One line that changes.
        assert desk.standin.said(card) == sentence
    assert desk.status(card) == "building"
    parent.status = "completed"
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"


def test_a_wrong_option_fails_a_card_in_the_words_of_the_schema_and_it_begins_again_once_mended(
    desk: AgentDesk,
) -> None:
    card = desk.card()
    desk.user.describe(card, "# half_angle_deg", "half_angle_deg = 400\n# what_was half_angle_deg")
    desk.user.tag(card)
    with at_work(desk.agent()):
        desk.until(card, "failed")
        assert "half_angle_deg" in desk.standin.said(card)
        assert "90" in desk.standin.said(card)
        desk.user.describe(card, "half_angle_deg = 400", "half_angle_deg = 15")
        desk.user.clear(card)
        desk.until(card, "completed")
    (spec,) = desk.daemon.specs.values()
    assert spec["options"]["half_angle_deg"] == 15


@pytest.mark.parametrize("sign", ["tag", "title"])
def test_a_card_that_was_cleared_can_be_mended_before_it_begins_again(desk: AgentDesk, sign: str) -> None:
    card = desk.card(go=sign == "tag")
    if sign == "title":
        desk.user.retitle(card, "go")
    desk.user.describe(card, "job = map.fsc3d", "job = map.fsc3d\nhalf_angle = 1")
    agent = desk.agent(clock=desk.clock)
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "failed"
    desk.user.clear(card)
    for _ in range(3):
        agent.look()
    assert not agent._threads, "it is not begun again as it was, at once"
    desk.user.describe(card, "\nhalf_angle = 1", "")
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"


def test_a_card_that_was_cleared_and_left_alone_begins_again(desk: AgentDesk) -> None:
    card, agent = desk.card(go=True), desk.agent(clock=desk.clock)
    agent.look()
    finish_threads(agent)
    desk.user.clear(card)
    agent.look()
    assert desk.status(card) == "building"
    desk.clock.now += AGAIN_S
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"
    assert len(desk.daemon.specs) == 2


def test_a_tag_that_is_taken_away_and_given_again_starts_a_cleared_card_at_once(desk: AgentDesk) -> None:
    card, agent = desk.card(), desk.agent(clock=desk.clock)
    tag = desk.user.tag(card)
    agent.look()
    finish_threads(agent)
    desk.user.clear(card)
    desk.user.untag(card, tag)
    agent.look()
    desk.user.tag(card)
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"
    assert len(desk.daemon.specs) == 2


def test_a_card_that_cannot_even_be_failed_is_complained_about_once(desk: AgentDesk) -> None:
    card = desk.card(go=True)
    desk.user.describe(card, "job = map.fsc3d", "job = map.fsc4d")
    agent = desk.agent(clock=desk.clock)
    desk.standin.fault("jobs.mark_failed", status=400, times=50)
    for _ in range(4):
        agent.look()
        finish_threads(agent)
        desk.clock.now += AGAIN_S
    errors = [event.text for event in desk.standin.log_of(card) if event.type == "error"]
    assert len(errors) == 1
    assert "map.fsc4d" in errors[0]


# ---- projects


def test_a_project_that_is_refused_does_not_stop_the_others(desk: AgentDesk, caplog: pytest.LogCaptureFixture) -> None:
    card = desk.card("P2", go=True)

    class Refusing(V5Server):
        def find(self, projects, **what):  # type: ignore[no-untyped-def]
            if "P1" in projects:
                raise Refused("P1: you have no access (HTTP 403)", 403)
            return super().find(projects, **what)

    agent = desk.agent(
        ("P1", "P2"), server=Refusing(desk.standin.url, EMAIL, PASSWORD, timeout_s=10.0), clock=desk.clock
    )
    with caplog.at_level(logging.WARNING), at_work(agent):
        desk.until(card, "completed")
        time.sleep(0.3)
    assert [line for line in caplog.messages if "P1" in line and "403" in line] == [
        "P1: left out for 5 min: P1: you have no access (HTTP 403)"
    ]


def test_nothing_outside_of_the_projects_is_touched(desk: AgentDesk) -> None:
    card, other = desk.card("P1", go=True), desk.card("P3", go=True)
    with at_work(desk.agent(("P3",), memory="one")):
        desk.until(other, "completed")
    left = desk.card("P3", go=True)
    desk.daemon.takes_s = 30
    with at_work(desk.agent(("P3",), memory="one")):
        desk.until(left, "running")

    class Talkative(V5Server):
        def find(self, projects, **what):  # type: ignore[no-untyped-def]
            return super().find(["P1", "P2", "P3"], **what)

    agent = desk.agent(("P2",), memory="one", server=Talkative(desk.standin.url, EMAIL, PASSWORD))
    for _ in range(2):
        agent.look()
        assert not agent._threads
    assert desk.status(card) == "building"
    assert desk.standin.said(card) == ""


def test_an_agent_without_projects_is_refused(desk: AgentDesk) -> None:
    with pytest.raises(InputInvalid, match="no project"):
        desk.agent(())
    assert desk.server.find([]) == []


def test_a_server_whose_clock_went_back_hides_no_card_for_long(desk: AgentDesk) -> None:
    agent = desk.agent(clock=desk.clock)
    desk.card()
    agent.look()
    card = desk.card(go=True)
    desk.standin.job(card).updated_at -= timedelta(hours=2)
    agent.look()
    assert not agent._threads
    desk.clock.now += WHOLE_LOOK_S
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"
    # From then on changes are seen at once.
    card = desk.card(go=True)
    desk.standin.job(card).updated_at -= timedelta(hours=1, minutes=59)
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"


def test_a_stamp_of_the_future_hides_no_card_for_long(desk: AgentDesk) -> None:
    agent = desk.agent(clock=desk.clock)
    desk.standin.job(desk.card()).updated_at += timedelta(days=400)
    agent.look()
    for passed in (WHOLE_LOOK_S, 0.0):
        card = desk.card(go=True)
        desk.clock.now += passed
        agent.look()
        finish_threads(agent)
        assert desk.status(card) == "completed"


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


def test_an_agent_stops_soon_while_its_server_is_away(desk: AgentDesk) -> None:
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
from cryobridge.wrappers.cryosparc.agent import Agent, AgentSettings
from cryobridge.wrappers.cryosparc.v5 import V5Server

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

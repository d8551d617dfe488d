"""Which cards are known on CryoSPARC 4, when they begin and end, and who is let in."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.cryosparc import DirectDaemon, surroundings
from support.cryosparc_v4 import LICENSE
from support.cryosparc_v4_deeds import EMAIL, PASSWORD

from cryobridge.wrappers.cryosparc.agent import card_watch
from cryobridge.wrappers.cryosparc.agent.agent import Agent, AgentSettings
from cryobridge.wrappers.cryosparc.connecting import check_has_tokens, connected
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.server import NotLoggedIn, ServerRefused, Unreachable
from cryobridge.wrappers.cryosparc.v4 import known as v4_known
from cryobridge.wrappers.cryosparc.v4.adapter import V4Server
from cryobridge.wrappers.cryosparc.v4.login import V4Login
from cryobridge.wrappers.cryosparc.v4.made_cards import Asked

from .v4_bench import V4Bench, raises

# ---- cards that are made


def a_card_whose_maker_was_killed_is_found_by_the_agent(bench: V4Bench) -> None:
    mark = "# card 0123456789abcdef"
    bench.server._calls.vis(
        "create_external_job", project_uid="P1", workspace_uid="W1", user="", title="", desc=f"text\n{mark}"
    )
    bench.made.ask(Asked("P1", "W1", "", mark, 1))
    for path in bench.made._folder.glob("asked-*"):
        os.utime(path, (time.time() - 3600,) * 2)
    assert [card.id for card in bench.another().find(["P1"])] == [CardId("P1", "J2")]
    assert bench.made.questions() == []
    assert bench.made.cards(["P1"]) == [CardId("P1", "J2")]


def a_card_without_a_folder_is_found_by_its_number(bench: V4Bench) -> None:
    bench.fake.has_folders = False
    bench.fake.fault("create_external_job", "after")
    assert bench.card() == CardId("P1", "J2")
    assert len(bench.fake.jobs) == 2


def no_second_card_is_made_where_nothing_can_be_known(bench: V4Bench) -> None:
    bench.fake.can_list = False
    bench.fake.fault("create_external_job", "after")
    with raises(ServerRefused, "is not known", "W1 of P1", "'cryobridge: map.fsc3d'", "# card ", "delete it"):
        bench.card()
    assert len(bench.fake.jobs) == 2
    assert bench.made.questions() == []


def a_card_without_a_mark_is_not_taken_for_another(bench: V4Bench) -> None:
    bench.fake.fault("create_external_job", "after")
    with raises(Unreachable):
        bench.server.create("P1", "W1", "a title", "no mark")
    with raises(ServerRefused, "is not known", "'a title'"):
        bench.server.find(["P1"])
    assert bench.made.cards(["P1"]) == []


def cards_of_others_are_not_looked_for_and_ended_ones_seldom(bench: V4Bench) -> None:
    mine = bench.card()
    bench.server._calls.vis("create_external_job", project_uid="P1", workspace_uid="W1", user="", title="", desc="")
    assert [card.id for card in bench.server.find(["P1"], statuses=["building"])] == [mine]
    assert bench.server.find(["P2"]) == []
    bench.fake.kill(mine.job)
    assert [card.status for card in bench.server.find(["P1"])] == ["killed"]
    asked = bench.fake.calls.count("get_job")
    assert bench.server.find(["P1"]) == []
    assert bench.fake.calls.count("get_job") == asked
    os.utime(bench.made._folder / str(mine), (time.time() - 8 * 86400,) * 2)
    bench.another().find(["P1"])
    assert bench.made.cards(["P1"]) == []


def a_change_is_seen_by_its_content(bench: V4Bench) -> None:
    card = bench.card()
    first = bench.server.card(card).updated_at
    bench.server.log(card, "a line")
    assert bench.server.card(card).updated_at == first
    bench.fake.jobs[card.job]["title"] = "go now"
    (changed,) = bench.server.find(["P1"], since=first)
    assert changed.updated_at > first


def a_card_far_behind_gaps_is_found_in_the_folder(bench: V4Bench) -> None:
    bench.fake.jobs["J30"] = {**bench.fake.jobs["J1"], "uid": "J30"}
    bench.fake.fault("create_external_job", "after")
    assert bench.card() == CardId("P1", "J31")
    assert len(bench.fake.jobs) == 3


# ---- the agent


def work_is_not_given_up_for_a_passing_refusal(bench: V4Bench) -> None:
    card = bench.card()
    asked = {card, CardId("P1", "J1")}
    assert len(bench.server.find(["P1"], jobs=asked, external=False)) == 2
    bench.fake.fault("get_job", 500, 500)
    assert {one.id for one in bench.server.find(["P1"], jobs=asked, external=False)} == asked
    bench.fake.jobs[card.job]["deleted"] = True
    assert [one.id for one in bench.server.find(["P1"], jobs=asked, external=False)] == [CardId("P1", "J1")]
    del bench.fake.jobs[card.job]
    assert bench.server.find(["P1"], jobs={card}) == []


def one_document_that_cannot_be_read_does_not_hide_the_others(bench: V4Bench) -> None:
    strange, card = bench.card(), bench.card()
    bench.fake.jobs[strange.job]["input_slot_groups"] = [{"name": "no type"}]
    assert [one.id for one in bench.server.find(["P1"])] == [card]
    with raises(ServerRefused, "do not go together"):
        bench.server.card(strange)


def _agent(bench: V4Bench, daemon: DirectDaemon | None = None) -> Agent:
    around = surroundings(bench.server, daemon or bench.daemon, bench.folder / "memory")
    return Agent(AgentSettings(("P1",), poll_s=0.1), around)


@contextlib.contextmanager
def _at_work(agent: Agent) -> Iterator[None]:
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield
    finally:
        agent.stop()
        thread.join(20)
        assert not thread.is_alive()


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.02)


def the_agent_begins_a_card_by_its_title(bench: V4Bench) -> None:
    card, other = bench.card(), bench.card()
    with _at_work(_agent(bench)):
        time.sleep(0.3)
        assert bench.status(card) == "building"
        bench.fake.jobs[card.job]["title"] = "go cryobridge"
        _until(lambda: bench.status(card) == "completed")
    assert bench.status(other) == "building"


def a_card_begins_by_itself_after_a_minute_without_a_change(bench: V4Bench) -> None:
    card = bench.card(go="when_connected")
    now = 0.0
    around = surroundings(bench.server, bench.daemon, bench.folder / "memory")
    agent = Agent(AgentSettings(("P1",)), around, clock=lambda: now)
    agent.look()
    now = 50.0
    bench.fake.jobs[card.job]["title"] = "another title"
    agent.look()
    now = 100.0
    agent.look()
    assert bench.status(card) == "building"
    now = 115.0
    agent.look()
    _until(lambda: bench.status(card) == "completed")


def a_card_that_was_cleared_runs_again(bench: V4Bench) -> None:
    card = bench.card()
    bench.fake.jobs[card.job]["title"] = "go"
    with pytest.MonkeyPatch.context() as patched, _at_work(_agent(bench)):
        patched.setattr(v4_known, "ENDED_EVERY_S", 0.0)
        patched.setattr(card_watch, "AGAIN_S", 0.0)
        for _ in range(2):
            _until(lambda: bench.status(card) == "completed" and not _remembered(bench))
            bench.fake.clear(card.job)
        _until(lambda: bench.status(card) == "completed" and not _remembered(bench))
    assert len(bench.daemon.jobs) == 3


def _remembered(bench: V4Bench) -> list[CardId]:
    return surroundings(bench.server, bench.daemon, bench.folder / "memory").memory.cards()


def a_kill_is_noticed_by_the_agent(bench: V4Bench) -> None:
    card = bench.card()
    bench.fake.jobs[card.job]["title"] = "go"
    daemon = _Endless()
    with _at_work(_agent(bench, daemon)):
        _until(lambda: bench.status(card) == "running" or bool(daemon.jobs))
        bench.fake.kill(card.job)
        _until(lambda: bool(daemon.cancelled))
    assert bench.status(card) == "killed"
    assert "given up" in bench.fake.said(card.job)


class _Endless(DirectDaemon):
    """Never done, unless it is cancelled."""

    def end_of(self, job_id: str, timeout_s: float, on_progress: Callable[..., None]) -> object:  # type: ignore[override]
        time.sleep(0.05)
        self.slices = 10**9
        return super().end_of(job_id, timeout_s, on_progress)


# ---- who is let in


def who_is_not_let_in_is_told_why(bench: V4Bench) -> None:
    with raises(NotLoggedIn, "CRYOSPARC_LICENSE_ID"):
        V4Server(bench.fake.url, V4Login(LICENSE.replace("0", "1"), EMAIL, PASSWORD), bench.made)
    with raises(NotLoggedIn, "other@example.org", "CRYOSPARC_EMAIL"):
        V4Server(bench.fake.url, V4Login(LICENSE, "other@example.org", PASSWORD), bench.made)
    for wrong in ("not " + PASSWORD, ""):
        with raises(NotLoggedIn, EMAIL, "CRYOSPARC_PASSWORD"):
            V4Server(bench.fake.url, V4Login(LICENSE, EMAIL, wrong), bench.made)


def the_version_that_answers_is_the_one_that_is_spoken(bench: V4Bench) -> None:
    os.environ["XDG_STATE_HOME"] = str(bench.folder)
    os.environ.pop("CRYOSPARC_LICENSE_ID", None)
    with raises(NotLoggedIn, "CRYOSPARC_LICENSE_ID, CRYOSPARC_EMAIL and CRYOSPARC_PASSWORD"):
        connected(bench.fake.url)
    with raises(ServerRefused, "no tokens", "nothing to log in to"):
        check_has_tokens(bench.fake.url)
    os.environ["CRYOSPARC_LICENSE_ID"] = "my licence"
    with raises(NotLoggedIn, "is no licence ID"):
        connected(bench.fake.url, EMAIL, PASSWORD)
    os.environ["CRYOSPARC_LICENSE_ID"] = LICENSE
    os.environ["CRYOSPARC_LICENSE_ID"] = LICENSE.replace("0", "1")
    with raises(NotLoggedIn, "does not take the licence ID"):
        connected(bench.fake.url, EMAIL, PASSWORD)
    os.environ["CRYOSPARC_LICENSE_ID"] = LICENSE
    server, complaint = connected(bench.fake.url, EMAIL, PASSWORD)
    assert (server.version, server.user, complaint) == ("v4.7.1", EMAIL, None)
    bench.fake.version = "v4.5.3"
    _, complaint = connected(bench.fake.url, EMAIL, PASSWORD)
    assert complaint is not None
    assert 'pip install "cryosparc-tools~=4.5.0"' in complaint


def a_password_is_neither_told_nor_logged(bench: V4Bench) -> None:
    with raises(NotLoggedIn):
        V4Server(bench.fake.url, V4Login(LICENSE, EMAIL, "wrong " + PASSWORD), bench.made)
    assert PASSWORD not in repr(V4Login(LICENSE, EMAIL, PASSWORD))
    assert LICENSE not in repr(V4Login(LICENSE, EMAIL, PASSWORD))

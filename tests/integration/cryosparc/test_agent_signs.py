"""When an agent begins with a card, what it says on one that waits, and which projects it looks at."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest
from support.agent_desk import VOLUME, AgentDesk, at_work, finish_threads
from support.cryosparc import EMAIL, PASSWORD

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.agent.card_watch import WHOLE_LOOK_S
from cryobridge.wrappers.cryosparc.agent.go_signs import AGAIN_S, STILL_S
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.server import ServerRefused
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server

pytestmark = pytest.mark.shared


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


def test_a_tag_after_the_first_page_of_tags_starts_a_card(desk: AgentDesk) -> None:
    card, agent = desk.card(), desk.agent()
    tags = desk.standin.state.tags
    first = tags[desk.user.make_tag("first")]
    for number in range(2, 150):
        uid = f"T{number}"
        tags[uid] = first.model_copy(update={"uid": uid, "uid_num": number, "id": f"{number:024d}"})
    desk.user.tag(card)
    agent.look()
    finish_threads(agent)
    assert desk.status(card) == "completed"


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
        ("failed", "waits: J1, which it needs, failed; run that again, or connect another"),
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


def test_a_card_that_is_mended_while_its_end_is_noted_begins_again(
    desk: AgentDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is then in what the agent takes for the card as it was left."""
    card = desk.card()
    desk.user.describe(card, "# half_angle_deg", "half_angle_deg = 400\n# what_was half_angle_deg")
    desk.user.tag(card)
    agent = desk.agent(clock=desk.clock)
    changed_at = agent._changed_at

    def late(of: CardId) -> object:
        desk.user.clear(card)
        desk.user.describe(card, "half_angle_deg = 400", "half_angle_deg = 15")
        return changed_at(of)

    with monkeypatch.context() as patched:
        patched.setattr(agent, "_changed_at", late)
        agent.look()
        finish_threads(agent)
    for _ in range(3):
        agent.look()
        finish_threads(agent)
    assert desk.status(card) == "completed"


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
                raise ServerRefused("P1: you have no access (HTTP 403)", 403)
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

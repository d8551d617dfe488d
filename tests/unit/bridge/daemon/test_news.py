"""News: events after a snapshot give the next snapshot, for each who follows, of what he may see and no more."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.door import door, settle
from support.fake_pool import Clock

from cryobridge.bridge.daemon.news import SNAPSHOT_EVERY_S, Change, News
from cryobridge.bridge.daemon.rights import Rights
from cryobridge.bridge.daemon.sight import RowSight
from cryobridge.schemas.bounds import MAX_FOLLOWERS_PER_USER, MAX_UNTAKEN_NEWS_BYTES
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.frames import TypedFrame
from cryobridge.schemas.messages import Heartbeat
from cryobridge.schemas.news import Board, NewsEvent, NewsLost, NewsTable, Snapshot, What
from cryobridge.schemas.requests import TO_COMMAND
from cryobridge.schemas.wire import HEARTBEAT_S, Decoder, encode

SERVICE, ANNE, BERT = 900, 1001, 1002


class Follower:
    """One that takes all it is told at once, or, while it sleeps, nothing."""

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.asleep = False
        self.unsent_bytes = 0
        self.frames: list[TypedFrame] = []

    def send(self, frame: TypedFrame) -> None:
        self.frames.append(TO_COMMAND.decode(frame.as_message()))
        if self.asleep:
            self.unsent_bytes += len(encode(frame.as_message()))

    def wake(self) -> None:
        self.asleep, self.unsent_bytes = False, 0

    def told(self) -> list[Snapshot | NewsEvent]:
        return [frame for frame in self.frames if isinstance(frame, Snapshot | NewsEvent)]

    def board(self) -> Board:
        board = Board()
        for frame in self.told():
            board.take(frame)
        return board


def health(text: str) -> dict[str, Any]:
    return {"live": True, "ready": True, "degraded": True, "problems": [text], "public": ["something is wrong"]}


def row_of(table: NewsTable, uid: int, text: str) -> dict[str, Any]:
    rows: dict[NewsTable, dict[str, Any]] = {
        NewsTable.HEALTH: health(text),
        NewsTable.DAEMON: {"state": "ready", "version": "1", "started_at": 1.0, "socket": text},
        NewsTable.COUNTS: {"jobs": len(text)},
        NewsTable.WORKERS: {
            **dict.fromkeys(("name", "device", "device_name", "state"), "x"),
            "busy": uid == ANNE,
            "tasks": [text],
        },
    }
    return rows.get(table, {"uid": uid, "text": text})


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.rights = Rights(own_uid=SERVICE)
        self.news = News(self.rights, self.clock, lambda: 5.0)

    def follow(self, uid: int) -> Follower:
        follower = Follower(uid)
        self.news.follow(follower)
        return follower

    def seen(self, uid: int) -> dict[str, Any]:
        """What a snapshot would say now."""
        asker = Follower(uid)
        self.news.follow(asker, once=True)
        (snapshot,) = asker.frames
        assert isinstance(snapshot, Snapshot)
        return snapshot.tables


@pytest.fixture
def bench() -> Bench:
    return Bench()


deeds = st.tuples(
    st.sampled_from(["put", "put", "put", "drop", "sleep", "wake", "tick"]),
    st.sampled_from(list(NewsTable)),
    st.sampled_from(["a", "b"]),
    st.text(st.sampled_from("xyz"), max_size=2),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(deeds, max_size=40), st.booleans())
def test_events_applied_to_a_snapshot_give_the_next_snapshot_for_everybody(history: list[Any], late: bool) -> None:
    bench = Bench()
    owners = {"a": ANNE, "b": BERT}
    followers = [bench.follow(uid) for uid in (0, SERVICE, ANNE, BERT)]
    for deed, table, name, text in history:
        if deed == "put":
            bench.news.put(What.JOB_PROGRESS, table, name, row_of(table, owners[name], text))
        elif deed == "drop":
            bench.news.drop(What.JOB_ENDED, table, name, row_of(table, owners[name], "last words"))
        elif deed == "sleep":
            followers[-1].asleep = True
            followers[-1].unsent_bytes = MAX_UNTAKEN_NEWS_BYTES + 1
        elif deed == "wake":
            followers[-1].wake()
        else:
            bench.clock.now += 1.0
            bench.news.tick(bench.clock())
        if late and len(followers) < 6:
            followers.insert(0, bench.follow(ANNE))
    followers[-1].wake()
    bench.clock.now += SNAPSHOT_EVERY_S
    bench.news.tick(bench.clock())
    for follower in followers:
        assert follower.board().tables == bench.seen(follower.uid)


@settings(deadline=None, max_examples=100)
@given(st.lists(deeds, max_size=30))
def test_nothing_of_another_users_reaches_a_follower_but_counts(history: list[Any]) -> None:
    bench = Bench()
    bert = bench.follow(BERT)
    for deed, table, name, _ in history:
        if deed == "put":
            bench.news.put(What.JOB_STARTED, table, name, row_of(table, ANNE, "/people/anne/secret.mrc"))
        elif deed == "drop":
            bench.news.drop(What.JOB_ENDED, table, name)
    assert "anne" not in str([frame.as_message() for frame in bert.frames])
    numbers = [frame.number for frame in bert.told()]
    assert numbers == list(range(1, len(numbers) + 1)), "gaps would tell how much others do"


def test_each_event_has_the_next_number_and_the_row_as_it_is(bench: Bench) -> None:
    anne = bench.follow(ANNE)
    bench.news.put(What.JOB_QUEUED, NewsTable.JOBS, "1", {"uid": ANNE, "state": "queued"})
    bench.news.put(What.JOB_QUEUED, NewsTable.JOBS, "2", {"uid": BERT, "state": "queued"})
    bench.news.put(What.JOB_STARTED, NewsTable.JOBS, "1", {"uid": ANNE, "state": "running"})
    bench.news.drop(What.JOB_ENDED, NewsTable.JOBS, "1", {"uid": ANNE, "state": "failed"})
    events = [frame for frame in anne.frames if isinstance(frame, NewsEvent)]
    assert [(one.number, one.what, one.row["state"], one.gone) for one in events] == [
        (2, "job_queued", "queued", False),
        (3, "job_started", "running", False),
        (4, "job_ended", "failed", True),
    ]
    assert anne.board().rows(NewsTable.JOBS) == []


def test_a_row_that_stays_as_it_is_is_no_news_unless_its_log_has_a_new_line(bench: Bench) -> None:
    anne = bench.follow(ANNE)
    for _ in range(3):
        bench.news.put(What.JOB_PROGRESS, NewsTable.JOBS, "1", {"uid": ANNE})
    assert len(anne.told()) == 2
    bench.news.put(What.JOB_NOTED, NewsTable.JOBS, "1", {"uid": ANNE})
    assert [frame.number for frame in anne.told()] == [1, 2, 3]


def test_an_event_that_is_not_the_next_one_is_a_loss() -> None:
    board = Board()
    event = NewsEvent(number=3, at=0.0, what="job_started", table="jobs", name="1", row={})
    with pytest.raises(NewsLost):
        board.take(event)
    board.take(Snapshot(number=1, at=0.0, tables={"jobs": {}}))
    with pytest.raises(NewsLost):
        board.take(event)
    assert board.tables == {"jobs": {}}
    board.take(Snapshot(number=2, at=0.0, tables={"jobs": {}}))
    board.take(event)
    assert board.rows(NewsTable.JOBS) == [{}]


def test_what_a_slow_follower_is_kept_for_is_bounded_whatever_happens(bench: Bench) -> None:
    anne, quick = bench.follow(ANNE), bench.follow(ANNE)
    anne.asleep = True
    for number in range(10_000):
        bench.news.put(What.JOB_PROGRESS, NewsTable.JOBS, "1", {"uid": ANNE, "text": f"{number:050}"})
        if number % 100 == 0:
            bench.clock.now += 1.0
            bench.news.tick(bench.clock())
    assert anne.unsent_bytes < MAX_UNTAKEN_NEWS_BYTES + 1024
    assert len(quick.told()) == 10_001
    anne.wake()
    bench.news.tick(bench.clock.now + SNAPSHOT_EVERY_S)
    last = anne.told()[-1]
    assert isinstance(last, Snapshot)
    assert last.tables["jobs"]["1"]["text"] == f"{9_999:050}"


def test_a_follower_that_is_always_slow_gets_a_snapshot_a_second_at_most(bench: Bench) -> None:
    anne = bench.follow(ANNE)
    for number in range(40):
        anne.unsent_bytes = MAX_UNTAKEN_NEWS_BYTES + 1
        bench.news.put(What.JOB_PROGRESS, NewsTable.JOBS, "1", {"uid": ANNE, "n": number})
        anne.unsent_bytes = 0
        bench.clock.now += SNAPSHOT_EVERY_S / 4
        bench.news.tick(bench.clock())
    assert 9 <= len(anne.told()) <= 11


def test_where_nothing_happens_a_follower_hears_that_the_daemon_lives(bench: Bench) -> None:
    anne = bench.follow(ANNE)
    for _ in range(20):
        bench.clock.now += HEARTBEAT_S / 2
        bench.news.tick(bench.clock())
    assert sum(isinstance(frame, Heartbeat) for frame in anne.frames) == 10


def test_one_user_has_few_followers_and_one_connection_follows_once(bench: Bench) -> None:
    followers = [bench.follow(ANNE) for _ in range(MAX_FOLLOWERS_PER_USER)]
    with pytest.raises(JobRejected, match="of your connections follow already"):
        bench.follow(ANNE)
    bert = bench.follow(BERT)
    with pytest.raises(JobRejected, match="this connection follows"):
        bench.news.follow(bert)
    bench.news.gone(followers[0])
    with pytest.raises(JobRejected, match="this connection follows"):
        bench.news.follow(followers[1])
    bench.news.put(What.JOB_QUEUED, NewsTable.JOBS, "1", {"uid": ANNE})
    assert len(followers[0].told()) == 1
    bench.news.follow(followers[0])


def test_who_becomes_an_operator_or_is_one_no_longer_gets_a_new_snapshot(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.news.put(What.JOB_QUEUED, NewsTable.JOBS, "1", {"uid": ANNE})
    bert = bench.follow(BERT)
    assert bert.board().tables["jobs"] == {}
    with monkeypatch.context() as patch:
        patch.setattr(bench.rights, "operates", lambda uid: True)
        bench.news.tick(bench.clock())
        assert bert.board().tables["jobs"] == {"1": {"uid": ANNE}}
    bench.news.tick(bench.clock())
    assert bert.board().tables["jobs"] == {}


def test_parts_of_the_daemon_hear_every_change_whosever(bench: Bench) -> None:
    heard: list[Change] = []
    bench.news.watch(heard.append)
    bench.news.put(What.JOB_QUEUED, NewsTable.JOBS, "1", {"uid": ANNE})
    bench.news.drop(What.JOB_ENDED, NewsTable.JOBS, "1")
    bench.news.drop(What.JOB_ENDED, NewsTable.JOBS, "never")
    assert [(one.what, one.gone, one.row) for one in heard] == [
        (What.JOB_QUEUED, False, {"uid": ANNE}),
        (What.JOB_ENDED, True, {"uid": ANNE}),
    ]


def test_health_is_said_in_words_for_the_one_who_asks() -> None:
    row = health("worker-0: /people/anne/secret.mrc: no such file")
    assert RowSight(ANNE, everything=False).row(NewsTable.HEALTH, row)["problems"] == ["something is wrong"]
    assert "anne" in str(RowSight(SERVICE, everything=True).row(NewsTable.HEALTH, row))
    assert "public" not in RowSight(SERVICE, everything=True).row(NewsTable.HEALTH, row)


def test_a_follower_on_a_socket_that_reads_nothing_does_not_grow_the_daemon(tmp_path: Path) -> None:
    bench = Bench()
    text = "x" * 500

    async def attack() -> None:
        async with door(tmp_path) as one:
            clients: list[Any] = []

            def follow(client: Any) -> None:
                clients.append(client)
                bench.news.follow(client)

            one.answers.answer = follow
            sock = await one.connect()
            sock.send(encode({"type": "follow", "who": "slow"}))
            await settle()
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            for number in range(20_000):
                bench.news.put(
                    What.JOB_PROGRESS, NewsTable.JOBS, "1", {"uid": clients[0].uid, "text": f"{number}{text}"}
                )
                if number % 200 == 0:
                    bench.clock.now += 1.0
                    bench.news.tick(bench.clock())
                    await asyncio.sleep(0)
            grown = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            assert clients[0].unsent_bytes < MAX_UNTAKEN_NEWS_BYTES + 2048
            assert grown < 500_000, "of ten million bytes that happened"
            decoder, board = Decoder(), Board()
            for _ in range(200):
                with contextlib.suppress(BlockingIOError):
                    for frame in decoder.feed(sock.recv(1 << 20)):
                        if frame.type in ("snapshot", "event"):
                            board.take(TO_COMMAND.decode(frame.message))
                await settle(5)
                bench.clock.now += SNAPSHOT_EVERY_S
                bench.news.tick(bench.clock())
            assert board.row(NewsTable.JOBS, "1")["text"] == f"{19_999}{text}"
            bench.news.gone(clients[0])

    asyncio.run(attack())

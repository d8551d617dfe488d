"""Random histories of calls, workers, deaths and time: each call gets one end, and halves never differ."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.fake_pool import Clock, FakeHook, FakeLedger, FakePool, call_frame

from cryobridge.bridge.refinements.pairing import Sessions
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.messages import Bye, Verified


class Histories(RuleBasedStateMachine):
    """Hooks call, agree, leave; the worker answers, fails, dies; time passes. Two refinements, two iterations."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.pool = FakePool()
        self.ledger = FakeLedger()
        self.deadlines = Deadlines()
        self.sessions = Sessions(self.pool, self.ledger, self.deadlines, self.clock, find=lambda pid: None)
        self.present: list[FakeHook] = []
        self.everyone: list[FakeHook] = []
        self.left: set[FakeHook] = set()

    @rule(
        halves=st.sampled_from([[1], [2], [1], [2], [0], [1, 2]]),
        iteration=st.integers(1, 2),
        root=st.sampled_from(["run", "other"]),
    )
    def call(self, halves: list[int], iteration: int, root: str) -> None:
        hook = FakeHook(halves)
        self.present.append(hook)
        self.everyone.append(hook)
        self.sessions.call(hook, call_frame(halves, iteration, root))

    def _pick(self, data: st.DataObject, kind: str):
        tasks = [task for task in self.pool.tasks.values() if task.frame.type == kind]
        return data.draw(st.sampled_from(tasks)) if tasks else None

    @rule(data=st.data(), due=st.sampled_from([True, True, True, False]))
    def standard(self, data: st.DataObject, due: bool) -> None:
        if (task := self._pick(data, "half")) is not None:
            self.pool.standard(task, due=due)

    @rule(data=st.data())
    def corrected(self, data: st.DataObject) -> None:
        if (task := self._pick(data, "correct")) is not None:
            self.pool.corrected(task)

    @rule(data=st.data(), kind=st.sampled_from(["half", "correct", "correct"]))
    def failed(self, data: st.DataObject, kind: str) -> None:
        if (task := self._pick(data, kind)) is not None:
            self.pool.failed(task)

    @rule()
    def worker_dies(self) -> None:
        self.pool.die()

    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        agreeing = [hook for hook in self.present if "corrected" in hook.types()]
        if agreeing:
            hook = data.draw(st.sampled_from(agreeing))
            for message in hook.sent:
                if message["type"] == "corrected":
                    self.sessions.verified(hook, Verified(half=message["half"], ticket=message["ticket"]))

    @rule(data=st.data(), politely=st.booleans())
    def leave(self, data: st.DataObject, politely: bool) -> None:
        if self.present:
            hook = data.draw(st.sampled_from(self.present))
            if not self._finished(hook):
                self.left.add(hook)
            self.present.remove(hook)
            if politely:
                self.sessions.bye(hook, Bye())
            self.sessions.gone(hook)

    @rule(seconds=st.sampled_from([1.0, 50.0, 121.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.sessions.tick(self.clock.now)

    def _finished(self, hook: FakeHook) -> bool:
        ends = hook.terminal()
        return any(end["type"] == "commit" for end in ends) or len(ends) >= len(hook.halves)

    @invariant()
    def never_more_than_one_end(self) -> None:
        for hook in self.everyone:
            ends = hook.terminal()
            if any(end["type"] == "commit" for end in ends):
                assert len(ends) == 1
            else:
                ended = [end["half"] for end in ends]
                assert len(ended) == len(set(ended))
                assert set(ended) <= set(hook.halves)

    @invariant()
    def an_answer_follows_its_standard_map(self) -> None:
        for hook in self.everyone:
            for position, message in enumerate(hook.sent):
                if message["type"] in ("answer", "corrected"):
                    before = hook.sent[:position]
                    assert any(one["type"] == "standard" and one["half"] == message["half"] for one in before)

    @invariant()
    def halves_with_one_ticket_end_alike(self) -> None:
        by_ticket: dict[str, list[FakeHook]] = {}
        for hook in self.everyone:
            for message in hook.sent:
                if message["type"] == "corrected":
                    by_ticket.setdefault(message["ticket"], []).append(hook)
        for hooks in by_ticket.values():
            committed = {any(end["type"] == "commit" for end in hook.terminal()) for hook in hooks}
            assert len(committed) == 1

    @invariant()
    def one_booked_end_per_iteration(self) -> None:
        booked = [name for name, _ in self.ledger.ended]
        assert len(booked) == len(set(booked))

    def teardown(self) -> None:
        # However it stands, deadlines alone bring every hook that is still there to an end.
        for _ in range(4):
            self.clock.now += max(self.deadlines.standard_s, self.deadlines.correct_s) + 1
            self.sessions.tick(self.clock.now)
        for hook in self.present:
            assert self._finished(hook), hook.sent
        assert self.sessions.open_calls == 0
        assert {name for name, _ in self.ledger.ended} == set(self.ledger.begun)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)

"""Placement: calls first and at their refinement's worker, one job per worker, nobody left out who could run."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cryobridge.bridge.pool.scheduler import MOST_CALLS, Placement, Priority, TaskView, WorkerView, place


def worker(name: str, *, ready: bool = True, device: str = "cpu", sessions: int = 0, calls: int = 0, jobs: int = 0):
    return WorkerView(name, device, ready, sessions, calls, jobs)


def call(name: str, order: int = 0, session: str | None = "s") -> TaskView:
    return TaskView(name, Priority.CALL, order, session)


def job(name: str, order: int = 0, priority: Priority = Priority.BATCH, devices: frozenset[str] | None = None):
    return TaskView(name, priority, order, None, devices)


def test_calls_of_a_refinement_go_where_its_warm_state_is_even_if_that_worker_is_busier() -> None:
    workers = [worker("a", calls=3, sessions=2), worker("b")]
    assert place(workers, [call("1")], {"s": "a"}) == [Placement("1", "a")]


def test_both_halves_of_a_new_refinement_go_to_one_worker() -> None:
    placements = place([worker("a"), worker("b")], [call("1", 0), call("2", 1)], {})
    assert len({placement.worker for placement in placements}) == 1
    assert len(placements) == 2


def test_a_new_refinement_goes_to_the_worker_with_fewest_refinements() -> None:
    assert place([worker("a", sessions=1), worker("b")], [call("1")], {}) == [Placement("1", "b")]


def test_two_new_refinements_are_spread() -> None:
    placements = place([worker("a"), worker("b")], [call("1", 0, "s"), call("2", 1, "t")], {})
    assert {placement.worker for placement in placements} == {"a", "b"}


def test_a_call_takes_a_ready_worker_rather_than_wait_for_one_that_starts() -> None:
    workers = [worker("a", ready=False), worker("b", sessions=5, calls=5)]
    assert place(workers, [call("1")], {}) == [Placement("1", "b")]


def test_a_call_waits_for_its_own_worker_while_that_starts() -> None:
    assert place([worker("a", ready=False), worker("b")], [call("1")], {"s": "a"}) == []


def test_a_refinement_whose_worker_is_gone_goes_elsewhere() -> None:
    assert place([worker("b")], [call("1")], {"s": "a"}) == [Placement("1", "b")]


def test_a_worker_runs_one_job_at_a_time_but_takes_calls_beside_it() -> None:
    busy = worker("a", jobs=1)
    assert place([busy], [job("j")], {}) == []
    assert place([busy], [call("c")], {}) == [Placement("c", "a")]


def test_interactive_jobs_go_before_batch_jobs_that_came_earlier() -> None:
    assert place([worker("a")], [job("old", 0), job("quick", 1, Priority.INTERACTIVE)], {}) == [Placement("quick", "a")]


def test_a_job_that_names_a_device_waits_for_it() -> None:
    gpu_only = job("j", devices=frozenset({"cuda:GPU-1"}))
    assert place([worker("a")], [gpu_only], {}) == []
    assert place([worker("a"), worker("b", device="cuda:GPU-1")], [gpu_only], {}) == [Placement("j", "b")]


WORKERS = st.lists(
    st.builds(
        WorkerView,
        name=st.sampled_from("abcd"),
        device=st.sampled_from(["cpu", "cuda:GPU-1"]),
        ready=st.booleans(),
        sessions=st.integers(0, 3),
        calls=st.integers(0, 3),
        jobs=st.integers(0, 1),
    ),
    max_size=4,
    unique_by=lambda one: one.name,
)
# Only jobs are bound to devices; a call goes wherever its refinement is warm.
TASKS = st.lists(
    st.builds(
        TaskView,
        id=st.integers(0, 99).map(str),
        priority=st.sampled_from(Priority),
        order=st.integers(0, 99),
        session=st.sampled_from([None, "s", "t", "u"]),
        devices=st.sampled_from([None, frozenset({"cpu"})]),
    ).map(lambda one: replace(one, devices=None) if one.priority is Priority.CALL else one),
    max_size=8,
    unique_by=(lambda one: one.id, lambda one: one.order),
)


@given(WORKERS, TASKS, st.dictionaries(st.sampled_from("stu"), st.sampled_from("abcdx")))
def test_any_placement_is_possible_and_leaves_no_worker_idle_for_nothing(workers, tasks, sticky) -> None:
    placements = place(workers, tasks, sticky)
    by_name = {one.name: one for one in workers}
    by_id = {one.id: one for one in tasks}
    placed = [placement.task for placement in placements]
    assert len(placed) == len(set(placed))
    new_jobs: dict[str, int] = {}
    homes: dict[str, str] = {session: name for session, name in sticky.items() if name in by_name}
    for placement in placements:
        chosen, task = by_name[placement.worker], by_id[placement.task]
        assert chosen.ready
        if task.priority is Priority.CALL:
            if task.session is not None:
                assert homes.setdefault(task.session, chosen.name) == chosen.name
        else:
            assert task.devices is None or chosen.device in task.devices
            new_jobs[chosen.name] = new_jobs.get(chosen.name, 0) + 1
            assert new_jobs[chosen.name] == 1
            assert chosen.jobs == 0 or task.priority is Priority.INTERACTIVE
    # Within a priority, a job is passed over only if no worker that it may use was left free.
    for task in tasks:
        if task.id in placed:
            continue
        if task.priority is Priority.CALL:
            able = [one for one in workers if task.devices is None or one.device in task.devices]
            home = homes.get(task.session or "")
            assert not any(one.ready for one in able) if home is None else not by_name[home].ready
        else:
            urgent = task.priority is Priority.INTERACTIVE
            free = [
                one
                for one in workers
                if one.ready and (task.devices is None or one.device in task.devices)
                if not one.jobs + new_jobs.get(one.name, 0) or (urgent and one.jobs and not new_jobs.get(one.name))
            ]
            assert free == []
    calls_done = [index for index, name in enumerate(placed) if by_id[name].priority is Priority.CALL]
    assert calls_done == list(range(len(calls_done)))


def test_an_interactive_job_begins_beside_a_batch_job_but_not_beside_another_interactive_one() -> None:
    quick = job("quick", priority=Priority.INTERACTIVE)
    assert place([worker("a", jobs=1)], [quick], {}) == [Placement("quick", "a")]
    assert place([WorkerView("a", "cpu", True, jobs=1, urgent_jobs=1)], [quick], {}) == []
    assert place([worker("a", jobs=1), worker("b")], [quick], {}) == [Placement("quick", "b")]


def test_no_job_begins_where_another_daemons_is_but_calls_do() -> None:
    lent = replace(worker("a"), occupied=True)
    assert place([lent], [job("j"), call("c", 1)], {}) == [Placement("c", "a")]


def test_of_many_calls_each_users_have_their_turn() -> None:
    many = [replace(call(f"m{index}", index, f"m{index}"), uid=1) for index in range(20)]
    few = [replace(call(f"f{index}", 20 + index, "f"), uid=2) for index in range(2)]
    given = [placement.task for placement in place([worker("a")], [*many, *few], {})]
    assert len(given) == MOST_CALLS
    assert {"f0", "f1"} < set(given[:4])
    later = place([worker("a", calls=MOST_CALLS - 1)], [*many, *few], {}, {(1, True): MOST_CALLS - 1})
    assert [placement.task for placement in later] == ["f0"]


def test_of_jobs_that_wait_the_one_begins_whose_user_has_none() -> None:
    mine, yours = replace(job("mine", 0), uid=1), replace(job("yours", 1), uid=2)
    assert place([worker("a")], [mine, yours], {}, {(1, False): 1}) == [Placement("yours", "a")]
    assert place([worker("a")], [mine, yours], {}) == [Placement("mine", "a")]


def test_a_task_that_only_one_worker_can_do_waits_for_it() -> None:
    pinned = replace(job("j"), home="b")
    assert place([worker("a")], [pinned], {}) == []
    assert place([worker("a"), worker("b")], [pinned], {}) == [Placement("j", "b")]

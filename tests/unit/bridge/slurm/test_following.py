"""A job from handing it over to its end, with a SLURM in memory: handed over once, never lost, never done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_slurm import FakeSlurm, Followed, NeverEndsError

from cryobridge.schemas.spool import CANCEL_FILE

Plan = dict[int, Callable[[], object]]


def follow(root: Path, slurm: FakeSlurm, plan: Plan, attempt: str = "job-ab-0") -> Followed:
    followed = Followed(root, slurm, attempt)
    asyncio.run(followed.run(plan))
    return followed


def killed_after(root: Path, slurm: FakeSlurm, looks: int, plan: Plan) -> None:
    """A daemon that is killed after so many looks."""

    def die() -> None:
        raise KeyError("killed")

    with pytest.raises(KeyError):
        asyncio.run(Followed(root, slurm).run({**plan, looks: die}))


def test_a_job_waits_runs_and_is_done(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    plan: Plan = {
        4: lambda: slurm.begin(100),
        6: lambda: slurm.say(100, "training 1/2", 0.5),
        8: lambda: slurm.end(100),
    }
    followed = follow(tmp_path, slurm, plan)
    assert followed.witness.end == ("done", "")
    assert followed.witness.said == [
        "SLURM job 100 waits in SLURM's queue",
        "SLURM job 100 starts on n1",
        "training 1/2",
    ]
    assert [job[1] for job in slurm.jobs.values()] == ["cryobridge-ab-0"]


def test_the_task_has_begun_when_its_worker_has_taken_it(tmp_path: Path) -> None:
    slurm, busy = FakeSlurm(), []
    followed = Followed(tmp_path, slurm)
    plan: Plan = {
        2: lambda: busy.append(followed.task.busy),
        3: lambda: slurm.begin(100),
        4: lambda: busy.append(followed.task.busy),
        5: lambda: slurm.end(100),
    }
    asyncio.run(followed.run(plan))
    assert busy == [False, True]


def test_the_next_daemon_finds_the_job_by_its_folder(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    killed_after(tmp_path, slurm, 5, {2: lambda: slurm.begin(100)})
    followed = follow(tmp_path, slurm, {3: lambda: slurm.end(100)})
    assert followed.witness.end == ("done", "")
    assert len(slurm.jobs) == 1


def test_a_job_whose_number_was_never_written_down_is_found_by_its_name(tmp_path: Path) -> None:
    slurm = FakeSlurm(lose_answer=True)
    followed = follow(tmp_path, slurm, {4: lambda: slurm.begin(100), 6: lambda: slurm.end(100)})
    assert followed.witness.end == ("done", "")
    assert slurm.asked.count("sbatch") == 1


def test_a_job_that_ended_without_a_daemon_is_taken_as_ended(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    killed_after(tmp_path, slurm, 3, {2: lambda: slurm.begin(100)})
    slurm.end(100)
    slurm.jobs.pop(100)  # SLURM has forgotten it by now
    assert follow(tmp_path, slurm, {}).witness.end == ("done", "")
    assert slurm.asked.count("sbatch") == 1


def test_slurm_that_does_not_answer_is_asked_again_and_the_job_goes_there_once(tmp_path: Path) -> None:
    slurm = FakeSlurm(broken={"sbatch": ["Unable to contact slurm controller"] * 2, "squeue": ["Socket timed out"]})
    followed = follow(tmp_path, slurm, {8: lambda: slurm.begin(100), 10: lambda: slurm.end(100)})
    assert followed.witness.end == ("done", "")
    assert "asked again" in followed.witness.said[0]
    assert len(slurm.jobs) == 1


def test_what_slurm_refuses_fails_with_its_words(tmp_path: Path) -> None:
    slurm = FakeSlurm(broken={"sbatch": ["sbatch: error: Invalid account specified"]})
    end = follow(tmp_path, slurm, {}).witness.end
    assert end == ("failed rejected", "SLURM refuses the job: sbatch: error: Invalid account specified")


def test_a_queue_that_does_not_answer_ends_no_job(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    plan: Plan = {
        2: lambda: slurm.begin(100),
        3: lambda: slurm.broken.update(squeue=["Unable to contact"] * 300),
        700: lambda: slurm.end(100),
    }
    assert follow(tmp_path, slurm, plan).witness.end == ("done", "")


def test_a_lost_node_is_a_lost_task_and_the_worker_is_told_to_stop_should_it_live(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    plan: Plan = {2: lambda: slurm.begin(100), 4: lambda: slurm.jobs[100].__setitem__(0, "NODE_FAIL")}
    followed = follow(tmp_path, slurm, plan)
    assert followed.witness.end is not None
    assert followed.witness.end[0] == "lost worker_died"
    assert followed.witness.end[1].startswith("SLURM job 100 lost its node n1 (NODE_FAIL); the node may not see")
    assert (tmp_path / "ab-0" / CANCEL_FILE).exists()
    # The queue hands it over again as its next attempt.
    again = follow(tmp_path, slurm, {3: lambda: slurm.begin(101), 5: lambda: slurm.end(101)}, "job-ab-1")
    assert again.witness.end == ("done", "")


def test_what_a_job_printed_last_is_told_of_its_loss(tmp_path: Path) -> None:
    slurm = FakeSlurm()

    def crash() -> None:
        slurm.jobs[100][0] = "FAILED"
        (slurm.jobs[100][2] / "slurm.out").write_text("line 12: python: command\nnot found\n")

    end = follow(tmp_path, slurm, {3: crash}).witness.end
    assert end is not None
    assert end[1].endswith(
        "ended (FAILED), and its worker has not said how; its last words: line 12: python: command not found"
    )


def test_a_job_that_vanished_is_lost_only_when_its_worker_is_silent(tmp_path: Path) -> None:
    slurm, folder = FakeSlurm(), tmp_path / "ab-0"
    beats = {look: (lambda look=look: (folder / "heartbeat").write_text(str(look))) for look in range(4, 300, 4)}
    followed = Followed(tmp_path, slurm)
    plan: Plan = {**beats, 2: lambda: slurm.begin(100), 6: slurm.jobs.clear}
    end = asyncio.run(followed.run(plan))
    assert end is not None
    assert end[0] == "lost worker_died"
    assert "does not know" in end[1]
    # A minute after the last sign of life, at two looks a second.
    assert followed.looks >= 296 + 120


def test_a_preempted_job_begins_again_within_its_attempt(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    plan: Plan = {
        2: lambda: slurm.begin(100),
        4: lambda: slurm.jobs[100].__setitem__(0, "PREEMPTED"),
        20: lambda: slurm.begin(101),
        24: lambda: slurm.end(101),
    }
    followed = follow(tmp_path, slurm, plan)
    assert followed.witness.end == ("done", "")
    assert [job[1] for job in slurm.jobs.values()] == ["cryobridge-ab-0", "cryobridge-ab-0.1"]
    assert any("preempted" in text for text in followed.witness.said)


def test_a_waiting_job_is_cancelled_in_slurm_at_once(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    followed = Followed(tmp_path, slurm)
    end = asyncio.run(followed.run({3: followed.following.cancel}))
    assert end is not None
    assert end[0] == "lost cancelled"
    assert slurm.jobs[100][0] == "CANCELLED"


def test_a_running_job_is_asked_first_and_cancelled_in_slurm_only_when_it_goes_on(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    followed = Followed(tmp_path, slurm)
    when: list[int] = []
    plan: Plan = {2: lambda: slurm.begin(100), 4: followed.following.cancel}
    plan |= {look: (lambda look=look: slurm.jobs[100][0] == "CANCELLED" and when.append(look)) for look in range(5, 60)}
    end = asyncio.run(followed.run(plan))
    assert end == ("failed cancelled", "cancelled on request")
    assert when[0] >= 4 + 20  # ten seconds, at two looks a second
    assert (tmp_path / "ab-0" / CANCEL_FILE).exists()


def test_a_worker_that_stops_by_itself_is_not_cancelled_in_slurm(tmp_path: Path) -> None:
    slurm = FakeSlurm()
    followed = Followed(tmp_path, slurm)
    plan: Plan = {
        2: lambda: slurm.begin(100),
        4: followed.following.cancel,
        6: lambda: slurm.end(100, ("cancelled", "cancelled on request")),
    }
    assert asyncio.run(followed.run(plan)) == ("failed cancelled", "cancelled on request")
    assert "scancel" not in slurm.asked


def test_of_two_slurm_jobs_the_one_that_claimed_the_folder_is_followed(tmp_path: Path) -> None:
    slurm = FakeSlurm()

    def second() -> None:
        slurm.jobs[200] = ["RUNNING", "cryobridge-ab-0", slurm.jobs[100][2]]
        slurm.begin(100, claim=200)
        slurm.jobs[100][0] = "COMPLETED"  # it found the claim, and left

    followed = follow(tmp_path, slurm, {3: second, 60: lambda: slurm.end(200)})
    assert followed.witness.end == ("done", "")


def test_a_job_that_never_ends_is_followed_for_ever(tmp_path: Path) -> None:
    """The test's own guard works: nothing but an end ends the following."""
    slurm = FakeSlurm()
    with pytest.raises(NeverEndsError):
        follow(tmp_path, slurm, {2: lambda: slurm.begin(100)})


def test_a_spool_folder_that_cannot_be_written_fails_the_job_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    end = follow(tmp_path / "file", FakeSlurm(), {}).witness.end
    assert end is not None
    assert "slurm.folder" in end[1]

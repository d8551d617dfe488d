"""SLURM's answers: read from its tables, whatever else is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.bridge.slurm.states import (
    STANDINGS,
    SlurmJob,
    Standing,
    read_accounting,
    read_queue,
    read_submitted,
)

LINE = st.text(st.characters(blacklist_characters="|\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=30)
NAMES = st.text(st.characters(blacklist_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=30)
NUMBERS = st.integers(1, 10**12)


def test_a_real_answer_of_squeue() -> None:
    text = "12|PENDING||cryobridge-ab-0|Priority\n13|RUNNING|n[1-2]|a|b|None\n\nslurm_load_jobs error: x\n"
    assert read_queue(text) == {
        12: SlurmJob(12, "PENDING", "", "cryobridge-ab-0", "Priority"),
        13: SlurmJob(13, "RUNNING", "n[1-2]", "a|b"),
    }


def test_a_real_answer_of_sacct() -> None:
    jobs = read_accounting("7|CANCELLED by 1000|n1|cryobridge-ab-0\n7.batch|CANCELLED|n1|batch\n8|OUT_OF_ME+|n1|x\n")
    assert jobs[7] == SlurmJob(7, "CANCELLED", "n1", "cryobridge-ab-0")
    assert set(jobs) == {7, 8}


@given(st.dictionaries(NUMBERS, st.tuples(st.sampled_from(sorted(STANDINGS)), NAMES), max_size=8))
def test_every_job_is_read_back_whatever_it_is_called(jobs: dict[int, tuple[str, str]]) -> None:
    text = "".join(f"{number}|{state}|n1|{name}|Priority\n" for number, (state, name) in jobs.items())
    assert {number: (job.state, job.name) for number, job in read_queue(text).items()} == jobs


@given(st.text(max_size=200))
def test_no_answer_breaks_the_reading(text: str) -> None:
    for jobs in (read_queue(text), read_accounting(text)):
        assert all(job.standing in Standing for job in jobs.values())
    assert read_submitted(text) is None or str(read_submitted(text)) in text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("123\n", 123),
        ("123;cluster\n", 123),
        ("sbatch: your group has 5 GPUs left\n123\n", 123),
        ("Submitted batch job 123\n", None),
        ("", None),
        ("0\n", None),
    ],
)
def test_the_number_that_sbatch_gives(text: str, number: int | None) -> None:
    assert read_submitted(text) == number


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        ("PENDING", Standing.WAITS),
        ("REQUEUED", Standing.WAITS),
        ("RUNNING", Standing.RUNS),
        ("COMPLETING", Standing.RUNS),
        ("COMPLETED", Standing.ENDED),
        ("FAILED", Standing.ENDED),
        ("NODE_FAIL", Standing.LOST),
        ("BOOT_FAIL", Standing.LOST),
        ("PREEMPTED", Standing.PREEMPTED),
        ("CANCELLED", Standing.CANCELLED),
        ("TIMEOUT", Standing.OUT_OF_TIME),
        ("DEADLINE", Standing.OUT_OF_TIME),
        ("OUT_OF_MEMORY", Standing.OUT_OF_MEMORY),
        ("STATE_OF_THE_FUTURE", Standing.RUNS),
    ],
)
def test_what_a_state_means(state: str, standing: Standing) -> None:
    assert SlurmJob(1, state, "", "").standing is standing

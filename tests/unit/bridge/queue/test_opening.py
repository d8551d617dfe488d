"""The job database opens whatever has become of its file; nothing is thrown away, and nothing is passed over."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cryobridge.bridge.queue import opening
from cryobridge.bridge.queue.opening import open_store
from cryobridge.bridge.queue.store import Store, StoreUnavailable, mark_path
from cryobridge.schemas.state import JobState

SPEC = {
    "schema": "cryobridge/job/1",
    "kind": "map.fsc3d",
    "inputs": {"half1": "/data/one.mrc", "half2": "/data/two.mrc"},
    "output": "/data/out",
}
PAGE_BYTES = 4096
JOBS = 40


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.sqlite"


def fill(database: Path, jobs: int = JOBS) -> Store:
    """Finished jobs, and two last ones that still wait."""
    database.parent.mkdir(exist_ok=True)
    store = Store(database)
    for number in range(jobs):
        job = store.add("map.fsc3d", SPEC, 1000)
        store.start(job.id)
        if number < jobs - 2:
            store.succeed(job.id, {"metrics": {"spread": float("nan")}})
        else:
            store.interrupt(job.id, "worker_died", "the daemon was restarted")
    return store


def overwrite(path: Path, page: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(page * PAGE_BYTES)
        stream.write(data)


def overwrite_bytes(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(data)


def run_sql(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def set_aside(database: Path) -> list[str]:
    return sorted(name for name in os.listdir(database.parent) if ".damaged-" in name)


def noise(count: int) -> bytes:
    return bytes((number * 197 + number // 251 * 89 + 7) % 256 for number in range(count))


DAMAGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "a page of random bytes": (lambda path: overwrite(path, 7, noise(PAGE_BYTES)), 1),
    "a page of zeros": (lambda path: overwrite(path, 7, bytes(PAGE_BYTES)), 1),
    "the first page random": (lambda path: overwrite(path, 0, noise(PAGE_BYTES)), JOBS),
    "the first page zeros": (lambda path: overwrite(path, 0, bytes(PAGE_BYTES)), JOBS),
    "cut off": (lambda path: os.truncate(path, path.stat().st_size - 2 * PAGE_BYTES + 100), 1),
    "no database": (lambda path: path.write_bytes(b"particles " * 3000), 0),
    "no version": (lambda path: run_sql(path, "PRAGMA user_version = 0"), JOBS),
    "a negative version": (lambda path: run_sql(path, "PRAGMA user_version = -3"), JOBS),
    "a table missing": (lambda path: run_sql(path, "DROP TABLE pulse"), JOBS),
    "a spec that is no JSON": (lambda path: run_sql(path, "UPDATE job SET spec = '{' WHERE number = 3"), JOBS - 1),
    "a format of the future": (lambda path: overwrite_bytes(path, 18, b"\x09\x02"), JOBS),
    "words that are no UTF-8": (
        lambda path: overwrite_bytes(path, path.read_bytes().find(b"event_is_kept"), b"\xca"),
        JOBS,
    ),
    "a spec that is a list": (lambda path: run_sql(path, "UPDATE job SET spec = '[]' WHERE number = 3"), JOBS - 1),
}


@pytest.mark.parametrize(("harm", "least"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_database_is_set_aside_and_what_can_be_read_goes_on(
    database: Path, harm: Callable[[Path], object], least: int
) -> None:
    fill(database).close()
    harm(database)
    store, incidents = open_store(database)
    counts = store.counts()
    assert sum(counts.values()) >= least
    assert store.add("map.fsc3d", SPEC, 1000).state is JobState.QUEUED
    (problem,) = incidents.problems()
    assert "damaged" in problem
    assert [name.rpartition(".")[2] for name in set_aside(database)] == ["sqlite", "txt"]
    store.close()
    again, incidents = open_store(database)
    assert len(incidents.problems()) == 1
    assert sum(again.counts().values()) == sum(counts.values()) + 1
    again.close()


def harm_at_random(chance: random.Random, path: Path) -> None:
    size = path.stat().st_size
    match chance.choice(("zeros", "noise", "bytes", "cut", "longer")):
        case "zeros":
            overwrite_bytes(path, chance.randrange(size), bytes(chance.choice((1, 100, PAGE_BYTES))))
        case "noise":
            overwrite_bytes(path, chance.randrange(size), chance.randbytes(chance.choice((1, 100, PAGE_BYTES))))
        case "bytes":
            for _ in range(chance.randint(1, 30)):
                overwrite_bytes(path, chance.randrange(size), chance.randbytes(1))
        case "cut":
            os.truncate(path, chance.randrange(size))
        case "longer":
            overwrite_bytes(path, size, chance.randbytes(PAGE_BYTES))


def test_whatever_the_damage_it_opens_works_and_loses_no_job_silently(database: Path) -> None:
    """Sixty damages of database, log and mark, as a killed daemon left them."""
    killed_writer(database)
    whole = database.parent.with_name("whole")
    database.parent.rename(whole)
    for seed in range(60):
        chance = random.Random(seed)
        shutil.rmtree(database.parent, ignore_errors=True)
        shutil.copytree(whole, database.parent)
        for name in chance.sample(sorted(os.listdir(whole)), chance.randint(1, 2)):
            harm_at_random(chance, database.with_name(name))
        store, incidents = open_store(database)
        store.recover()
        found = sum(store.counts().values())
        job = store.add("map.fsc3d", SPEC, 1000)
        store.start(job.id)
        store.succeed(job.id, {})
        store.close()
        assert incidents.problems() or found == JOBS, seed
        again, later = open_store(database)
        assert again.get(job.id) is not None
        again.close()
        assert later.problems() == incidents.problems(), seed


def test_a_saved_job_keeps_its_result_its_log_and_its_place(database: Path) -> None:
    store = fill(database)
    jobs = {job.id: (job, store.events(job.id)) for job in store.newest(100)}
    store.close()
    overwrite(database, 0, bytes(PAGE_BYTES))
    store, _ = open_store(database)
    saved = {job.id: (job, store.events(job.id)) for job in store.newest(100)}
    assert repr(saved) == repr(jobs)  # NaN is not equal to itself
    assert [job.state for job in store.queued()] == [JobState.QUEUED] * 2
    store.start(store.queued()[0].id)
    store.close()


def test_a_saved_job_that_is_to_run_but_is_none_fails_and_says_why(database: Path) -> None:
    fill(database).close()
    run_sql(database, f'UPDATE job SET spec = \'{{"kind": "rm"}}\' WHERE number = {JOBS}')
    overwrite(database, 0, bytes(PAGE_BYTES))
    store, _ = open_store(database)
    (newest,) = store.newest(1)
    assert (newest.state, newest.reason) == (JobState.FAILED, "store")
    assert "submit it again" in newest.text
    assert len(store.queued()) == 1
    store.close()


def test_the_warning_goes_when_its_note_is_removed_and_not_before(database: Path) -> None:
    fill(database).close()
    overwrite(database, 0, bytes(PAGE_BYTES))
    store, incidents = open_store(database)
    store.close()
    (note,) = database.parent.glob("*.txt")
    assert str(note) in incidents.problems()[0]
    note.unlink()
    assert incidents.problems() == []


@pytest.mark.parametrize("lose", [lambda path: os.truncate(path, 0), Path.unlink], ids=["emptied", "removed"])
@pytest.mark.parametrize("harm_mark", [False, True], ids=["mark", "emptied mark"])
def test_a_database_that_was_emptied_beside_signs_of_earlier_jobs_is_not_well(
    database: Path, lose: Callable[[Path], object], harm_mark: bool
) -> None:
    fill(database).close()
    lose(database)
    if harm_mark:
        os.truncate(mark_path(database), 0)
    store, incidents = open_store(database)
    assert "emptied or removed" in incidents.problems()[0]
    store.close()
    again, incidents = open_store(database)
    again.close()
    assert len(incidents.problems()) == 1  # told once, not at each start


def test_an_older_copy_of_the_database_is_not_well(database: Path) -> None:
    store = fill(database, 3)
    store.close()
    shutil.copy(database, database.with_name("backup"))
    fill(database, 3).close()
    database.with_name("backup").replace(database)
    store, incidents = open_store(database)
    assert "entries are gone" in incidents.problems()[0]
    assert sum(store.counts().values()) == 3
    store.close()


def killed_writer(database: Path) -> None:
    """A database and its log, as a daemon leaves them that is killed."""
    pid = os.fork()
    if pid == 0:
        fill(database)
        os._exit(0)
    os.waitpid(pid, 0)


def test_a_log_of_garbage_is_kept_and_told(database: Path) -> None:
    killed_writer(database)
    log = Path(f"{database}-wal")
    garbage = noise(log.stat().st_size)
    log.write_bytes(garbage)
    store, incidents = open_store(database)
    assert "lost entries" in incidents.problems()[0]
    (kept,) = database.parent.glob("*.damaged-*-wal")
    assert kept.read_bytes() == garbage
    store.close()


def test_what_a_killed_daemon_leaves_is_well(database: Path) -> None:
    killed_writer(database)
    store, incidents = open_store(database)
    assert sum(store.counts().values()) == JOBS
    assert incidents.problems() == []
    store.close()
    assert sorted(os.listdir(database.parent)) == ["jobs.sqlite", "jobs.sqlite-mark"]


def test_a_mark_that_cannot_be_read_is_told_once(database: Path) -> None:
    fill(database).close()
    overwrite_bytes(mark_path(database), 5, b"7")
    for _ in range(2):
        store, incidents = open_store(database)
        store.close()
        assert len(incidents.problems()) == 1
    assert "may be gone" in incidents.problems()[0]


def test_a_new_database_and_one_without_a_mark_are_well(database: Path) -> None:
    database.parent.mkdir()
    for _ in range(2):
        store, incidents = open_store(database)
        assert incidents.problems() == []
        store.add("map.fsc3d", SPEC, 1000)
        store.close()
        mark_path(database).unlink()


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "FIFO"])
def test_what_is_no_file_is_set_aside(database: Path, make: Callable[[Path], object], suffix: str) -> None:
    database.parent.mkdir()
    make(Path(f"{database}{suffix}"))
    store, incidents = open_store(database)
    assert "was no file" in incidents.problems()[0]
    store.add("map.fsc3d", SPEC, 1000)
    store.close()


def test_a_newer_database_is_left_alone(database: Path) -> None:
    fill(database).close()
    run_sql(database, "PRAGMA user_version = 99")
    before = database.read_bytes()
    with pytest.raises(StoreUnavailable, match="newer cryobridge"):
        open_store(database)
    assert database.read_bytes() == before
    assert set_aside(database) == []


def test_a_database_that_another_program_uses_is_left_alone_even_if_it_cannot_be_read(database: Path) -> None:
    store = fill(database)
    # In a process of its own, also the damage: whoever closes a file lets go all locks that its process has on it.
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys\nfrom pathlib import Path\n"
            "with open(sys.argv[1], 'r+b') as stream:\n    stream.write(bytes(4096))\n"
            "from cryobridge.bridge.queue.opening import open_store\n"
            "from cryobridge.bridge.queue.store import StoreUnavailable\n"
            "try:\n    open_store(Path(sys.argv[1]))\n"
            "except StoreUnavailable as error:\n    print(error)\n",
            str(database),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "locked" in child.stdout
    assert set_aside(database) == []
    store.close()


def test_where_there_is_no_room_for_a_rescue_the_damaged_database_stays(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database).close()
    overwrite(database, 0, noise(PAGE_BYTES))
    before = database.read_bytes()

    def full(_: Path, fresh: Path) -> int:
        fresh.touch()
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "salvage", full)
        with pytest.raises(StoreUnavailable, match="make room"):
            open_store(database)
    assert database.read_bytes() == before
    assert sorted(os.listdir(database.parent)) == ["jobs.sqlite", "jobs.sqlite-mark"]
    store, _ = open_store(database)
    assert sum(store.counts().values()) == JOBS
    store.close()


def test_a_change_that_was_taken_back_does_not_move_the_mark(database: Path) -> None:
    store = fill(database, 2)
    with contextlib.suppress(KeyError), store.together():
        store.add("map.fsc3d", SPEC, 1000)
        raise KeyError
    assert store.writable()
    store.close()
    store, incidents = open_store(database)
    assert incidents.problems() == []
    store.close()

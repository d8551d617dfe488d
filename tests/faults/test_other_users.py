"""A daemon for many users, real processes under real ids: nobody sees, ends or uses what is another's.

The daemon runs as one user, as a system service does, and jobs that name files are its own user's alone.
`docs/security.md` says of every promise where it is tested; what is here needs other users' ids, so it needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.daemon_process import PARTS, TestHook, wait_for
from support.other_users import OWNER, SERVICE, STRANGER, ServiceDaemon, acting_as, private_folder

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users"),
]
SECRET = "the-name-of-a-protein"


@pytest.fixture
def make_service() -> Iterator[Callable[..., ServiceDaemon]]:
    """Make daemons (not started); all are ended with the test."""
    made: list[ServiceDaemon] = []

    def make(**config) -> ServiceDaemon:
        # A socket's path may have 107 bytes.
        made.append(ServiceDaemon(Path(tempfile.mkdtemp(prefix="cb-")), **config))
        return made[-1]

    yield make
    for daemon in made:
        daemon.end()
        shutil.rmtree(daemon.folder, ignore_errors=True)


@pytest.fixture
def service(make_service: Callable[..., ServiceDaemon]) -> ServiceDaemon:
    return make_service().start()


def spec(folder: Path, **run) -> dict:
    """A job of three files; the maps are there."""
    for half in ("a.mrc", "b.mrc"):
        (folder / half).touch()
    inputs = {"half1": str(folder / "a.mrc"), "half2": str(folder / "b.mrc")}
    job = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "inputs": inputs, "output": str(folder / SECRET)}
    return {**job, "run": run}


@pytest.fixture
def jobs(service: ServiceDaemon) -> list[str]:
    """One job that runs and one that waits, of the daemon's own user."""
    service.fake(job_s=60)
    service.ready_worker()
    folder = private_folder(service.folder / "own", SERVICE)
    made = [service.ask_as(SERVICE, "submit", spec=spec(folder, request_id=name))["job_id"] for name in ("one", "two")]
    wait_for(lambda: service.ask("wait", job_id=made[0], timeout_s=0)["state"] == "running")
    return made


# ---- jobs


def test_a_stranger_learns_nothing_of_a_job_not_even_that_it_is_there(service: ServiceDaemon, jobs: list[str]) -> None:
    assert service.ask_as(STRANGER, "jobs", limit=100)["jobs"] == []
    for job_id in (*jobs, jobs[0][:8]):
        made_up = job_id.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
        for kind in ("logs", "wait", "cancel"):
            more = {"timeout_s": 0} if kind == "wait" else {}
            real, none = (service.ask_as(STRANGER, kind, job_id=one, **more) for one in (job_id, made_up))
            assert (real["type"], real["code"]) == ("error", "input_invalid")
            assert real["text"].replace(job_id, made_up) == none["text"]
    states = [service.ask_as(SERVICE, "wait", job_id=job_id, timeout_s=0) for job_id in jobs]
    assert [(one["state"], one["abort_requested"]) for one in states] == [("running", False), ("queued", False)]


def test_a_stranger_sees_counts_and_no_names(service: ServiceDaemon, jobs: list[str]) -> None:
    status, processes = service.ask_as(STRANGER, "status"), service.ask_as(STRANGER, "ps")
    assert status["queue"]["running"] == status["queue"]["queued"] == 1
    assert (processes["processes"], processes["sessions"], status["sessions"]) == ([], [], [])
    for told in (status, processes):
        assert SECRET not in json.dumps(told)
        assert not [job_id for job_id in jobs if job_id in json.dumps(told)]
    assert SECRET in json.dumps(service.ask_as(SERVICE, "jobs", limit=9)), "or the name would be seen by nobody"


def test_the_daemons_user_and_root_see_and_cancel(service: ServiceDaemon, jobs: list[str]) -> None:
    for uid, job_id in ((0, jobs[1]), (SERVICE, jobs[0])):
        assert len(service.ask_as(uid, "jobs", limit=9)["jobs"]) == 2
        service.ask_as(uid, "cancel", job_id=job_id)
        wait_for(lambda job_id=job_id: service.ask("wait", job_id=job_id, timeout_s=0)["state"] == "cancelled")


def test_a_stranger_cannot_drain_stop_or_prepare(service: ServiceDaemon, jobs: list[str]) -> None:
    told = {"session": "/project/job001/run"}
    for kind, more in (("drain", {}), ("stop", {}), ("prepare", told), ("release", told)):
        answer = service.ask_as(STRANGER, kind, **more)
        assert answer["type"] == "error", kind
        assert "\n" not in answer["text"]
    assert service.ask("status")["state"] == "ready"


def test_a_name_of_anothers_request_gives_nothing_of_his_job(service: ServiceDaemon, jobs: list[str]) -> None:
    folder = private_folder(service.folder / "theirs", STRANGER)
    answer = service.ask_as(STRANGER, "submit", spec=spec(folder, request_id="one"))
    assert answer["type"] == "error"
    assert jobs[0] not in json.dumps(answer)


def paths_of_a_stranger(service: ServiceDaemon) -> dict[str, dict]:
    """Jobs that name files in every way one might try."""
    theirs = private_folder(service.folder / "theirs", STRANGER)
    own = private_folder(service.folder / "own", SERVICE)
    good = spec(theirs)
    (theirs / "link").symlink_to(own)
    (theirs / "state").symlink_to(service.folder / "state")
    (theirs / "open").mkdir(mode=0o777)
    return {
        "their own": good,
        "into another's folder": {**good, "output": str(own / "out")},
        "through a link": {**good, "output": str(theirs / "link" / "out")},
        "upwards": {**good, "output": f"{theirs}/../own/out"},
        "the daemon's state": {**good, "output": str(theirs / "state" / "out")},
        "a file of another": {**good, "inputs": {**good["inputs"], "half1": str(own / "secret.mrc")}},
        "a process": {**good, "inputs": {**good["inputs"], "half1": "/proc/self/mem"}},
        "through a process": {**good, "output": f"/proc/{service.process.pid}/cwd/out"},
        "open to all": {**good, "output": str(theirs / "open" / "out")},
    }


def test_a_job_that_names_files_is_not_taken_from_a_stranger(service: ServiceDaemon) -> None:
    service.ready_worker()
    for what, job in paths_of_a_stranger(service).items():
        answer = service.ask_as(STRANGER, "submit", spec=job)
        assert (answer["type"], answer["code"]) == ("error", "rejected"), what
        assert "\n" not in answer["text"]
        assert "cryobridge" in answer["text"], "it says what to do instead"
    assert service.ask("jobs", limit=9)["jobs"] == []
    assert sorted(path.name for path in service.folder.rglob("out")) == []


def test_what_the_daemon_keeps_is_closed_to_others(service: ServiceDaemon, jobs: list[str]) -> None:
    state = service.folder / "state"
    with acting_as(STRANGER):
        for path in (state, state / "jobs.sqlite", state / "daemon.log"):
            assert not os.access(path, os.R_OK, effective_ids=True)
    files = [state, *state.rglob("*"), Path(f"{service.socket}.lock")]
    assert len(files) > 3
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_a_socket_for_one_user_is_closed_to_others(make_service: Callable[..., ServiceDaemon]) -> None:
    service = make_service(socket_mode="0600").start()
    with acting_as(STRANGER), pytest.raises(PermissionError):
        service.connect()
    assert service.ask_as(SERVICE, "status")["state"] == "ready"


# ---- RELION's calls


class PrivateHook(TestHook):
    """A hook of a user whose files are in a folder that only he may enter; they travel as descriptors."""

    def __init__(self, service: ServiceDaemon, uid: int, half: int) -> None:
        super().__init__(service, [half])
        self._uid = uid
        self.folder = private_folder(service.folder / f"project-{uid}-{half}", uid)
        self.files = {}
        with acting_as(uid):
            for part in PARTS:
                self.files[f"half{half}.{part}"] = (self.folder / f"half{half}.{part}").open("w+b")

    def run(self) -> None:
        with acting_as(self._uid):
            super().run()


def test_a_call_needs_no_right_of_the_daemons_to_the_users_files_and_they_stay_the_users(
    service: ServiceDaemon,
) -> None:
    service.fake(due=False)
    service.ready_worker()
    for uid in (OWNER, STRANGER):
        hook = PrivateHook(service, uid, 1)
        with acting_as(SERVICE), pytest.raises(PermissionError):
            os.listdir(hook.folder)
        # In this thread: the whole process acts as one user at a time.
        hook.run()
        assert hook.ends[0]["type"] == "answer", (hook.lost, hook.received)
        made = hook.folder / "half1.standard"
        assert made.read_bytes().startswith(b"standard map of half 1")
        assert made.stat().st_uid == uid
    for uid, other in ((OWNER, STRANGER), (STRANGER, OWNER)):
        seen = service.ask_as(uid, "status")["sessions"]
        assert [one["uid"] for one in seen] == [uid], "users of one folder's name are two refinements"
        listed = service.ask_as(uid, "jobs", limit=9)["jobs"]
        assert {job["uid"] for job in listed} == {uid}
        hidden = next(job["job_id"] for job in service.ask("jobs", limit=9)["jobs"] if job["uid"] == other)
        assert service.ask_as(uid, "cancel", job_id=hidden)["type"] == "error"
        name = seen[0]["session"].partition(":")[2] or seen[0]["session"]
        assert service.ask_as(uid, "release", session=name)["released"]
        assert [one["uid"] for one in service.ask("status")["sessions"]] == ([other] if uid == OWNER else [])

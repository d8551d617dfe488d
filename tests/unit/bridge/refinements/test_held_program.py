"""The program that a hook hands over is known to have ended whatever may be seen of it, and held once."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_pool import Clock, FakeHook, FakeLedger, FakePool, call_frame, open_descriptors

from cryobridge.bridge.refinements import pairing
from cryobridge.bridge.refinements.pairing import RELEASE_AFTER_S, Sessions
from cryobridge.bridge.refinements.program import HeldProgram
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.messages import PROGRAM, Bye
from cryobridge.schemas.wire import Frame

PR_SET_DUMPABLE = 4
SESSION = "/project/job001/run"


class Relion:
    """A process that runs until it is ended."""

    def __init__(self, uid: int | None = None) -> None:
        self.process = subprocess.Popen(["sleep", "600"], user=uid)

    def pidfd(self) -> int:
        return os.pidfd_open(self.process.pid)

    def end(self) -> None:
        """It stays a zombie until `wait`."""
        self.process.kill()
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    def wait(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def relions() -> Iterator[list[Relion]]:
    made = [Relion(), Relion()]
    yield made
    for one in made:
        one.wait()


class Blind:
    """Sessions of a daemon that sees no process of others; `look` lets its clock pass the next look."""

    def __init__(self) -> None:
        self.clock, self.pool = Clock(), FakePool()
        self.sessions = Sessions(
            self.pool, FakeLedger(), Deadlines(), self.clock, keep_alive_s=600, find=lambda pid: None
        )

    def call(self, half: int, program: int | None, root: str = "run", iteration: int = 5) -> FakeHook:
        frame = call_frame([half], root=root, iteration=iteration)
        if program is not None:
            frame = Frame({**frame.message, "fd_names": [*frame.message["fd_names"], PROGRAM]}, [*frame.fds, program])
        hook = FakeHook([half], None)
        self.sessions.call(hook, frame)
        return hook

    def quick_call(self, program: int | None, root: str = "run", iteration: int = 5) -> None:
        hook = self.call(1, program, root, iteration)
        self.pool.standard(self.pool.half(1), due=False)
        self.sessions.bye(hook, Bye())
        self.pool.tasks.clear()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.sessions.tick(self.clock.now)


@pytest.fixture
def blind() -> Blind:
    return Blind()


def test_its_end_is_seen_even_before_anybody_has_asked_for_it(relions: list[Relion]) -> None:
    fd = relions[0].pidfd()
    held = HeldProgram.of(fd)
    os.close(fd)
    assert held is not None
    assert held.pid == relions[0].process.pid
    assert held.alive()
    relions[0].end()
    assert not held.alive()
    held.close()
    held.close()
    assert not held.alive()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_the_program_of_another_user_is_seen_to_end_by_a_daemon_without_any_right() -> None:
    relion = Relion(uid=12345)
    fd = relion.pidfd()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)
            ours.close()
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            # As after a start by systemd: a process that has given rights up may not read its own /proc otherwise.
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)
            held = HeldProgram.of(fd)
            theirs.sendall(b"alive" if held is not None and held.alive() else b"not seen")
            theirs.recv(1)
            theirs.sendall(b"ended" if held is not None and not held.alive() else b"not seen to end")
        finally:
            os._exit(0)
    os.close(fd)
    theirs.close()
    with ours:
        ours.settimeout(10)
        assert ours.recv(100) == b"alive"
        relion.end()
        ours.sendall(b"x")
        assert ours.recv(100) == b"ended"
    os.waitpid(child, 0)
    relion.wait()


def test_nothing_but_a_pidfd_is_ever_asked(tmp_path: Path) -> None:
    with socket.socket() as sock, (tmp_path / "file").open("w") as file:
        reading, writing = os.pipe()
        before = open_descriptors()
        assert [HeldProgram.of(fd) for fd in (sock.fileno(), file.fileno(), reading, None)] == [None] * 4
        assert open_descriptors() == before
        os.close(reading)
        os.close(writing)


def test_a_refinement_is_let_go_after_the_end_of_a_program_that_only_its_hook_could_see(
    blind: Blind, relions: list[Relion]
) -> None:
    blind.quick_call(relions[0].pidfd())
    assert blind.sessions.snapshot()[0]["pid"] == relions[0].process.pid
    blind.wait(10_000)
    assert blind.sessions.alive()
    assert blind.pool.released == []
    relions[0].end()
    blind.wait(11)
    assert not blind.sessions.alive()
    blind.wait(RELEASE_AFTER_S + 11)
    assert blind.pool.released == [SESSION]


def test_without_a_descriptor_nothing_is_seen_and_the_warm_state_ends_with_its_time(blind: Blind) -> None:
    blind.quick_call(None)
    assert not blind.sessions.alive()
    blind.wait(590)
    assert blind.pool.released == []
    blind.wait(20)
    assert blind.pool.released == [SESSION]


def pidfds() -> int:
    """How many processes this one holds."""
    found = Path("/proc/self/fd").iterdir()
    return sum("pidfd" in os.readlink(fd) for fd in found if fd.is_symlink())


def test_each_refinement_holds_one_descriptor_whatever_is_handed_over(blind: Blind, relions: list[Relion]) -> None:
    for iteration in range(1, 6):
        for relion in relions:
            blind.quick_call(relion.pidfd(), iteration=iteration)
    assert pidfds() == 1
    blind.quick_call(relions[0].pidfd(), root="other")
    assert pidfds() == 2
    relions[0].end()
    # What was held has ended, so the next one is taken in its place.
    blind.quick_call(relions[1].pidfd(), iteration=6)
    assert pidfds() == 2
    assert blind.sessions.snapshot()[0]["pid"] == relions[1].process.pid
    assert blind.sessions.release(SESSION)
    assert blind.sessions.release("/project/job001/other")
    assert pidfds() == 0


def test_a_call_that_is_refused_keeps_none(blind: Blind, relions: list[Relion]) -> None:
    before = open_descriptors()
    frame = call_frame([1])
    names = [*frame.message["fd_names"], PROGRAM, "one_too_many"]
    blind.sessions.call(
        FakeHook([1], None), Frame({**frame.message, "fd_names": names}, [*frame.fds, relions[0].pidfd()])
    )
    assert open_descriptors() == before
    assert blind.sessions.snapshot() == []


def test_no_worker_is_given_the_program(blind: Blind, relions: list[Relion]) -> None:
    blind.call(1, relions[0].pidfd())
    task = blind.pool.half(1)
    assert PROGRAM not in task.frame.fd_names
    assert "mask" in task.frame.fd_names
    blind.sessions.release(SESSION)
    assert pidfds() == 0


def test_one_user_makes_the_daemon_hold_a_bounded_number(
    blind: Blind, relions: list[Relion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "MAX_PROGRAMS_PER_USER", 3)
    for number in range(6):
        blind.quick_call(relions[0].pidfd(), root=f"run{number}")
    assert pidfds() == 3
    assert [one["pid"] is not None for one in blind.sessions.snapshot()] == [True] * 3 + [False] * 3
    for number in range(6):
        blind.sessions.release(f"/project/job001/run{number}")
    assert pidfds() == 0

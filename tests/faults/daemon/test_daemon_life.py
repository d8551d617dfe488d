"""The daemon's own life: one per address, stopping in order or not at all, leaving when nobody needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from support.daemon_process import DaemonProcess, TestHook, call_both, wait_for

from cryobridge.schemas.wire import Channel, ClosedError

pytestmark = pytest.mark.faults


def test_of_many_daemons_started_at_once_one_lives_and_the_others_leave_with_success(make_daemon) -> None:
    daemon = make_daemon()
    racers = [daemon.launch() for _ in range(5)]
    wait_for(lambda: sum(racer.poll() is None for racer in racers) == 1, 20)
    (daemon.process,) = [racer for racer in racers if racer.poll() is None]
    assert [racer.wait() for racer in racers if racer is not daemon.process] == [0, 0, 0, 0]
    assert daemon.output().count("already listens") == 4
    assert daemon.ask("status")["pid"] == daemon.process.pid


def test_a_socket_left_by_a_killed_daemon_is_replaced(make_daemon) -> None:
    daemon = make_daemon().start()
    first = daemon.ask("status")["daemon_id"]
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    assert daemon.socket.exists()
    assert not daemon.is_up()
    daemon.start()
    assert daemon.ask("status")["daemon_id"] != first


def test_the_socket_is_for_its_user_only_and_goes_with_the_daemon(daemon: DaemonProcess) -> None:
    assert daemon.socket.stat().st_mode & 0o777 == 0o600
    daemon.ask("stop")
    assert daemon.process.wait(10) == 0
    assert not daemon.socket.exists()


def test_two_daemons_never_share_a_database(make_daemon) -> None:
    first = make_daemon()
    second = make_daemon(state_dir=str(first.folder / "socket.state"))
    first.start()
    process = second.launch()
    assert process.wait(15) == 1
    assert "locked" in second.output()
    assert not second.socket.exists()


def test_a_state_folder_that_cannot_be_written_stops_a_service_but_not_what_a_refinement_started(make_daemon) -> None:
    daemon = make_daemon(state_dir="/proc/nowhere")
    process = daemon.launch()
    assert process.wait(15) == 1
    assert "/proc/nowhere" in daemon.output()
    assert "Traceback" not in daemon.output()
    daemon.start("--autospawned")
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]
    assert daemon.ask("status")["state_dir"] == f"{daemon.socket}.state"
    # The next daemon would not find a job that is kept there.
    spec = {"schema": "cryobridge/job/1", "kind": "check", "inputs": {}, "output": str(daemon.folder / "out")}
    refused = daemon.ask("submit", spec=spec)
    assert (refused["type"], refused["code"]) == ("error", "rejected")
    assert "/proc/nowhere" in refused["text"]
    assert daemon.ask("status")["health"]["degraded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_the_calls_under_way_and_takes_no_new_ones(
    daemon: DaemonProcess, number: signal.Signals
) -> None:
    daemon.ready_worker()
    daemon.fake(correct_s=3.0)
    hooks = call_both(daemon)
    wait_for(lambda: any(one["halves"].get("1") == "correcting" for one in daemon.ask("ps")["processes"]))
    worker = psutil.Process(daemon.worker_pid())
    daemon.signal(number)
    # The signal is on its way; who comes after it has been heard is late.
    wait_for(lambda: daemon.ask("status")["state"] == "draining")
    late = TestHook(daemon, [1], 2)
    late.start()
    late.join(10)
    assert late.lost == "draining"
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    assert daemon.process.wait(10) == 0
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_calls_that_take_longer_than_the_drain_get_their_standard_map(make_daemon) -> None:
    daemon = make_daemon(deadlines={"drain_s": 0.5}).start()
    daemon.fake(correct_s=60)
    hooks = call_both(daemon)
    wait_for(lambda: any(one["halves"].get("1") == "correcting" for one in daemon.ask("ps")["processes"]))
    daemon.signal(signal.SIGTERM)
    assert [hook.ended() for hook in hooks] == [("answer", "cancelled")] * 2
    assert daemon.process.wait(15) == 0


def test_a_second_signal_ends_it_at_once_with_an_answer_to_everyone(daemon: DaemonProcess) -> None:
    daemon.fake(correct_s=60)
    hooks = call_both(daemon)
    wait_for(lambda: any(one["halves"].get("1") == "correcting" for one in daemon.ask("ps")["processes"]))
    daemon.signal(signal.SIGTERM)
    time.sleep(0.1)
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert [hook.ended() for hook in hooks] == [("answer", "cancelled")] * 2
    assert daemon.process.wait(10) == 0
    assert time.monotonic() - began < 4


def test_an_autospawned_daemon_leaves_when_nobody_needs_it_and_not_before(make_daemon) -> None:
    daemon = make_daemon(idle_exit_s=1.0).start("--autospawned")
    daemon.fake(correct_s=2.0)
    hooks = call_both(daemon)
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    assert daemon.process.poll() is None
    assert daemon.process.wait(10) == 0
    assert "idle, leaving" in (daemon.folder / "socket.state" / "daemon.log").read_text()
    assert daemon.output() == ""


def test_an_autospawned_daemon_stays_while_the_refinement_that_called_lives(make_daemon) -> None:
    daemon = make_daemon(idle_exit_s=0.5)
    # A process called relion_refine_mpi whose child talks to the daemon, as RELION's hooks do.
    program = daemon.folder / "relion_refine_mpi"
    program.symlink_to(os.path.realpath(sys.executable))
    script = (
        "import subprocess, sys, time\n"
        "subprocess.run([sys.argv[1], sys.argv[2], sys.argv[3]], check=True)\n"
        "print('called', flush=True)\n"
        "time.sleep(3)\n"
    )
    child = daemon.folder / "call.py"
    child.write_text(
        "import sys, time\n"
        f"sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from pathlib import Path\n"
        "from support.daemon_process import DaemonProcess, TestHook\n"
        "daemon = DaemonProcess.__new__(DaemonProcess)\n"
        "daemon.folder = Path(sys.argv[1]); daemon.socket = daemon.folder / 'socket'\n"
        "print('loaded', flush=True)\n"
        "while not daemon.is_up(): time.sleep(0.01)\n"
        "hook = TestHook(daemon, [0]); hook.start()\n"
        "assert hook.ended()[0] == 'answer'\n"
    )
    relion = subprocess.Popen(
        [str(program), "-c", script, sys.executable, str(child), str(daemon.folder)], stdout=subprocess.PIPE, text=True
    )
    # Only when it calls at once: a daemon that nobody calls leaves.
    assert relion.stdout.readline() == "loaded\n"
    daemon.start("--autospawned")
    assert relion.stdout.readline() == "called\n"
    assert daemon.ask("status")["sessions"][0]["pid"] == relion.pid
    time.sleep(1.5)
    assert daemon.process.poll() is None
    relion.wait(10)
    relion.stdout.close()
    assert daemon.process.wait(25) == 0


def test_a_client_that_talks_nonsense_or_floods_loses_only_its_own_connection(daemon: DaemonProcess) -> None:
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\0\0\0\2{}", b"\0\0\0\17" + b'{"type":"call"}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(str(daemon.socket))
            client.sendall(nonsense)
            received = client.recv(1000)
            assert received == b"" or b"rejected" in received
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]


def test_a_client_of_another_protocol_is_told_which_one_is_spoken(daemon: DaemonProcess) -> None:
    channel = daemon.connect("relion-hook", protocol=99)
    assert channel.receive(5).message["protocol"] == 1
    assert channel.receive(5).message["type"] == "error"
    with pytest.raises(ClosedError):
        channel.receive(5)
    channel.close()


def test_a_client_that_does_not_read_never_holds_up_others(daemon: DaemonProcess) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.settimeout(0.5)
        deaf.connect(str(daemon.socket))
        channel = Channel(deaf)
        channel.send({"type": "hello", "protocol": 1, "client": "cli", "version": "x", "pid": 1})
        deaf.settimeout(0.5)
        sent = 0
        try:
            for _ in range(20_000):
                channel.send({"type": "status"})
                deaf.settimeout(0.5)
                sent += 1
        except (TimeoutError, ClosedError):
            pass
        assert sent > 10
        began = time.monotonic()
        assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]
        assert time.monotonic() - began < 10


def test_when_descriptors_run_out_calls_fail_cleanly_and_later_ones_succeed(daemon: DaemonProcess) -> None:
    daemon.ready_worker()
    process = psutil.Process(daemon.process.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 6, hard))
    hooks = [TestHook(daemon, [1, 2], iteration) for iteration in (1, 2)]
    for hook in hooks:
        hook.start()
    for hook in hooks:
        hook.join(5)
    process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    for hook in hooks:
        hook.join(20)
        assert hook.lost or hook.ends[0]["type"] in ("failed", "answer", "commit")
    assert [hook.ended()[0] for hook in call_both(daemon, 7)] == ["commit", "commit"]


def test_a_removed_socket_file_is_noticed(daemon: DaemonProcess) -> None:
    channel = daemon.connect()
    channel.receive(5)
    daemon.socket.unlink()
    channel.send({"type": "status"})
    health = channel.receive(5).message["health"]
    channel.close()
    assert not health["ready"]
    assert "socket" in health["problems"][0]


@pytest.mark.parametrize(
    ("client", "frame", "code", "text"),
    [
        ("relion-hook", {"type": "status"}, "rejected", "a hook does not send 'status'"),
        ("relion-hook", {"type": "verified", "half": True, "ticket": "t"}, "input_invalid", "verified: 'half' must be"),
        ("relion-hook", {"type": "bye", "used": [1]}, "input_invalid", "bye: 'used' must hold texts"),
        ("cli", {"type": "call"}, "rejected", "there is no request 'call'"),
        ("cli", {"type": "jobs", "limit": "all"}, "input_invalid", "jobs: 'limit' must be a number"),
    ],
)
def test_a_frame_that_is_not_the_peers_to_send_is_refused_with_a_sentence(
    daemon: DaemonProcess, client: str, frame: dict, code: str, text: str
) -> None:
    channel = daemon.connect(client)
    assert channel.receive(5).message["state"] == "ready"
    channel.send(frame)
    reply = channel.receive(5).message
    channel.close()
    assert (reply["type"], reply["code"]) == ("error", code)
    assert text in reply["text"]

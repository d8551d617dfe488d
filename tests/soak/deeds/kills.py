"""Ends, stops and continues daemon, workers, hooks and commands at random instants."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time

import psutil

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.requests import AskStatus, StopDaemon

from .. import bounds
from ..stage import CLI, DEADLINES, Stage, lives
from .deed import Deed

NOTICED_S = 20.0
"""From the end of a worker's time until it is gone, on busy cores."""


def kill_daemon(stage: Stage, dice: random.Random) -> str:
    """-9 or -TERM; the stage or a hook starts the next one."""
    number = dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
    with stage.history.span("daemon"):
        pid = stage.signal_daemon(number)
        gone = stage.until(lambda: stage.daemon_pid() not in (None, pid), bounds.RESTART_S)
    return f"{number.name} {pid}" + ("" if gone else ", no other came")


def kill_daemon_twice(stage: Stage, dice: random.Random) -> str:
    """The next one is killed while it starts."""
    with stage.history.span("daemon"):
        first = stage.signal_daemon(signal.SIGKILL)
        stage.until(lambda: stage.daemon_pid() not in (None, first), bounds.RESTART_S, every_s=0.01)
        time.sleep(dice.uniform(0, 0.5))
        second = stage.signal_daemon(signal.SIGKILL)
        stage.until(lambda: stage.daemon_pid() not in (None, second), bounds.RESTART_S)
    return f"{first}, then {second}"


def stop_daemon_by_command(stage: Stage, dice: random.Random) -> str:
    """What an operator does: calls are finished, jobs go on with the next daemon."""
    with stage.history.span("daemon"):
        pid = None
        try:
            with stage.client() as client:
                # By its greeting: one that is held at this moment by another deed cannot be asked at its socket.
                pid = client.welcome.pid
                if pid is not None:
                    stage.wanted_gone.add(pid)
                client.request(StopDaemon())
        except (CryobridgeError, OSError) as error:
            return f"not stopped: {error}"
        limit_s = DEADLINES["drain_s"] + bounds.RESTART_S
        gone = stage.until(lambda: stage.daemon_pid() not in (None, pid), limit_s)
    stage.history.check("health is true", gone, f"daemon {pid} was told to stop and is there after {limit_s:.0f} s")
    return f"{pid}"


def hold_daemon(stage: Stage, dice: random.Random) -> str:
    """-STOP, and -CONT after a while that may be longer than the hooks' patience."""
    held_s = dice.choice((0.5, 3.0, 18.0))
    with stage.history.span("daemon"):
        pid = stage.signal_daemon(signal.SIGSTOP)
        if pid is None:
            return "no daemon"
        time.sleep(held_s)
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).resume()
    return f"{pid} for {held_s:g} s"


def kill_worker(stage: Stage, dice: random.Random) -> str:
    """-9 or -TERM."""
    number = dice.choice((signal.SIGKILL, signal.SIGTERM))
    for worker in stage.workers():
        with contextlib.suppress(psutil.Error):
            worker.send_signal(number)
            return f"{number.name} {worker.pid}"
    return "no worker"


def hold_worker(stage: Stage, dice: random.Random) -> str:
    """-STOP: for a while, or until the daemon has noticed and replaced it.

    Only one that is ready: while it starts, a worker says nothing anyway, and has minutes for it.
    """
    ready = _ready_workers(stage)
    workers = [worker for worker in stage.workers() if worker.pid in ready]
    if not workers:
        return "no worker that is ready"
    worker, daemon = workers[0], stage.daemon_pid()
    with contextlib.suppress(psutil.Error):
        worker.suspend()
    if dice.random() < 0.4:
        time.sleep(1.5)
        with contextlib.suppress(psutil.Error):
            worker.resume()
        return f"{worker.pid} for 1.5 s"
    limit_s = DEADLINES["silence_s"] + NOTICED_S
    stage.until(lambda: not lives(worker.pid) or stage.daemon_pid() != daemon, limit_s)
    if stage.daemon_pid() == daemon:
        text = f"worker {worker.pid} was stopped for {limit_s:g} s and not replaced; the daemon says: {problems(stage)}"
        stage.history.check("health is true", not lives(worker.pid), text)
    with contextlib.suppress(psutil.Error):
        worker.resume()
    return f"{worker.pid} until it was replaced"


def kill_hook(stage: Stage, dice: random.Random) -> str:
    """-9 or -TERM; RELION is then continued."""
    hooks = stage.services["refining"].running()
    if not hooks:
        return "no hook"
    hook, number = dice.choice(hooks), dice.choice((signal.SIGKILL, signal.SIGTERM))
    return f"{number.name} {hook.name} half {hook.call.half}" if hook.send(number) else "it was gone"


def hold_hook(stage: Stage, dice: random.Random) -> str:
    """-STOP and -CONT: its partner may give up meanwhile, and both must still be given maps of one kind."""
    hooks = stage.services["refining"].running()
    if not hooks:
        return "no hook"
    hook, held_s = dice.choice(hooks), dice.choice((0.3, 2.0, 8.0, 20.0))
    hook.held_s += held_s
    if not hook.send(signal.SIGSTOP):
        return "it was gone"
    time.sleep(held_s)
    hook.send(signal.SIGCONT)
    return f"{hook.name} half {hook.call.half} for {held_s:g} s"


def kill_command(stage: Stage, dice: random.Random) -> str:
    """A `cryobridge submit` is killed at some instant; its user makes the same request again."""
    submitting = stage.services["submitting"]
    output = submitting.output()
    request = f"command-{dice.randrange(2**40)}"
    path = stage.folder / f"{request}.json"
    path.write_text(json.dumps(submitting.spec("lowpass", output, request_id=request)))
    process = subprocess.Popen(
        [*CLI, "submit", str(path)], env=stage.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(dice.uniform(0.2, 1.5))
    process.send_signal(dice.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
    process.wait(30)
    path.unlink()
    return f"submit, then {submitting.submit('lowpass', output, request=request)}"


def _ready_workers(stage: Stage) -> set[int]:
    try:
        with stage.client() as client:
            return {worker["pid"] for worker in client.request(AskStatus())["workers"] if worker["state"] == "ready"}
    except (CryobridgeError, OSError):
        return set()


def degraded(stage: Stage) -> bool:
    """Whether the daemon says that something is wrong; false where it says nothing."""
    return bool(problems(stage))


def problems(stage: Stage) -> list[str]:
    """What the daemon says is wrong; nothing where it says nothing."""
    try:
        with stage.client() as client:
            return [str(text) for text in client.request(AskStatus())["health"]["problems"]]
    except (CryobridgeError, OSError):
        return []


DEEDS = (
    Deed("kill the daemon", kill_daemon, 3, deadly=True),
    Deed("kill the daemon as it starts", kill_daemon_twice, 1, deadly=True),
    Deed("stop the daemon by command", stop_daemon_by_command, 1, deadly=True),
    Deed("hold the daemon", hold_daemon, 1, deadly=True),
    Deed("kill a worker", kill_worker, 2, deadly=True),
    Deed("hold a worker", hold_worker, 1, deadly=True),
    Deed("kill a hook", kill_hook, 3),
    Deed("hold a hook", hold_hook, 2),
    Deed("kill a command", kill_command, 2),
)

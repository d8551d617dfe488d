"""One daemon under load: 200 hooks at once and 1,000 queued jobs, with workers that need no torch and hardly any time.

    python bench/load.py [--calls 200] [--jobs 1000] [--write]

Workers are quick, so what is measured is the daemon: how long until a submitted job is acknowledged, a hook has both
its answers, `status` is answered; and what it holds in memory and descriptors before and after. The hooks are threads
here that do as the protocol says, a connection and twelve files an iteration, three rounds of them, each of other
refinements, while the jobs run.

As root the daemon runs as another user, and two more users have daemons of their own beside it: one with many jobs,
one with a single one that comes later. How many of the other's begin before it is what fair turns are judged by.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.daemon_process import DaemonProcess, TestHook, wait_for  # noqa: E402
from support.other_users import OWNER, SERVICE, STRANGER, ServiceDaemon, acting_as  # noqa: E402

BEGIN, END = "<!-- load: begin -->", "<!-- load: end -->"
PAGE = REPOSITORY / "docs" / "BENCHMARKS.md"
ROUNDS = 3
SUBMITTERS = 4
JOB_S = 0.02
STATUS_EVERY_S = 0.05
MANY = 60
"""Jobs of the user who has many, where turns are measured: each lends the device anew."""
ENDS_S = 600.0
Figures = dict[str, Any]


def spread(values: Sequence[float], scale: float = 1000.0) -> Figures:
    """Count, median, 99th percentile and largest, in ms."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99)]
    return {
        "n": len(ordered),
        "p50": round(at[0] * scale, 1),
        "p99": round(at[1] * scale, 1),
        "max": round(ordered[-1] * scale, 1),
    }


def job(folder: Path, number: int) -> dict[str, Any]:
    return {
        "schema": "cryobridge/job/1",
        "kind": "map.fsc3d",
        "inputs": {"half1": str(folder / "a.mrc"), "half2": str(folder / "b.mrc")},
        "output": str(folder / f"out{number}"),
    }


class Load:
    """One daemon, and everything that is asked of it."""

    def __init__(self, calls: int, jobs: int) -> None:
        self.calls, self.jobs = calls, jobs
        limits = {"calls": 2 * calls, "jobs": 2 * jobs, "connections": 8 * calls}
        folder = Path(tempfile.mkdtemp(prefix="cb-load-"))
        self.as_root = os.geteuid() == 0
        self.daemon = (ServiceDaemon if self.as_root else DaemonProcess)(folder, limits=limits)
        self.daemon.fake(job_s=JOB_S)
        self.acknowledged: list[float] = []
        self.statuses: list[float] = []
        self.answers: list[float] = []
        self.lost = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start the daemon, and end it with all that it wrote."""
        try:
            self.daemon.start()
            self.daemon.ready_worker()
            yield
        finally:
            self.daemon.end()
            shutil.rmtree(self.daemon.folder, ignore_errors=True)

    def held(self) -> Figures:
        """Memory in MB and descriptors of the daemon, when it has nothing to do."""
        process = psutil.Process(self.daemon.process.pid)
        # Each is kept for `keep_alive_s` after its last call; nobody calls again here.
        for one in self.daemon.ask("status")["sessions"]:
            self.daemon.ask("release", session=one["session"].partition(":")[2] or one["session"])
        wait_for(lambda: self.daemon.ask("status")["clients"] == 1, 60)
        return {"MB": round(process.memory_info().rss / 1e6, 1), "descriptors": process.num_fds() - 1}

    def warm_up(self) -> None:
        """Do everything once, so that what is held later is not what a first time costs."""
        self._submit(self._channel(), -1)
        self._call_round("warm", 2)
        wait_for(lambda: self._open() == 0, 60)
        for times in (self.acknowledged, self.answers, self.statuses):
            times.clear()

    def run(self) -> Figures:
        """All of it, and the figures."""
        quiet = threading.Event()
        # All by this thread: the process acts as one user at a time.
        channels = [self._channel() for _ in range(SUBMITTERS)]
        asking = threading.Thread(target=self._ask_status, args=(quiet, self._channel()))
        asking.start()
        began = time.monotonic()
        share = self.jobs // SUBMITTERS
        rest = threading.Thread(target=self._submit_all, args=(channels, share, range(share)))
        rest.start()
        for number in range(ROUNDS):
            self._call_round(f"{began}-{number}", self.calls)
        rest.join()
        wait_for(lambda: self._open() == 0, ENDS_S)
        seconds = time.monotonic() - began
        quiet.set()
        asking.join()
        for channel in channels:
            channel.close()
        return {
            "acknowledged": spread(self.acknowledged),
            "answered": spread(self.answers),
            "status": spread(self.statuses),
            "hooks that got no answer": self.lost,
            "seconds": round(seconds, 1),
        }

    # ---- inside

    def _channel(self) -> Any:
        """A connection of the daemon's own user."""
        with acting_as(SERVICE) if self.as_root else contextlib.nullcontext():
            channel = self.daemon.connect()
        channel.receive(30)
        return channel

    def _submit(self, channel: Any, number: int) -> str:
        began = time.monotonic()
        channel.send({"type": "submit", "spec": job(self.daemon.folder, number)})
        reply = channel.receive(60).message
        self.acknowledged.append(time.monotonic() - began)
        if reply["type"] != "reply":
            raise SystemExit(f"a job was not taken: {reply['text']}")
        return str(reply["job_id"])

    def _submit_all(self, channels: Sequence[Any], share: int, numbers: range) -> None:
        def one(index: int) -> None:
            for number in numbers:
                self._submit(channels[index], index * share + number)

        in_threads(one, range(len(channels)))

    def _call_round(self, name: str, count: int) -> None:
        hooks = [
            TestHook(self.daemon, [half], silence_s=120.0, root=f"{name}-{number}")
            for number in range(count // 2)
            for half in (1, 2)
        ]
        for hook in hooks:
            hook.start()
        for hook in hooks:
            hook.join(ENDS_S)
            self.lost += not hook.ends or hook.ends[0]["type"] != "commit"
            self.answers.append(hook.seconds)
            for file in hook.files.values():
                file.close()

    def _ask_status(self, quiet: threading.Event, channel: Any) -> None:
        while not quiet.wait(STATUS_EVERY_S):
            began = time.monotonic()
            channel.send({"type": "status"})
            channel.receive(60)
            self.statuses.append(time.monotonic() - began)
        channel.close()

    def _open(self) -> int:
        queue = self.daemon.ask("status")["queue"]
        return int(queue["queued"]) + int(queue["running"])


def measure_turns() -> Figures:
    """How long a user with one job waits who comes behind one with many, each with a daemon of his own."""
    folders = [Path(tempfile.mkdtemp(prefix="cb-load-")) for _ in range(3)]
    shared = ServiceDaemon(folders[0])
    asked = {"jobs_only": True, "landlord": str(shared.socket)}
    owns = [ServiceDaemon(folder, uid, **asked) for folder, uid in zip(folders[1:], (OWNER, STRANGER), strict=True)]
    try:
        for daemon in (shared, *owns):
            daemon.fake(job_s=JOB_S)
            daemon.start()
        shared.ready_worker()
        many = [submitted(owns[0], number) for number in range(MANY)]
        wait_for(lambda: standing(owns[0], many[MANY // 4])["state"] == "succeeded", ENDS_S)
        lone = submitted(owns[1], 0)
        wait_for(lambda: standing(owns[1], lone)["state"] == "succeeded", ENDS_S)
        wait_for(lambda: standing(owns[0], many[-1])["state"] == "succeeded", ENDS_S)
        mine = standing(owns[1], lone)
        others = [standing(owns[0], one) for one in many]
        since, until = mine["created_at"], mine["started_at"]
        return {
            "rank": sum(since < one["started_at"] < until for one in others),
            "waited_s": round(until - since, 2),
            "ahead": sum(one["started_at"] > since for one in others),
        }
    finally:
        for daemon in (*owns, shared):
            daemon.end()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def submitted(daemon: ServiceDaemon, number: int) -> str:
    return str(daemon.ask_as(daemon.uid, "submit", spec=job(daemon.folder, number))["job_id"])


def standing(daemon: ServiceDaemon, job_id: str) -> Figures:
    return daemon.ask_as(daemon.uid, "wait", job_id=job_id, timeout_s=0)


def in_threads(act: Callable[[int], None], numbers: range) -> None:
    threads = [threading.Thread(target=act, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(calls: int, jobs: int) -> Figures:
    load = Load(calls, jobs)
    with load.running():
        load.warm_up()
        before = load.held()
        figures = load.run()
        once = load.held()
        # What grows with every load is seen in a second one.
        load.run()
        twice = load.held()
        # Last of all: an answer that lists every job takes more memory than anything before.
        return {
            **figures,
            **(measure_turns() if load.as_root else {}),
            "before": before,
            "after": once,
            "after twice": twice,
            "calls": calls,
            "jobs": jobs,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        }


def table(found: Figures) -> str:
    """The figures as Markdown."""
    rows = [
        ("a job acknowledged, ms", found["acknowledged"]),
        ("a hook's call, from connecting to its last answer, ms", found["answered"]),
        ("`status` answered, ms", found["status"]),
    ]
    lines = [
        f"{found['calls']} hooks at once, {ROUNDS} times, beside {found['jobs']} jobs handed over by {SUBMITTERS} "
        f"connections; {found['seconds']} s in all. {found['cores']} shared {platform.machine()} cores, load average "
        f"{found['load']}.",
        "",
        "| | n | p50 | p99 | largest |",
        "|---|---:|---:|---:|---:|",
        *(f"| {name} | {one['n']} | {one['p50']} | {one['p99']} | {one['max']} |" for name, one in rows),
        "",
        f"Hooks that got no corrected map: {found['hooks that got no answer']}. The daemon held "
        f"{held(found['before'])} before, {held(found['after'])} after, and {held(found['after twice'])} after all of "
        "it was done once more, its refinements released each time.",
    ]
    if "rank" in found:
        lines[-1] += (
            f" With daemons of their own, a user with one job came when {found['ahead']} of another's {MANY} waited: "
            f"{found['rank']} of them were begun before his, which waited {found['waited_s']} s."
        )
    return "\n".join(lines)


def held(one: Figures) -> str:
    return f"{one['MB']} MB and {one['descriptors']} descriptors"


def write(text: str) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="the table into docs/BENCHMARKS.md")
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found = measure(chosen.calls, chosen.jobs)
    print(json.dumps(found) if chosen.json else table(found))
    if chosen.write:
        write(table(found))


if __name__ == "__main__":
    main()

"""A private SLURM on this machine: munge, controller and two nodes of its own, with neither systemd nor a network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=300
KillWait=2
MinJobAge=300
PropagateResourceLimits=NONE
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=16 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=16 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10
"""
GRES = """
NodeName=n1 Name=gpu File=/dev/null
NodeName=n1 Name=gpu File=/dev/zero
NodeName=n2 Name=gpu File=/dev/null
NodeName=n2 Name=gpu File=/dev/zero
"""


class NoSlurmError(Exception):
    """Why there is none here."""


class SlurmCluster:
    """Started when made; `environment` is what SLURM's programs and the daemon need to find it."""

    def __init__(self, folder: Path) -> None:
        missing = [
            program for program in PROGRAMS if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None
        ]
        if missing:
            raise NoSlurmError(
                f"not installed: {', '.join(missing)} (Debian: apt install slurmctld slurmd slurm-client munge)"
            )
        if os.getuid() != 0:
            raise NoSlurmError("slurmd starts jobs as root only")
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._left_behind: list[psutil.Process] = []
        for name in ("state", *(f"spool/{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(socket.socket()) for _ in range(3)]
            for listener in listeners:
                listener.bind(("127.0.0.1", 0))
            ports = [listener.getsockname()[1] for listener in listeners]
        conf = CONF.format(folder=folder, host=socket.gethostname().partition(".")[0], ports=ports)
        (folder / "slurm.conf").write_text(conf)
        (folder / "gres.conf").write_text(GRES)
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        places = {"socket": "munge.sock", "key-file": key.name, "log-file": "munge.log", "pid-file": "munge.pid"}
        places["seed-file"] = "munge.seed"
        options = [f"--{option}={self.folder / name}" for option, name in places.items()]
        self._launch("munged", "--foreground", "--force", *options)
        self._until(lambda: (self.folder / "munge.sock").exists(), "munged")
        self._launch("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
        for node in NODES:
            self.start_node(node)
        self._until(
            lambda: set(self.ask("sinfo", "-h", "-N", "-o", "%N=%T").split()) == {"n1=idle", "n2=idle"}, "nodes"
        )

    def start_node(self, node: str) -> None:
        self._launch(f"slurmd {node}", "-D", "-N", node, "-f", self.environment["SLURM_CONF"])

    def kill_node(self, node: str, *, with_its_jobs: bool) -> None:
        """The node's daemon, and the jobs on it unless only the network has failed."""
        process = self._processes.pop(f"slurmd {node}")
        process.kill()
        process.wait()
        jobs = self.processes_on(node)
        # Those that look after the jobs show nothing of where they belong, but are the parents of what does.
        above = {parent for job in jobs if (parent := job.parent()) is not None and parent.name() == "slurmstepd"}
        self._left_behind += above
        if with_its_jobs:
            # First those, which would say that their jobs have ended.
            for one in (*above, *jobs):
                one.kill()

    def processes_on(self, node: str) -> list[psutil.Process]:
        """Processes of jobs on a node."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                variables = process.environ()
                is_ours = variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if is_ours and variables.get("SLURMD_NODENAME") == node:
                    found.append(process)
        return found

    def ask(self, *words: str) -> str:
        """What one of SLURM's programs prints; empty where it fails."""
        return subprocess.run(words, env={**os.environ, **self.environment}, capture_output=True, text=True).stdout

    def jobs(self) -> list[tuple[int, str, str]]:
        """Number, name and state of every job that there has been."""
        lines = self.ask("squeue", "-h", "--states=all", "--format=%A %j %T").splitlines()
        return sorted((int(number), name, state) for number, name, state in map(str.split, lines))

    def end(self) -> None:
        # A node's daemon that ends leaves its jobs to run.
        for number, _, state in self.jobs():
            if state in ("PENDING", "RUNNING"):
                self.ask("scancel", str(number))
        self._wait(lambda: not {"RUNNING", "COMPLETING"} & {state for _, _, state in self.jobs()}, 10.0)
        for left in (*self._left_behind, *(job for node in NODES for job in self.processes_on(node))):
            with contextlib.suppress(psutil.Error):
                left.kill()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(number)
            for process in self._processes.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)

    def _wait(self, is_so: Callable[[], bool], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not is_so() and time.monotonic() < end:
            time.sleep(0.1)

    def _launch(self, name: str, *words: str) -> None:
        program = shutil.which(name.split()[0], path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        log = (self.folder / f"{name.replace(' ', '-')}.log").open("ab")
        with log:
            self._processes[name] = subprocess.Popen(
                [program, *words],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _until(self, is_so: Callable[[], bool], what: str, limit_s: float = 20.0) -> None:
        end = time.monotonic() + limit_s
        while not is_so():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            if dead or time.monotonic() > end:
                log = self.folder / f"{(dead or ['slurmctld'])[0].replace(' ', '-')}.log"
                words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing said"]
                raise NoSlurmError(f"{what} cannot be started here: {words[0]}")
            time.sleep(0.05)

"""Fixtures that every kind of test shares: shared data, a captured iteration, RELION, a private daemon's home."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import struct
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# One test is one thread: many small FFTs on few cores only get in each other's way. Child processes inherit this.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

REPOSITORY = Path(__file__).resolve().parents[1]
RELION_PROGRAMS = ("relion_refine_mpi", "relion_external_reconstruct", "mpirun")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, one process runs a file, and all files of real refinements: ranks that wait keep cores busy."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope: str = super()._split_scope(nodeid)
            return "RELION" if Path(scope).name.startswith("test_relion_") else scope

    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now, torch above all, out of later collections of garbage: some tests ask for one."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none, saying so."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting and not _has_cuda():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


def _has_cuda() -> bool:
    if not Path("/dev/nvidiactl").exists():
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data: `$CRYOBRIDGE_SHARED`, else `../shared` beside the checkout."""
    folder = Path(os.environ.get("CRYOBRIDGE_SHARED") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside the checkout; set CRYOBRIDGE_SHARED to it")
    return folder


@pytest.fixture
def captured_iteration(shared: Path, tmp_path: Path) -> Path:
    """A private copy of iteration 10 of a real RELION run, both halves: the project folder RELION ran in.

    The call's files are `Refine3D/job001/run_it010_half{1,2}_class001_external_reconstruct.star` and so on; what
    the stock program made of them ends in `_stock.mrc`.
    """
    archive = shared / "relion-fixture" / "it010_both_halves.tar.gz"
    if not archive.is_file():
        pytest.skip("relion-fixture/it010_both_halves.tar.gz is not in the shared data folder")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "captured", filter="data")
    return tmp_path / "captured" / "it010"


@pytest.fixture(scope="session")
def relion() -> dict[str, Path]:
    """RELION's programs by name; skips with a reason where one of them is missing."""
    found = {name: shutil.which(name) for name in RELION_PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian, Ubuntu: apt install relion openmpi-bin)")
    return {name: Path(path) for name, path in found.items() if path is not None}


@dataclass
class PrivateRuntime:
    """A home for one test's daemon: nothing of it is shared with the user's own."""

    folder: Path
    socket: Path
    environment: dict[str, str] = field(default_factory=dict)

    def daemon_pid(self) -> int | None:
        """The process behind the socket as the kernel knows it, or None when nobody listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect(str(self.socket))
            except OSError:
                return None
            raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[0])

    def end_daemon(self, patience_s: float = 10.0) -> None:
        """Ask the daemon to stop, then make it."""
        pid = self.daemon_pid()
        if pid is None or pid == os.getpid():
            return
        children = _descendants(pid)
        for sent, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)
                os.kill(pid, signal.SIGCONT)
            if _wait_gone(pid, wait_s):
                break
        for child in children:
            _wait_gone(child, 2.0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait_gone(pid: int, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def private_runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateRuntime]:
    """Fresh runtime, state, cache and configuration folders and socket; the daemon that used them is ended.

    The variables are set for this process too, so commands started by the test inherit them. The folder is short,
    because a socket's path may have 107 bytes.
    """
    folder = Path(tempfile.mkdtemp(prefix="cb-"))
    environment = {"CRYOBRIDGE_SOCKET": str(folder / "run" / "cryobridge" / "socket")}
    for name in ("runtime", "state", "cache", "config", "data"):
        place = folder / {"runtime": "run"}.get(name, name)
        place.mkdir(mode=0o700)
        environment[f"XDG_{name.upper()}_{'DIR' if name == 'runtime' else 'HOME'}"] = str(place)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in list(os.environ):
        if name.startswith(("ISONET_", "CRYOBRIDGE_")) and name not in (*environment, "CRYOBRIDGE_SHARED"):
            monkeypatch.delenv(name)
    runtime = PrivateRuntime(folder, Path(environment["CRYOBRIDGE_SOCKET"]), environment)
    yield runtime
    runtime.end_daemon()
    shutil.rmtree(folder, ignore_errors=True)

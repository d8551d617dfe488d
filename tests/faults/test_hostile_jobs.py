"""A real worker given jobs of hostile paths and files: each is refused in one sentence, in bounded memory and time.

One worker for all, as in the service: what one job leaves behind would be seen in the next ones, and in its memory.
Single readers have their own tests (`docs/security.md` has the list); here it is the whole way of a job.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.worker import RealWorker

from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.faults, pytest.mark.slow]

ENDS_S = 60.0
"""On a busy machine; each takes a fraction of a second of the processor."""
MOST_CPU_S = 5.0
MOST_MB = 64.0
"""That all hostile jobs together may add to what the worker holds after a good one, and any to its peak."""
N, VOXEL_A = 16, 2.0
HEADER_BYTES = 1024


class BusyWorker:
    """A worker that was warmed up by a good job, and what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        dice = np.random.default_rng(1)
        for name in ("half1", "half2"):
            mrc.write_atomically(folder / f"{name}.mrc", dice.standard_normal((N,) * 3).astype(np.float32), VOXEL_A)
        self.worker = RealWorker()
        self.worker.reply("ready")
        self.process = psutil.Process(self.worker.process.pid)
        self._count = 0
        for _ in range(2):
            assert self.ends(self.good())["type"] == "done"
        self.rss_mb = self.process.memory_info().rss / 1e6

    def good(self, **changed) -> dict:
        self._count += 1
        spec = {
            "schema": "cryobridge/job/1",
            "kind": "map.lowpass",
            "inputs": {"map": str(self.folder / "half1.mrc")},
            "output": str(self.folder / f"good{self._count}"),
            "options": {"resolution_A": 8.0},
        }
        return {**spec, **changed}

    def ends(self, spec: dict) -> dict:
        self._count += 1
        task = f"job{self._count}"
        self.worker.channel.send({"type": "job", "task": task, "job_id": task, "spec": spec})
        return self.worker.reply(("done", "failed"), ENDS_S).message

    def refuses(self, spec: dict) -> str:
        """The sentence; fails if the job is done, costs much, or the next one suffers."""
        before = sum(self.process.cpu_times()[:2])
        end = self.ends(spec)
        assert end["type"] == "failed", spec
        assert "\n" not in end["text"]
        assert len(end["text"]) < 1000
        assert sum(self.process.cpu_times()[:2]) - before < MOST_CPU_S
        assert self.process.memory_info().rss / 1e6 - self.rss_mb < MOST_MB
        assert self.ends(self.good())["type"] == "done"
        return str(end["text"])


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyWorker]:
    one = BusyWorker(tmp_path_factory.mktemp("hostile"))
    yield one
    peak_mb = int(Path(f"/proc/{one.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
    one.worker.end()
    assert peak_mb - one.rss_mb < MOST_MB


# ---- paths


def _socket(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return str(path)


def _to(target: str) -> Callable[[Path], str]:
    def link(path: Path) -> str:
        path.symlink_to(target)
        return str(path)

    return link


def _fifo(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


INPUTS: dict[str, Callable[[Path], str]] = {
    "fifo": _fifo,
    "link to a fifo": lambda path: _to(_fifo(path.with_suffix(".fifo")))(path),
    "socket": _socket,
    "device": lambda _: "/dev/zero",
    "link to a device": _to("/dev/zero"),
    "terminal": lambda _: "/dev/tty",
    "own input": lambda _: "/dev/stdin",
    "own memory": lambda _: "/proc/self/mem",
    "own descriptor": lambda _: "/proc/self/fd/0",
    "memory of the machine": lambda _: "/proc/kcore",
    "messages of the machine": lambda _: "/proc/kmsg",
    "own environment": lambda _: "/proc/self/environ",
    "circle": lambda path: _to(path.name)(path),
    "nowhere": _to("nowhere"),
    "folder": lambda path: str(path.parent),
    "upwards to nowhere": lambda path: f"{path.parent}/../../../../../../../../../../etc/nothing.mrc",
    "upwards to a device": lambda path: f"{path.parent}/../../../../../../../../../../dev/zero",
}


@pytest.mark.parametrize("what", INPUTS)
def test_an_input_that_is_no_file_is_refused(busy: BusyWorker, tmp_path: Path, what: str) -> None:
    name = INPUTS[what](tmp_path / "input.mrc")
    busy.refuses(busy.good(inputs={"map": name}, output=str(tmp_path / "out")))
    assert not (tmp_path / "out" / "result.json").exists()


OUTPUTS: dict[str, Callable[[Path], str]] = {
    "fifo": _fifo,
    "socket": _socket,
    "device": lambda _: "/dev/null",
    "below a device": lambda _: "/dev/null/out",
    "a process": lambda _: "/proc/self/out",
    "descriptors": lambda _: "/proc/self/fd",
    "kernel": lambda _: "/sys/kernel/out",
    "circle": lambda path: _to(path.name)(path),
    "file": lambda path: str(path.touch() or path),
    "through a file": lambda path: f"{path.touch() or path}/out",
    "link to a file": lambda path: _to(str(path.with_suffix(".x").touch() or path.with_suffix(".x")))(path),
}


@pytest.mark.parametrize("what", OUTPUTS)
def test_an_output_that_can_be_no_folder_is_refused(busy: BusyWorker, tmp_path: Path, what: str) -> None:
    busy.refuses(busy.good(output=OUTPUTS[what](tmp_path / "out")))


# ---- files


def _map(**changed: int) -> bytes:
    """A map whose header says something else than it holds: words of the header by name."""
    places = {"nx": 0, "ny": 4, "nz": 8, "mode": 12, "mx": 28, "my": 32, "mz": 36, "nsymbt": 92}
    header = bytearray(HEADER_BYTES)
    struct.pack_into("<4i", header, 0, N, N, N, 2)
    struct.pack_into("<3i3f", header, 28, N, N, N, 32.0, 32.0, 32.0)
    header[208:216] = b"MAP DA\0\0"
    for name, value in changed.items():
        struct.pack_into("<i", header, places[name], value)
    return bytes(header) + bytes(4 * N**3)


LARGEST = 2**31 - 1
MAPS = {
    "endless header": _map(nsymbt=LARGEST),
    "header that goes back": _map(nsymbt=-1024),
    "negative": _map(nx=-N),
    "all negative": _map(nx=-N, ny=-N),
    "largest": _map(nx=LARGEST, ny=LARGEST, nz=LARGEST),
    "overflows": _map(nx=2**16, ny=2**16, nz=2**16),
    "nothing": _map(nz=0),
    "no mode": _map(mode=99),
}


@pytest.mark.parametrize("what", MAPS)
def test_a_map_whose_header_lies_is_refused(busy: BusyWorker, tmp_path: Path, what: str) -> None:
    (tmp_path / "input.mrc").write_bytes(MAPS[what])
    text = busy.refuses(busy.good(inputs={"map": str(tmp_path / "input.mrc")}, output=str(tmp_path / "out")))
    assert "input.mrc" in text


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (str(self.path), "w")


def _tables() -> dict[str, bytes]:
    head = b"data_particles\n\nloop_\n_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n"
    return {
        "no end of line": head + b"1" * 20_000_000,
        "no end of columns": b"data_particles\n\nloop_\n" + b"_rlnX\n" * 2_000_000,
        "no end of blocks": b"data_a\n\n" * 1_000_000,
        "no numbers": head + b"nan inf -inf\n" * 1000,
        "one angle of 300 digits": head + b"9" * 300 + b" 0 0\n",
        "zeros": bytes(20_000_000),
    }


@pytest.mark.parametrize("what", sorted(_tables()))
def test_a_star_file_without_sense_is_refused(busy: BusyWorker, tmp_path: Path, what: str) -> None:
    (tmp_path / "particles.star").write_bytes(_tables()[what])
    job = busy.good(
        kind="map.sampling",
        inputs={"particles": str(tmp_path / "particles.star")},
        options={"box": 24, "grid": 16, "views": 1000, "seed": 1},
        output=str(tmp_path / "out"),
    )
    busy.refuses(job)


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
@pytest.mark.parametrize("kind", ["map.correct", "particles.parse"])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(
    busy: BusyWorker, tmp_path: Path, suffix: str, kind: str
) -> None:
    hostile = tmp_path / f"input{suffix}"
    hostile.write_bytes(pickle.dumps(Planted(tmp_path / "ran"), 2))
    halves = {name: str(busy.folder / f"{name}.mrc") for name in ("half1", "half2")}
    inputs = {"map.correct": {**halves, "network": str(hostile)}, "particles.parse": {"particles": str(hostile)}}
    busy.refuses(busy.good(kind=kind, inputs=inputs[kind], options={}, output=str(tmp_path / "out")))
    assert not (tmp_path / "ran").exists()
    pickle.loads(hostile.read_bytes()).close()
    assert (tmp_path / "ran").exists(), "or it would show nothing that it was not run"

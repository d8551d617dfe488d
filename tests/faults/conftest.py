"""A job folder as RELION leaves it at a call, and scripted daemons to answer it."""

import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.refinement import FAST, Refinement, simulate

HERE = Path(__file__).parent
HOOK = [sys.executable, "-I", "-m", "cryobridge.wrappers.relion.hook.main"]
BOX = 16


def _load_fake():
    spec = importlib.util.spec_from_file_location("cryobridge_test_fake_daemon", HERE / "fake_daemon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_mrc(path: Path, values: np.ndarray) -> None:
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, *reversed(values.shape), 2)
    header[208:216] = b"MAP DA\0\0"
    path.write_bytes(bytes(header) + values.astype("<f4").tobytes())


class JobFolder:
    """A RELION project with one job that is about to call for iteration `iteration`."""

    def __init__(self, project: Path, root: str = "run", iteration: int = 10, box: int = BOX) -> None:
        self.project = project
        self.folder = project / "Refine3D" / "job001"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.iteration = iteration
        self.box = box
        self.write_optimisers()

    def write_optimisers(self, extra: str = "") -> None:
        for iteration in (0, self.iteration - 1):
            (self.folder / f"{self.root}_it{iteration:03d}_optimiser.star").write_text(
                f"# RELION optimiser; version 3.1.3\n# --o Refine3D/job001/run --auto_refine {extra}\n\n"
                "data_optimiser_general\n\n_rlnSolventMaskName data/mask.mrc\n"
            )
        (self.project / "data").mkdir(exist_ok=True)
        write_mrc(self.project / "data" / "mask.mrc", np.ones((4, 4, 4)))

    def stem(self, half: int) -> str:
        tag = f"_half{half}" if half else ""
        return f"{self.root}_it{self.iteration:03d}{tag}_class001_external_reconstruct"

    def result(self, half: int) -> Path:
        return self.folder / f"{self.stem(half)}.mrc"

    def inputs(self, half: int) -> list[Path]:
        return [self.folder / f"{self.stem(half)}_{part}.mrc" for part in ("data_real", "data_imag", "weight")]

    def add_call(self, half: int) -> str:
        """Write the STAR and sums of a small smooth blob; return the STAR's name as RELION gives it."""
        n, padded = self.box, 2 * self.box
        k = np.fft.fftfreq(padded, 1 / padded)
        z, y, x = np.meshgrid(k, k, np.arange(padded // 2 + 1), indexing="ij")
        radius = np.sqrt(x**2 + y**2 + z**2)
        weight = np.where(radius <= n, 4.0 + half, 0.0)
        data = np.where(radius <= n, np.exp(-((radius / 8) ** 2)) * weight, 0.0)
        for path, values in zip(self.inputs(half), (data, np.zeros_like(data), weight), strict=True):
            write_mrc(path, values)
        base = f"Refine3D/job001/{self.stem(half)}"
        rows = "".join(f"{s} 1.0 {0.9 if s < n // 4 else 0.1}\n" for s in range(n // 2 + 1))
        (self.project / f"{base}.star").write_text(
            "# version 30001\n\ndata_external_reconstruct_general\n\n"
            f"_rlnExtReconsDataReal {base}_data_real.mrc\n_rlnExtReconsDataImag {base}_data_imag.mrc\n"
            f"_rlnExtReconsWeight {base}_weight.mrc\n_rlnExtReconsResult {base}.mrc\n"
            f"_rlnExtReconsResultStarfile {base}_out.star\n_rlnTau2FudgeFactor 1.0\n_rlnPaddingFactor 2.0\n"
            f"_rlnReferenceDimensionality 3\n_rlnOriginalImageSize {n}\n_rlnCurrentImageSize {n}\n\n"
            "data_external_reconstruct_tau2\n\nloop_\n_rlnSpectralIndex #1\n_rlnReferenceTau2 #2\n"
            f"_rlnGoldStandardFsc #3\n{rows}\n"
        )
        return f"{base}.star"

    def leftovers(self) -> list[str]:
        """Hidden or temporary files that no call may leave behind."""
        return sorted(
            str(path.relative_to(self.project))
            for path in self.project.rglob("*")
            if path.is_file() and (path.name.startswith(".") or "cryobridge-" in path.name)
        )


class Hook:
    """A hook running as RELION runs it: from the project folder, output to RELION's log."""

    def __init__(self, job: JobFolder, star: str, environment: dict[str, str], socket: Path | str) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("CRYOBRIDGE_", "ISONET_"))}
        env |= {"CRYOBRIDGE_SOCKET": str(socket), "CRYOBRIDGE_SPAWN": "0", "CRYOBRIDGE_SILENCE_S": "3"} | environment
        self.process = subprocess.Popen(
            [*HOOK, star],
            cwd=job.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, timeout_s: float = 60) -> tuple[int, str]:
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, output


class FakeDaemon:
    """A scripted daemon in its own process."""

    def __init__(self, folder: Path, scenario: dict) -> None:
        folder.mkdir(mode=0o700)
        self.socket = folder / "socket"
        self._log = folder / "log.jsonl"
        (folder / "scenario.json").write_text(json.dumps(scenario))
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(HERE / "fake_daemon.py"), self.socket, folder / "scenario.json", self._log]
        )
        end = time.monotonic() + 30
        while not self.socket.exists():
            assert time.monotonic() < end
            time.sleep(0.01)

    def received(self, kind: str) -> list[dict]:
        entries = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [entry["got"] for entry in entries if entry.get("got", {}).get("type") == kind]

    def await_received(self, kind: str, count: int = 1) -> list[dict]:
        end = time.monotonic() + 10
        while len(found := self.received(kind)) < count:
            assert time.monotonic() < end, f"{kind} never came"
            time.sleep(0.02)
        return found

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def job(tmp_path):
    """A RELION project about to call for iteration 10."""
    return JobFolder(tmp_path / "project")


@pytest.fixture
def make_job():
    """The class itself, for other roots, boxes and places."""
    return JobFolder


@pytest.fixture
def run_hook():
    """Start hooks; any that still run at the end are killed."""
    hooks = []

    def start(job, half, socket="/nonexistent/socket", *, star=None, **environment):
        hook = Hook(job, star or job.add_call(half), environment, socket)
        hooks.append(hook)
        return hook

    yield start
    for hook in hooks:
        if hook.process.poll() is None:
            hook.process.kill()
            hook.process.communicate()


@pytest.fixture
def fake_daemon(tmp_path):
    """Start scripted daemons: fake_daemon({"1": steps, "2": steps}, welcome=...)."""
    daemons = []

    def start(script=None, **scenario):
        daemon = FakeDaemon(tmp_path / f"daemon{len(daemons)}", {"script": script or {}} | scenario)
        daemons.append(daemon)
        return daemon

    yield start
    for daemon in daemons:
        daemon.kill()


@pytest.fixture
def fake_map():
    """The bytes of the map that a scripted daemon makes: fake_map(half, kind)."""
    make = _load_fake().map_bytes
    return lambda half, kind, box=BOX: make(half, box, kind)


@pytest.fixture
def stock_tool():
    """Skip where RELION's own tool is not installed."""
    if shutil.which("relion_external_reconstruct") is None:
        pytest.skip("relion_external_reconstruct is not on PATH")


@pytest.fixture
def stock_map(tmp_path, make_job):
    """The voxels that RELION's own tool makes for a half of the same call."""

    def make(half):
        job = make_job(tmp_path / f"stock{half}")
        star = job.add_call(half)
        subprocess.run(["relion_external_reconstruct", star], cwd=job.project, check=True, capture_output=True)
        return job.result(half).read_bytes()[1024:]

    return make


@pytest.fixture(scope="session")
def simulated():
    return simulate()


@pytest.fixture(scope="session")
def stock_maps(simulated, tmp_path_factory, relion):
    """The stock program's maps of both halves; the same in every iteration, as the sums are."""
    refinement = Refinement.start(tmp_path_factory.mktemp("stock"), simulated, {})
    return {half: refinement.stock(1, half, relion["relion_external_reconstruct"]) for half in (1, 2)}


@pytest.fixture
def refinement(simulated, tmp_path, private_runtime):
    refinement = Refinement.start(tmp_path / "project", simulated, {**FAST, "CRYOBRIDGE_STYLE": "stock"})
    yield refinement
    refinement.end()

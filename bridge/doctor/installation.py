"""Checks that RELION will find the bridge and that the bridge works; each finding says what to do.

Runs outside the daemon, as the user, and changes nothing but a temporary folder. What a refinement's own folder
shows is in `doctor.refinement`.
"""

from __future__ import annotations

import difflib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

import cryobridge
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, DeadlineExceeded, InputInvalid, JobRejected
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.jobfile import load_job
from cryobridge.schemas.relion import resolve_options
from cryobridge.schemas.requests import AskStatus, CancelJob, JobStanding, SubmitJob, WaitForJob
from cryobridge.schemas.result import read_result
from cryobridge.schemas.variables import known_variables
from cryobridge.schemas.wire import Message, system_socket_path
from cryobridge.wrappers.formats import mrc

from ..client import DaemonClient, degradations
from ..foreground import WORKER_MODULE
from ..gpus import ListGpus, nvidia_gpus
from ..jobs_daemon import daemon_for_jobs
from ..users import user_name
from .finding import Finding, Level
from .queued import WaitsItsTurn, take_back_if_waiting
from .refinement import check_job_folder
from .service import check_service
from .slurm import check_slurm

VARIABLE = "RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE"
STOCK = "relion_external_reconstruct"
HOOK = "cryobridge-relion"
HOOK_TIMEOUT_S = 20.0
TINY_JOB_TIMEOUT_S = 180.0
PATIENCE_S = 10.0
"""So long the tiny job may wait before the daemon is asked what keeps it."""
TINY_BOX = 16
ENOUGH_GPU_BYTES = 4_000_000_000


def examine(
    job_folder: Path | None = None,
    *,
    tiny_job: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Finding]:
    """Run every check, and give each finding as soon as it is found.

    Parameters
    ----------
    job_folder
        A RELION job folder to check too.
    tiny_job
        Whether to run a small job end to end (takes seconds: torch is loaded).
    environment
        The variables RELION would be started with.
    """
    yield from check_variable(environment)
    yield from check_relion(environment)
    yield from check_settings(environment)
    yield from check_daemon(environment)
    yield from check_service(environment)
    yield from check_slurm(environment)
    yield from check_gpus(nvidia_gpus)
    if job_folder is not None:
        yield from check_job_folder(job_folder, environment)
    if tiny_job:
        yield check_tiny_job(environment)


def check_variable(environment: Mapping[str, str]) -> Iterator[Finding]:
    """RELION's variable is set and what it names starts as RELION would start it."""
    value = environment.get(VARIABLE, "").strip()
    advice = f"put into the shell that starts RELION: export {VARIABLE}={_own_hook() or HOOK}"
    if not value:
        yield Finding(VARIABLE, Level.FAIL, "is not set: RELION calls its own program, not the bridge", advice)
        return
    if value.split()[0].rpartition("/")[2] == STOCK:
        yield Finding(VARIABLE, Level.FAIL, f"is RELION's own program ({value})", advice)
        return
    if "relion_wrapper.py" in value:
        yield Finding(VARIABLE, Level.FAIL, f"is spIsoNet's wrapper ({value})", advice)
        return
    yield Finding(VARIABLE, Level.OK, f"is {value}")
    yield check_hook(value, environment)


def check_hook(value: str, environment: Mapping[str, str]) -> Finding:
    """The hook answers `--version` under `/bin/sh -c`, first with an empty environment, then with the given one."""
    bare = _ask_hook(value, {})
    if bare is None:
        return Finding("hook", Level.OK, f"starts in an empty environment, version {cryobridge.__version__}")
    if _ask_hook(value, environment) is None:
        return Finding(
            "hook",
            Level.WARN,
            f"starts from this shell, but not in an empty environment ({bare}): other hosts may not find it",
            f"give its full path: export {VARIABLE}={_own_hook() or '/full/path/to/' + HOOK}",
        )
    return Finding(
        "hook",
        Level.FAIL,
        f"'/bin/sh -c {value}' does not answer: {_ask_hook(value, environment)}",
        f"export {VARIABLE}={_own_hook() or '/full/path/to/' + HOOK}",
    )


def _ask_hook(value: str, environment: Mapping[str, str]) -> str | None:
    """What is wrong with the hook's answer to `--version`; None if nothing is."""
    try:
        answer = subprocess.run(
            ["/bin/sh", "-c", f"{value} --version"],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HOOK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {HOOK_TIMEOUT_S:.0f} s"
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        return f"exit code {answer.returncode}{f', {said[-1][:200]}' if said else ''}"
    words = answer.stdout.split()
    if not words or "cryobridge" not in answer.stdout:
        return "it is not cryobridge's hook"
    if words[-1] != cryobridge.__version__:
        return f"it is of version {words[-1]}, this is {cryobridge.__version__}"
    return None


def _own_hook() -> str | None:
    """The hook that was installed with this program."""
    beside = Path(sys.executable).parent / HOOK
    return str(beside) if beside.exists() else shutil.which(HOOK)


def check_relion(environment: Mapping[str, str]) -> Iterator[Finding]:
    """RELION's own program is there, as the last resort."""
    found = shutil.which(STOCK, path=environment.get("PATH"))
    if found:
        yield Finding(STOCK, Level.OK, f"is {found}, used if the bridge cannot answer")
    else:
        yield Finding(
            STOCK, Level.WARN, "is not on PATH", "not needed: without it the hook makes the standard map by itself"
        )


def check_settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """The `ISONET_*` and `CRYOBRIDGE_*` variables are known and mean something."""
    known = known_variables()
    given = sorted(name for name in environment if name.startswith(("ISONET_", "CRYOBRIDGE_")))
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            yield Finding(
                "options",
                Level.WARN,
                f"{name} is not a variable of this version; it is ignored",
                f"did you mean {near[0]}?" if near else "'cryobridge config reference' lists them all",
            )
    try:
        _, notes = resolve_options(environment)
    except InputInvalid as error:
        yield Finding("options", Level.FAIL, str(error), "correct the variable, or unset it")
        return
    for note in notes:
        yield Finding("options", Level.WARN, note, "correct it, or unset it")
    used = [name for name in given if name in known]
    if used and not notes:
        yield Finding("options", Level.OK, f"taken from {', '.join(used)}")


def check_daemon(environment: Mapping[str, str]) -> Iterator[Finding]:
    """A daemon answers, is of this version and is well."""
    try:
        with DaemonClient.connect(environment) as client:
            status = client.request(AskStatus())
            whose = _whose(client)
    except DaemonUnavailable as error:
        if "no daemon is running" not in str(error):
            yield Finding("daemon", Level.FAIL, str(error))
            return
        yield Finding("daemon", Level.OK, "none is running; RELION's first call starts one")
        return
    except CryobridgeError as error:
        yield Finding("daemon", Level.FAIL, str(error), "see its log")
        return
    version = status.get("version")
    if version != cryobridge.__version__:
        yield Finding(
            "daemon",
            Level.FAIL,
            f"is version {version}, this is {cryobridge.__version__}",
            "'cryobridge stop'; the next call starts the right one",
        )
        return
    problems = degradations(status)
    for problem in problems:
        yield Finding("daemon", Level.WARN, problem, "see 'cryobridge status' and the daemon's log")
    if not problems:
        yield Finding("daemon", Level.OK, f"version {version} is ready at {client.path}, {whose}")


def _whose(client: DaemonClient) -> str:
    if client.path == system_socket_path():
        return f"this machine's, run by {user_name(client.uid)}"
    return "your own" if client.uid == os.getuid() else f"that of {user_name(client.uid)}"


def check_gpus(list_gpus: ListGpus) -> Iterator[Finding]:
    """Each GPU has memory left for the network."""
    gpus = list_gpus()
    if not gpus:
        yield Finding("GPU", Level.OK, "none found: the CPU is used, with the small network")
    for gpu in gpus:
        text = f"{gpu.name}: {gpu.free_bytes / 1e9:.1f} of {gpu.total_bytes / 1e9:.1f} GB free ({gpu.uuid})"
        if gpu.free_bytes < ENOUGH_GPU_BYTES:
            yield Finding(
                "GPU",
                Level.WARN,
                text,
                "another program holds it; if that is RELION, add --free_gpu_memory 1500 to the refinement, "
                "or give the bridge a GPU of its own (CRYOBRIDGE_DEVICES)",
            )
        else:
            yield Finding("GPU", Level.OK, text)


def check_tiny_job(environment: Mapping[str, str], timeout_s: float = TINY_JOB_TIMEOUT_S) -> Finding:
    """A 3DFSC of two small maps runs from its job file to its result, by the daemon or, without one, by a worker."""
    with tempfile.TemporaryDirectory(prefix="cryobridge-doctor-") as name:
        job_file = _tiny_job(Path(name))
        try:
            where = _by_daemon(job_file, environment, timeout_s) or _by_worker(job_file, timeout_s)
            result = read_result(job_file.parent / "out")
        except WaitsItsTurn as turn:
            text = f"{turn}, and was taken back: the daemon is busy, which is fine"
            return Finding("tiny job", Level.OK, text, "to see one run, call 'cryobridge doctor' when that is done")
        except subprocess.TimeoutExpired:
            return Finding("tiny job", Level.FAIL, f"not finished in {timeout_s:.0f} s", "is the machine overloaded?")
        except CryobridgeError as error:
            return Finding(
                "tiny job",
                Level.FAIL,
                str(error),
                "see the daemon's log, or reinstall; 'python -c \"import torch\"' shows whether torch loads",
            )
    seconds = result.timings_s.get("total", 0.0)
    return Finding("tiny job", Level.OK, f"ran {where} on {result.device} in {seconds:.1f} s")


def _by_daemon(job_file: Path, environment: Mapping[str, str], timeout_s: float) -> str | None:
    """Run a job by the daemon; None where none runs, or takes jobs of this user."""
    spec = load_job(job_file).requested_as(f"doctor-{secrets.token_hex(8)}").as_spec()
    try:
        with daemon_for_jobs(environment) as client:
            try:
                job_id = str(client.request(SubmitJob(spec=spec))["job_id"])
            except JobRejected:
                return None
            end = _end(client, job_id, timeout_s)
    except DaemonUnavailable:
        return None
    if end["state"] != "succeeded":
        raise CryobridgeError(f"the daemon's job {job_id} {end['state']}: {end.get('text') or end.get('reason')}")
    return "by the daemon"


def _end(client: DaemonClient, job_id: str, timeout_s: float) -> Message:
    """Wait for a job as long as there is something to wait for."""
    last = time.monotonic() + timeout_s
    while True:
        try:
            return client.wait(job_id, max(0.0, min(PATIENCE_S, last - time.monotonic())))
        except DeadlineExceeded:
            take_back_if_waiting(client, job_id)
        if time.monotonic() >= last:
            standing = JobStanding.read(client.request(WaitForJob(job_id=job_id, timeout_s=0.0)), "the reply to 'wait'")
            client.request(CancelJob(job_id=job_id))
            raise DeadlineExceeded(
                f"the daemon's job {job_id} was still {standing.state} after {timeout_s:g} s, and no other work kept it"
            )


def _by_worker(job_file: Path, timeout_s: float) -> str:
    worker = subprocess.run(
        [sys.executable, "-I", "-m", WORKER_MODULE, str(job_file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    if worker.returncode != 0:
        said = worker.stderr.strip().splitlines()
        raise CryobridgeError(f"exit code {worker.returncode}{f': {said[-1][:300]}' if said else ''}")
    return "in the foreground"


def _tiny_job(folder: Path) -> Path:
    generator = np.random.default_rng(1)
    signal = generator.standard_normal((TINY_BOX,) * 3)
    for half in ("half1", "half2"):
        noisy = (signal + 0.3 * generator.standard_normal(signal.shape)).astype(np.float32)
        mrc.write_atomically(folder / f"{half}.mrc", noisy, 2.0)
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "map.fsc3d",
        "inputs": {"half1": "half1.mrc", "half2": "half2.mrc"},
        "output": "out",
    }
    job_file = folder / "job.json"
    job_file.write_text(parse_job(spec, "tiny job").model_dump_json(by_alias=True))
    return job_file

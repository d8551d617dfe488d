"""From a bare Debian or Ubuntu to the demo or the tests, with one command and nothing but Python.

    python3 bridge/bootstrap.py demo [options of the demo]
    python3 bridge/bootstrap.py test [options of pytest]

Makes `.venv` beside this folder, installs torch and then cryobridge into it, and runs what was asked for. What is
already there is left alone, so a second run starts at once, and a run that was cut off can simply be repeated.
Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check")
STAMP = ENVIRONMENT / "cryobridge-installed"
OLDEST_PYTHON = (3, 11)
# A release for which a locally built or CPU-only wheel may already be at hand; any later torch does as well.
PREFERRED_TORCH = "torch==2.13.0"
ANY_TORCH = "torch>=2.4"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MOST_AT_ONCE = 4
"""Tests start daemons, workers and RELION, each of them a process with torch or MPI: memory, not cores, ends first."""
_COMMANDS = ("demo", "test", "install")
_CHECKS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    if not arguments or arguments[0] not in _COMMANDS:
        say(f"usage: python3 bridge/bootstrap.py {{{','.join(_COMMANDS)}}} [options passed on]")
        return 2
    if sys.version_info < OLDEST_PYTHON:
        say(f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed; this is {sys.version.split()[0]}")
        return 1
    command, rest = arguments[0], list(arguments[1:])
    try:
        install("" if command == "demo" else "[test]")
    except subprocess.CalledProcessError as error:
        say(f"this failed: {' '.join(map(str, error.cmd))}\nIt is safe to run the same command again.")
        return 1
    except RuntimeError as error:
        say(str(error))
        return 1
    if command == "demo":
        return call([PYTHON, "-m", "cryobridge.wrappers.relion.demo", *rest])
    if command == "test":
        return check(rest)
    say(f"installed: {ENVIRONMENT / 'bin' / 'cryobridge'}")
    return 0


def check(options: Sequence[str]) -> int:
    """Run linters, type checker and all tests; every one runs, the exit code is that of the first that failed."""
    codes = [call([PYTHON, "-m", *words]) for words in _CHECKS]
    codes.append(call([PYTHON, "-m", "pytest", *at_once(os.cpu_count() or 1), *options]))
    return next((code for code in codes if code), 0)


def at_once(cores: int) -> list[str]:
    """Options of pytest that run as many tests at a time as there are cores; a later `-n` of the caller's counts."""
    return [f"-n{min(cores, MOST_AT_ONCE)}"] if cores > 1 else []


def install(extras: str) -> None:
    """Bring `.venv` up to what `pyproject.toml` asks for.

    Raises
    ------
    CalledProcessError
        If pip fails.
    RuntimeError
        If this Python cannot make virtual environments and that cannot be mended here.
    """
    wanted = fingerprint(extras)
    done = STAMP.read_text().splitlines() if STAMP.exists() else []
    if wanted in done and works():
        return
    make_environment()
    install_torch()
    pip("install", "--editable", f"{ROOT}{extras}")
    # What the tests ask for holds what the demo asks for.
    implied = [fingerprint("")] if extras else []
    STAMP.write_text("\n".join([wanted, *implied]) + "\n")


def fingerprint(extras: str) -> str:
    """Changes when what must be installed changes."""
    content = (ROOT / "pyproject.toml").read_bytes() + sys.version.encode() + str(ROOT).encode()
    return f"{hashlib.sha256(content).hexdigest()} {extras or 'plain'}"


def works() -> bool:
    """Whether the environment's Python starts and finds cryobridge."""
    return PYTHON.exists() and call([PYTHON, "-c", "import cryobridge, torch"], quiet=True) == 0


def make_environment() -> None:
    """Make `.venv` with pip in it, installing the system's venv package where it is missing."""
    if PYTHON.exists() and call([PYTHON, "-m", "pip", "--version"], quiet=True) == 0:
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    if not can_make_environments():
        install_venv_package()
    say(f"making {ENVIRONMENT}")
    # The standard library's own, in a process of its own, so that a package installed just now is seen.
    run([sys.executable, "-m", "venv", str(ENVIRONMENT)])


def can_make_environments() -> bool:
    """Whether `venv` can bring pip along; Debian and Ubuntu leave that to a package."""
    return call([sys.executable, "-c", "import venv, ensurepip"], quiet=True) == 0


def install_venv_package() -> None:
    """Install python3-venv with apt, as root or through sudo where that asks no password."""
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    by_hand = f"sudo apt-get install -y {package}"
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"this Python cannot make virtual environments (no ensurepip); on Debian: {by_hand}")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and (shutil.which("sudo") is None or call(["sudo", "-n", "true"], quiet=True) != 0):
        raise RuntimeError(f"one package is missing and this user may not install it. Run once:\n    {by_hand}")
    say(f"installing {package}")
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    call([*apt, "update", "-q"])
    if call([*apt, "install", "-y", "-q", package]) != 0 and call([*apt, "install", "-y", "-q", "python3-venv"]) != 0:
        raise RuntimeError(f"apt could not install {package}. Run it by hand:\n    {by_hand}")


def install_torch() -> None:
    """Install torch first: where there is no NVIDIA driver, without gigabytes of CUDA libraries."""
    if call([PYTHON, "-c", "import torch"], quiet=True) == 0:
        return
    # A build that pip was told of (find-links) and that needs no network; its dependencies come with cryobridge's.
    if call([*PIP, "install", "--quiet", "--no-index", "--no-deps", PREFERRED_TORCH], quiet=True) == 0:
        return
    if not has_nvidia_driver():
        say("no NVIDIA driver here: looking for a torch for CPUs")
        brief = ["--retries", "1", "--timeout", "15"]
        for request in (PREFERRED_TORCH, ANY_TORCH):
            if pip_succeeds("install", *brief, "--index-url", CPU_INDEX, request):
                return
    if not pip_succeeds("install", PREFERRED_TORCH):
        pip("install", ANY_TORCH)


def has_nvidia_driver() -> bool:
    """Whether a CUDA build of torch would find a device."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def pip(*words: str) -> None:
    """Run pip in the environment; raises CalledProcessError when it fails."""
    run([*PIP, *words])


def pip_succeeds(*words: str) -> bool:
    """Run pip in the environment and tell whether it went well."""
    return call([*PIP, *words]) == 0


def run(command: Sequence[str | Path]) -> None:
    """Run a command in the repository; raises CalledProcessError when it fails."""
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True, env=clean_environment())


def call(command: Sequence[str | Path], *, quiet: bool = False) -> int:
    """Run a command in the repository and return its exit code."""
    sink = subprocess.DEVNULL if quiet else None
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words, cwd=ROOT, check=False, env=clean_environment(), stdout=sink, stderr=sink
        ).returncode
    except OSError as error:
        if not quiet:
            say(f"{words[0]}: {error.strerror}")
        return 127


def clean_environment() -> dict[str, str]:
    """The environment without what would let another Python's packages into ours (module systems set it)."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def say(text: str) -> None:
    """Tell the user, at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        code = 130
    sys.exit(code)

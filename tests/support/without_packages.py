"""Runs Python as it would be where some packages are not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "systemd" / "cryosparc-agent.requirements.txt"
NAMES = {"nvidia-ml-py": "pynvml", "pyyaml": "yaml"}
"""Modules that are called otherwise than what they come in."""
_HIDE = """
import importlib.abc, importlib.metadata, sys
hidden, dists = {hidden!r}, {dists!r}
class Hides(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hides())
real = importlib.metadata.version
def version(name):
    if name in dists:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
"""


def python_without(
    modules: Collection[str],
    code: str,
    folder: Path,
    distributions: Collection[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run code where these modules cannot be imported, and these distributions are not known.

    Parameters
    ----------
    folder
        A home, without tokens, daemons and settings.
    """
    prelude = _HIDE.format(hidden=sorted(modules), dists=sorted(distributions))
    own = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "CRYOBRIDGE_SOCKET": str(folder / "socket"),
        **(environment or {}),
    }
    return subprocess.run(
        [sys.executable, "-c", prelude + code], env=own, cwd=folder, capture_output=True, text=True, timeout=120
    )


def command(*words: str) -> str:
    """Code that runs a `cryobridge` command."""
    return f"from cryobridge.bridge import cli\nsys.exit(cli.run({list(words)!r}))\n"


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


def module_of(requirement: str) -> str:
    name = name_of(requirement)
    return NAMES.get(name, name)


def dependencies() -> list[str]:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(declared["dependencies"])


def agents_own() -> list[str]:
    return [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]


def not_the_agents() -> set[str]:
    """Modules that cryobridge depends on and its agent's environment lacks."""
    return {module_of(one) for one in dependencies()} - {module_of(one) for one in agents_own()}

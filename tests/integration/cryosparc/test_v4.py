"""Cards on CryoSPARC 4, by the client 4.7.1, which cannot be in one environment with that of 5: scenarios run apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .v4_scenarios import SCENARIOS

pytestmark = [pytest.mark.shared, pytest.mark.slow]

CLIENT = "cryosparc-tools==4.7.1"
GIVEN = "CRYOBRIDGE_TEST_CRYOSPARC4"
"""Names a folder in which that client is installed (`pip install --no-deps --target`), for machines without PyPI."""
_INSTALL_S, _RUN_S = 120, 280


@pytest.fixture(scope="session")
def client_4(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client 4.7.1 alone: the one that is named, or one in pytest's cache, filled from PyPI."""
    if os.environ.get(GIVEN):
        return Path(os.environ[GIVEN])
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir(CLIENT.replace("==", "-"))) if cache else tmp_path_factory.mktemp("client4")
    if not (folder / "complete").exists():
        line = [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--upgrade"]
        try:
            done = subprocess.run(
                [*line, "--target", str(folder), CLIENT], capture_output=True, text=True, timeout=_INSTALL_S
            )
            wrong = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        except subprocess.TimeoutExpired:
            wrong = [f"more than {_INSTALL_S} s"]
        if wrong:
            pytest.skip(f"{CLIENT} cannot be installed ({wrong[0][:200]}); set {GIVEN} to a folder with it")
        (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, client_4: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What went wrong with each scenario that is asked for, by its name; they run in one process."""
    asked = [item.callspec.params["name"] for item in request.session.items if _is_of_this_file(item)]
    here = Path(__file__).resolve()
    sample = shared / "cryosparc-standin" / "sample" / "CS-bridge-demo"
    module = "integration.cryosparc.v4_scenarios"
    paths = [client_4, here.parents[2], here.parents[3]]
    done = subprocess.run(
        [sys.executable, "-m", module, str(sample), str(tmp_path_factory.mktemp("v4")), *asked],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=_RUN_S,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = {one["name"]: one["wrong"] for one in told}
    return {name: found.get(name, f"it was not come to: {done.stderr[-3000:]}") for name in asked}


def _is_of_this_file(item: pytest.Item) -> bool:
    return item.path == Path(__file__) and hasattr(item, "callspec")


@pytest.mark.parametrize("name", SCENARIOS)
def test_on_cryosparc_4(outcomes: dict[str, str], name: str) -> None:
    assert not outcomes[name], outcomes[name]

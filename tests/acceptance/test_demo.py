"""The demo: simulated sums through the real hook, an autospawned daemon and a worker, to a report."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_demo_corrects_and_reports(tmp_path, private_runtime):
    """The third iteration is corrected; the report holds its own pictures; no daemon is left behind."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRYOBRIDGE_")},
        "CRYOBRIDGE_STEPS": "8",
        "ISONET_START_RESOLUTION": "40",
        "TMPDIR": str(private_runtime.folder),
    }
    command = [sys.executable, "-m", "cryobridge.wrappers.relion.demo", "--no-relion", "--particles", "300"]
    result = subprocess.run(
        [*command, "--iterations", "3", "--steps", "8", "--output", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    lines = [line for line in said.splitlines() if line.startswith("iteration")]
    assert [("corrected" in line) for line in lines] == [False, False, True], said
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    assert "does not show" in page
    for job in ("corrected", "diagnosis"):
        assert (tmp_path / job / "result.json").exists()
        assert "data:image/png;base64," in (tmp_path / job / "report.html").read_text()
    assert said.count("mean FSC to the truth") == 2
    assert list(private_runtime.folder.glob("cryobridge-demo-*")) == []


def test_demo_spares_files_that_are_not_its_own(tmp_path):
    """An output folder with somebody's files in it is refused, not emptied."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "precious.mrc").write_bytes(b"x")
    result = subprocess.run(
        [sys.executable, "-m", "cryobridge.wrappers.relion.demo", "--particles", "20", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "not the demo's" in result.stderr
    assert (tmp_path / "project" / "precious.mrc").exists()

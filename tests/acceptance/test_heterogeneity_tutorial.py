"""Every command of docs/heterogeneity.md, run as it is written, on fewer particles."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryobridge.bridge import cli
from cryobridge.bridge.commands import kinds
from cryobridge.schemas import job as jobs
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "heterogeneity.md"
INLINE = re.findall(r"`(cryobridge [a-z]+ [a-z]+ [^`]*-o [^`]*)`", DOCUMENT.read_text())
PARTICLES = 500
SMALLER = {
    "demo-particles": ["--particles", str(PARTICLES)],
    "vae train": ["--num-epochs", "2"],
    "vae analyze": ["--n-per-pc", "3"],
}
"""What the commands get besides what they say, so that all of them end within a minute of a core."""
PATIENCE_S = 900


def blocks() -> list[list[str]]:
    """The command lines of each block of the document."""
    return [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)]


def run(line: str, folder: Path) -> None:
    words = shlex.split(line)
    if words[0] == "cryobridge":
        extra = next((more for start, more in SMALLER.items() if " ".join(words[1:]).startswith(start)), [])
        words = [str(Path(sys.executable).with_name("cryobridge")), *words[1:], *extra]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


@pytest.mark.timeout(3 * PATIENCE_S)
def test_every_command_of_the_tutorial_runs_and_the_states_are_told_apart(tmp_path: Path) -> None:
    has_relion = shutil.which("relion_reconstruct") is not None
    for lines in blocks():
        folder = tmp_path
        for line in lines:
            if line.startswith("cd "):
                folder = folder / line.split()[1]
            elif line.startswith("cryobridge ") or has_relion:
                run(line, folder)
    whole = np.loadtxt(tmp_path / "demo/truth.csv", delimiter=",", skiprows=1)[:, 1] > 0
    with np.load(tmp_path / "selected/selection.npz") as found:
        shares = sorted([whole[found["indices"]].mean(), whole[found["rest"]].mean()])
    # All seeds are fixed: 0.95 and 0.26 of 500. Clusters that know nothing of the states would differ by 0.05.
    assert shares[1] > 0.85
    assert shares[0] < 0.4
    rows = [line for line in (tmp_path / "selected/selected.star").read_text().splitlines() if "@" in line]
    source = (tmp_path / "demo/Refine3D/job003/run_data.star").read_text().splitlines()
    assert set(rows) <= set(source)
    if has_relion:
        maps = [mrc.read(tmp_path / "demo" / f"{name}.mrc")[0] for name in ("whole", "lost")]
        assert all(np.isfinite(volume).all() and volume.std() > 0 for volume in maps)


@pytest.mark.parametrize("command", INLINE)
def test_a_command_within_the_text_is_understood(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is a variant of one that is run, with other files."""
    kinds_of_jobs: list[str] = []
    monkeypatch.setattr(
        kinds, "run_in_foreground", lambda path, **_: (kinds_of_jobs.append(json.loads(path.read_text())["kind"]), 0)[1]
    )
    monkeypatch.setattr(jobs, "check_paths", lambda _: None)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    assert cli.run(words) == 0
    assert kinds_of_jobs == [".".join(words[:2])]


def test_every_picture_of_the_tutorial_is_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", DOCUMENT.read_text())
    assert len(pictures) == 3
    assert all((DOCUMENT.parent / picture).is_file() for picture in pictures)

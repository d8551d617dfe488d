"""The public functions have the types that their callers rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_public_api_has_its_types(repository: Path, tmp_path: Path) -> None:
    """mypy, strict, accepts a caller of the public functions and refuses a wrong one.

    The options are those of a run over everything, so that what such a run found out is used again.
    """
    good = _mypy(repository, "tests/typing/public_api.py")
    assert good.returncode == 0, good.stdout
    (tmp_path / "wrong.py").write_text("from cryobridge.core.fourier import resolution\nresolution('curve', 1.0)\n")
    wrong = _mypy(repository, str(tmp_path / "wrong.py"))
    assert wrong.returncode == 1
    assert "incompatible type" in wrong.stdout


def _mypy(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
    )

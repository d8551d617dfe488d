"""The two commands of the README: quick when all is there, clear when something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cryobridge.bridge import bootstrap


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own, so that no test touches the real environment."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "stamp")
    (tmp_path / ".venv").mkdir()
    return tmp_path


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records what an installation would do."""
    done: list[str] = []
    monkeypatch.setattr(bootstrap, "works", lambda: True)
    monkeypatch.setattr(bootstrap, "make_environment", lambda: done.append("environment"))
    monkeypatch.setattr(bootstrap, "install_torch", lambda: done.append("torch"))
    monkeypatch.setattr(bootstrap, "pip", lambda *words: done.append(" ".join(words)))
    return done


def test_second_run_installs_nothing(elsewhere, steps):
    """The stamp of a finished installation makes the next one a matter of one check."""
    bootstrap.install("[test]")
    assert steps == ["environment", "torch", f"install --editable {elsewhere}[test]"]
    bootstrap.install("[test]")
    assert len(steps) == 3


def test_demo_needs_nothing_that_the_tests_did_not_install(elsewhere, steps):
    """After `test`, `demo` installs nothing; after `demo`, `test` installs the test tools."""
    bootstrap.install("[test]")
    bootstrap.install("")
    assert len(steps) == 3
    bootstrap.STAMP.unlink()
    bootstrap.install("")
    bootstrap.install("[test]")
    assert steps[-1].endswith("[test]")


def test_changed_requirements_are_installed(elsewhere, steps):
    """A new pyproject.toml makes the stamp stale."""
    bootstrap.install("")
    (elsewhere / "pyproject.toml").write_text("[project]\nname = 'y'\n")
    bootstrap.install("")
    assert steps.count("torch") == 2


def test_interrupted_installation_is_taken_up_again(elsewhere, steps, monkeypatch):
    """No stamp is left by an installation that failed halfway."""

    def fail(*words: str) -> None:
        raise subprocess.CalledProcessError(1, ["pip", *words])

    monkeypatch.setattr(bootstrap, "pip", fail)
    assert bootstrap.main(["install"]) == 1
    assert not bootstrap.STAMP.exists()


def test_missing_venv_package_is_named(monkeypatch, capsys):
    """Without ensurepip, root and sudo the one command to run is printed."""
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    with pytest.raises(RuntimeError, match=r"sudo apt-get install -y python3\.\d+-venv"):
        bootstrap.install_venv_package()


@pytest.mark.parametrize(("driver", "expected"), [(False, ["--index-url"]), (True, [])])
def test_cpu_build_is_asked_for_where_there_is_no_driver(monkeypatch, driver, expected):
    """Without an NVIDIA driver the small CPU build is looked for first; with one, the default index."""
    asked: list[str] = []
    monkeypatch.setattr(bootstrap, "call", lambda command, **_: 1)
    monkeypatch.setattr(bootstrap, "has_nvidia_driver", lambda: driver)
    monkeypatch.setattr(bootstrap, "pip_succeeds", lambda *words: asked.append(" ".join(words)) is None)
    bootstrap.install_torch()
    assert len(asked) == 1
    assert [word for word in asked[0].split() if word == "--index-url"] == expected


def test_all_checks_run_and_the_first_failure_counts(monkeypatch):
    """A lint error does not hide a failing test; options go to pytest."""
    seen: list[list[str]] = []

    def call(command: list[str], **_: bool) -> int:
        seen.append([str(word) for word in command[2:]])
        return 3 if "mypy" in command else 0

    monkeypatch.setattr(bootstrap, "call", call)
    monkeypatch.setattr(bootstrap.os, "cpu_count", lambda: 1)
    assert bootstrap.check(["-k", "fsc"]) == 3
    assert seen[-1] == ["pytest", "-k", "fsc"]
    assert [words[0] for words in seen] == ["ruff", "ruff", "mypy", "pytest"]


@pytest.mark.parametrize(("cores", "options"), [(1, []), (2, ["-n2"]), (64, ["-n4"])])
def test_tests_share_the_cores_but_not_without_end(cores, options):
    """One core runs one test after the other; many cores do not mean as many daemons with torch at once."""
    assert bootstrap.at_once(cores) == options


def test_runs_with_nothing_installed(tmp_path):
    """The file starts under an isolated Python that sees no package at all."""
    path = Path(__file__).resolve().parents[3] / "bridge" / "bootstrap.py"
    result = subprocess.run([sys.executable, "-I", "-S", str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert "usage" in result.stderr

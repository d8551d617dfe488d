"""Who may import whom, read from the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bridge", "core", "schemas", "wrappers")
STDLIB = sys.stdlib_module_names
HOOK_SCHEMAS = ("wire", "codes", "frames", "messages", "hook_settings")
"""What the hook may name; what these import counts as well, so they are held to the standard library."""
LIGHT_SCHEMAS = (*HOOK_SCHEMAS, "errors", "fields", "requests", "worker_messages")
MODULES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports anywhere in it, as an absolute dotted name, with its line."""
    package = ("cryobridge", *path.parts[:-1])
    for node in ast.walk(ast.parse((ROOT / path).read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            # `from package import module` names a module too.
            for name in node.names:
                yield f"{base}.{name.name}", node.lineno


def ours(name: str) -> str | None:
    """The folder of ours that a dotted name lies in, or None."""
    parts = name.split(".")
    return parts[1] if parts[0] == "cryobridge" and len(parts) > 1 and parts[1] in FOLDERS else None


def offences(path: Path) -> Iterator[str]:
    """Each import of `path` that a rule forbids."""
    folder = path.parts[0]
    in_worker = path.parts[:2] == ("bridge", "worker")
    in_hook = path.parts[:3] == ("wrappers", "relion", "hook")
    for name, line in imported(path):
        first, target = name.split(".")[0], ours(name)
        where = f"{path}:{line} imports {name}"
        if first in FOLDERS:
            yield f"{where}: ours are imported as cryobridge.{first}"
        if folder == "schemas" and target not in (None, "schemas"):
            yield f"{where}: schemas take nothing of ours"
        if folder == "core" and target not in (None, "core", "schemas"):
            yield f"{where}: core takes nothing of ours but option models of schemas"
        if folder == "wrappers" and target == "bridge":
            yield f"{where}: wrappers take core and schemas"
        if folder == "bridge" and not in_worker and (target == "core" or first == "torch"):
            yield f"{where}: only bridge/worker computes"
        if in_hook and not hook_may(name):
            yield f"{where}: the hook takes the standard library and a few light schemas"
        if folder == "core" and first in ("click", "rich", "watchdog", "psutil", "mrcfile", "starfile", "gemmi"):
            yield f"{where}: core knows no files and no terminal"
        if path.parts == ("bridge", "bootstrap.py") and first not in STDLIB:
            yield f"{where}: runs before anything is installed"


def hook_may(name: str) -> bool:
    """Whether the hook may import `name`: the standard library, light schemas, its own folder and our version."""
    own = "cryobridge.wrappers.relion.hook"
    light = [f"cryobridge.schemas.{module}" for module in HOOK_SCHEMAS]
    return (
        name.split(".")[0] in STDLIB
        or name in (*light, "cryobridge.__version__")
        or name.startswith((own + ".", *(f"{module}." for module in light)))
    )


@pytest.mark.parametrize("module", LIGHT_SCHEMAS)
def test_a_light_schema_imports_the_standard_library_and_light_schemas_only(module: str):
    """The hook pays for whatever these import."""
    for name, line in imported(Path(f"schemas/{module}.py")):
        parts = name.split(".")
        light = parts[:2] == ["cryobridge", "schemas"] and parts[2] in LIGHT_SCHEMAS
        assert light or parts[0] in STDLIB, f"schemas/{module}.py:{line} imports {name}"


def test_every_folder_has_modules():
    """The rules below are read from files that exist."""
    assert {path.parts[0] for path in MODULES} == set(FOLDERS)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_follow_the_rules(path: Path):
    """No module imports what its place forbids."""
    assert list(offences(path)) == []


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        ("core/made_up.py", "from cryobridge.bridge import server", "core takes nothing"),
        ("core/made_up.py", "import mrcfile", "no files"),
        ("schemas/made_up.py", "from ..core import fsc", "schemas take nothing"),
        ("wrappers/made_up.py", "import cryobridge.bridge.cli", "wrappers take"),
        ("bridge/made_up.py", "def f():\n    import torch.fft", "only bridge/worker"),
        ("bridge/made_up.py", "from cryobridge.core import fsc", "only bridge/worker"),
        ("bridge/made_up.py", "from core import fsc", "imported as cryobridge.core"),
        ("wrappers/relion/hook/made_up.py", "import pydantic", "the hook takes"),
        ("wrappers/relion/hook/made_up.py", "from cryobridge.schemas import errors", "the hook takes"),
        (
            "wrappers/relion/hook/made_up.py",
            "from cryobridge.schemas.worker_messages import HalfTask",
            "the hook takes",
        ),
        ("wrappers/relion/hook/made_up.py", "from ..sums import read_sums", "the hook takes"),
    ],
)
def test_the_rules_bite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, line: str, said: str):
    """Each rule catches a module that breaks it, however the import is spelled."""
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(line + "\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert any(said in offence for offence in offences(Path(path)))


def test_worker_may_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is forbidden to the daemon is allowed to its worker."""
    (tmp_path / "bridge/worker").mkdir(parents=True)
    (tmp_path / "bridge/worker/made_up.py").write_text("import torch\nfrom cryobridge.core import fsc\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert list(offences(Path("bridge/worker/made_up.py"))) == []


def test_a_foreign_core_on_the_path_does_no_harm(tmp_path: Path):
    """Module systems put other people's `core/` on PYTHONPATH; ours is still found under its own name."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    code = "import cryobridge.core.fourier, cryobridge.schemas.wire, cryobridge.wrappers.relion.jobdir"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr

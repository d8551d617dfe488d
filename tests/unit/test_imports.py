"""Who may import whom, read from the source of every module.

The rules follow the folders: the four at the top, then the packages inside `core` and inside `bridge`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bridge", "core", "schemas", "wrappers")
STDLIB = sys.stdlib_module_names
HOOK_SCHEMAS = ("wire", "codes", "frames", "messages", "hook_settings", "iterations", "values")
"""What the hook may name; what these import counts as well, so they are held to the standard library."""
LIGHT_SCHEMAS = (*HOOK_SCHEMAS, "bounds", "errors", "fields", "news", "requests", "worker_messages")
MODULES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

CORE_LAYERS = (
    {"fourier", "nets", "training", "particles"},
    {"directional", "volume"},
    {"relion", "phantoms", "subspace", "landscape"},
    {"correction", "latent", "tomogram"},
    {"diagnosis"},
)
"""Packages of `core`, lowest first: each may import those of the layers below its own."""
CORE_ALONE = {"nets", "training"}
"""They know no maps, so they import nothing else of `core`."""
CORE_NAMESPACES = {"correction.posterior", "directional.area_ratio", "directional.compensation"}
"""Modules of `core` that are taken whole from outside, because their names say little without the module's."""

DAEMON_SIDE = {"daemon", "pool", "refinements", "queue", "slurm", "watch"}
BRIDGE_NEVER = {
    "cli.py": {*DAEMON_SIDE, "worker"},
    "client.py": {*DAEMON_SIDE, "worker"},
    "commands": {*DAEMON_SIDE, "worker"},
    # It asks SLURM in the daemon's own words, so that what it finds is what the daemon would.
    "doctor": {*DAEMON_SIDE, "worker"} - {"slurm"},
    "pool": {"refinements", "queue", "slurm", "watch", "daemon", "worker"},
    "queue": {"refinements", "slurm", "watch", "daemon", "worker"},
    "refinements": {"slurm", "watch", "daemon", "worker"},
    "slurm": {"refinements", "watch", "daemon", "worker"},
    "watch": {"daemon", "worker"},
    "worker": {*DAEMON_SIDE, "commands", "doctor"},
}
"""Packages of `bridge` and what they never import: a process of its own, or who uses them rather than is used."""


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
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            yield from ((str(name.value), node.lineno) for name in node.args[:1] if isinstance(name, ast.Constant))


def ours(name: str) -> str | None:
    """The folder of ours that a dotted name lies in, or None."""
    parts = name.split(".")
    return parts[1] if parts[0] == "cryobridge" and len(parts) > 1 and parts[1] in FOLDERS else None


def offences(path: Path) -> Iterator[str]:
    """Each import of `path` that a rule forbids."""
    folder = path.parts[0]
    in_worker = path.parts[:2] == ("bridge", "worker")
    in_hook = path.parts[:3] == ("wrappers", "relion", "hook")
    in_cryosparc = path.parts[:2] == ("wrappers", "cryosparc")
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
        if in_cryosparc and (target == "core" or first in ("torch", "scipy")):
            yield f"{where}: beside CryoSPARC nothing is computed"
        if first in ("cryosparc", "httpx") and not in_cryosparc:
            yield f"{where}: only wrappers/cryosparc speaks to CryoSPARC"
        if in_hook and not hook_may(name):
            yield f"{where}: the hook takes the standard library and a few light schemas"
        if folder == "core" and first in ("click", "rich", "watchdog", "psutil", "mrcfile", "starfile", "gemmi"):
            yield f"{where}: core knows no files and no terminal"
        if path.parts == ("bridge", "bootstrap.py") and first not in STDLIB:
            yield f"{where}: runs before anything is installed"
        if folder == "core" and target == "core":
            yield from (f"{where}: {why}" for why in offences_in_core(path, name))
        if folder != "core" and target == "core" and past_the_package(name):
            yield f"{where}: core is imported through its packages"
        if folder == "bridge" and target == "bridge" and part_of_bridge(name) in BRIDGE_NEVER.get(path.parts[1], ()):
            yield f"{where}: {path.parts[1]} never imports {part_of_bridge(name)}"


def offences_in_core(path: Path, name: str) -> Iterator[str]:
    """Each rule between packages of `core` that an import breaks."""
    own, other = path.parts[1], ".".join(name.split(".")[2:3])
    if own == other:
        return
    if not other:
        yield "core's packages are imported one by one"
        return
    if own in CORE_ALONE:
        yield f"{own} knows nothing else of core"
    if layer(other) >= layer(own):
        yield f"{own} is not above {other}"
    if past_the_package(name):
        yield "core's packages are imported as such"


def layer(package: str) -> int:
    """The layer of a package of `core`; ValueError for one that has no place in the table."""
    for number, packages in enumerate(CORE_LAYERS):
        if package in packages:
            return number
    raise ValueError(f"core/{package} has no place in CORE_LAYERS")


def past_the_package(name: str) -> bool:
    """Whether a name of `core` is that of a module inside a package, or lies in such a module."""
    package, *within = name.split(".")[2:] or [""]
    module = ROOT.joinpath("core", package, *within[:1]).with_suffix(".py")
    is_namespace = f"{package}.{'.'.join(within)}" in CORE_NAMESPACES
    return len(within) > 1 or (module.is_file() and not is_namespace)


def part_of_bridge(name: str) -> str:
    """The package of `bridge` that a dotted name lies in, or its module in `bridge` itself."""
    return name.split(".")[2] if name.count(".") > 1 else ""


def parts_imported() -> dict[str, set[str]]:
    """For each package of `bridge`, and each module in `bridge` itself, the others that it imports."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        if path.parts[0] == "bridge" and path.name != "bootstrap.py":
            own = path.parts[1].removesuffix(".py")
            names = (name for name, _ in imported(path) if ours(name) == "bridge")
            found.setdefault(own, set()).update(part_of_bridge(name) for name in names)
    return {own: others - {own, ""} for own, others in found.items()}


def circles(graph: Mapping[str, Collection[str]]) -> list[str]:
    """The nodes from which a way along the arrows leads back to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            further = set(graph.get(waiting.pop(), ())) - seen
            seen |= further
            waiting += further
        return seen

    return sorted(node for node in graph if node in reached(node))


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


def test_every_package_of_core_has_its_layer():
    """A new package of `core` is put into the table before anything imports it."""
    packages = {path.parts[1] for path in MODULES if path.parts[0] == "core" and len(path.parts) > 2}
    assert packages == set().union(*CORE_LAYERS)


def test_the_packages_of_bridge_go_in_no_circle():
    """Each can be understood, and tested, without those that use it."""
    graph = parts_imported()
    assert {"commands", "daemon", "worker"} <= graph.keys()
    assert circles(graph) == []


def test_a_circle_is_found():
    """However long it is, and only those on it are named."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": ()}) == []


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
        ("wrappers/made_up.py", "from cryobridge.core.fourier.correlation import fsc", "through its packages"),
        ("bridge/worker/made_up.py", "from cryobridge.core.fourier import correlation", "through its packages"),
        ("bridge/worker/made_up.py", "import cryobridge.core.fourier.correlation", "through its packages"),
        ("wrappers/cryosparc/made_up.py", "from cryobridge.core.fourier import fsc", "nothing is computed"),
        ("wrappers/cryosparc/made_up.py", "def f():\n    import scipy.ndimage", "nothing is computed"),
        ("wrappers/cryosparc/made_up.py", "import importlib\nimportlib.import_module('torch')", "nothing is computed"),
        ("wrappers/formats/made_up.py", "from cryosparc.dataset import Dataset", "only wrappers/cryosparc"),
        ("bridge/commands/made_up.py", "def f():\n    import httpx", "only wrappers/cryosparc"),
        (
            "bridge/made_up.py",
            "import importlib\nimportlib.import_module('cryosparc.tools')",
            "only wrappers/cryosparc",
        ),
        ("core/fourier/made_up.py", "from ..volume import masks", "fourier is not above volume"),
        ("core/volume/made_up.py", "from ..directional import fsc3d", "volume is not above directional"),
        ("core/correction/made_up.py", "from ..diagnosis import score", "correction is not above diagnosis"),
        ("core/volume/made_up.py", "from cryobridge import core", "one by one"),
        ("core/training/made_up.py", "from ..fourier import fsc", "training knows nothing else"),
        ("core/volume/made_up.py", "from ..fourier.correlation import fsc", "packages are imported as such"),
        ("bridge/commands/made_up.py", "from ..daemon.server import Server", "commands never imports daemon"),
        ("bridge/commands/made_up.py", "def f():\n    from .. import worker", "commands never imports worker"),
        ("bridge/doctor/made_up.py", "from ..queue.store import Store", "doctor never imports queue"),
        ("bridge/cli.py", "from .pool.pool import Pool", "cli.py never imports pool"),
        ("bridge/refinements/made_up.py", "from ..daemon import listening", "refinements never imports daemon"),
        ("bridge/queue/made_up.py", "import cryobridge.bridge.daemon.listening", "queue never imports daemon"),
        ("bridge/pool/made_up.py", "from ..refinements.call import Call", "pool never imports refinements"),
        ("bridge/watch/made_up.py", "from ..daemon.server import Server", "watch never imports daemon"),
        ("bridge/worker/made_up.py", "from ..pool.place import Task", "worker never imports pool"),
        ("bridge/queue/made_up.py", "from ..slurm.workers import SlurmWorkers", "queue never imports slurm"),
        ("bridge/slurm/made_up.py", "from ..worker import batch", "slurm never imports worker"),
    ],
)
def test_the_rules_bite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, line: str, said: str):
    """Each rule catches a module that breaks it, however the import is spelled."""
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(line + "\n")
    (tmp_path / "core/fourier").mkdir(parents=True, exist_ok=True)
    (tmp_path / "core/fourier/correlation.py").touch()
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert any(said in offence for offence in offences(Path(path)))


def test_worker_may_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is forbidden to the daemon is allowed to its worker."""
    (tmp_path / "bridge/worker").mkdir(parents=True)
    (tmp_path / "bridge/worker/made_up.py").write_text("import torch\nfrom cryobridge.core import fsc\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert list(offences(Path("bridge/worker/made_up.py"))) == []


def test_modules_that_are_namespaces_may_be_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`posterior.fill` says more than `fill`; a name out of the module still goes through the package."""
    (tmp_path / "bridge/worker").mkdir(parents=True)
    (tmp_path / "core/correction").mkdir(parents=True)
    (tmp_path / "core/correction/posterior.py").touch()
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = Path("bridge/worker/made_up.py")
    (tmp_path / path).write_text("from cryobridge.core.correction import posterior\n")
    assert list(offences(path)) == []
    (tmp_path / path).write_text("from cryobridge.core.correction.posterior import fill\n")
    assert len(list(offences(path))) == 1


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

"""What holds for the repository as a whole: small files and functions, one class of a name, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = ("bridge", "core", "schemas", "wrappers")
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
# Folders that exist on one machine only. /tmp, /run, /proc, /etc, /usr, /opt and so on are everybody's,
# and so is the home of an example.
MACHINE_PATH = re.compile(
    r"(?<![\w.~$}>/])/(?:home|root|work|workspace|mnt|scratch|Users)/(?!(?:me|you|user)\b)[\w.-]+"
)


def tracked() -> list[Path]:
    """Files under version control; every file but caches where there is no git."""
    result = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if result.returncode == 0 and result.stdout:
        names = result.stdout.rstrip("\0").split("\0")
    else:
        names = [
            str(path.relative_to(ROOT)) for folder in (*LINKS, "tests", "docs") for path in (ROOT / folder).rglob("*")
        ]
    return [Path(name) for name in names if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


FILES = [path for path in tracked() if path.suffix != ".pyc"]
PYTHON = [path for path in FILES if path.suffix == ".py"]
PROGRAM = [path for path in PYTHON if path.parts[0] in LINKS]


def text(path: Path) -> str:
    """Content of a text file; empty for a binary one."""
    raw = (ROOT / path).read_bytes()
    return "" if b"\0" in raw else raw.decode()


def test_links_lead_to_the_folders():
    """`cryobridge.core` is `core/`, and so on, by relative links."""
    for name in LINKS:
        link = ROOT / "cryobridge" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name
        assert (link / "__init__.py").is_file()


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_file_is_short_and_named_after_what_it_holds(path: Path):
    """No module is longer than can be read at a sitting, none is a drawer for odds and ends."""
    assert len(text(path).splitlines()) <= LONGEST_FILE_LINES
    assert path.stem not in VAGUE_NAMES


def long_functions(source: str) -> Iterator[str]:
    """Functions of more lines, from `def` to the last one, than fit on a page."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION_LINES:
                yield node.name


@pytest.mark.parametrize("path", PROGRAM, ids=str)
def test_functions_fit_on_a_page(path: Path):
    """No function, its description included, is longer than can be seen at once."""
    assert list(long_functions(text(path))) == []


def test_long_functions_are_found():
    """Wherever they are, and only those over the limit."""
    body = "        x = 1\n" * (LONGEST_FUNCTION_LINES - 1)
    assert list(long_functions(f"class A:\n    def fits(self):\n{body}")) == []
    assert list(long_functions(f"class A:\n    async def does_not(self):\n{body}        x = 2\n")) == ["does_not"]


def test_no_two_classes_have_one_name():
    """A name says which class is meant, wherever it is read; private ones included."""
    named = Counter(
        node.name for path in PROGRAM for node in ast.walk(ast.parse(text(path))) if isinstance(node, ast.ClassDef)
    )
    assert len(named) > 100
    assert [name for name, count in named.items() if count > 1] == []


@pytest.mark.parametrize("path", [path for path in FILES if path != Path("tests/unit/test_repository.py")], ids=str)
def test_no_machine_of_ours_is_named(path: Path):
    """No file holds a path that exists on one machine only."""
    assert MACHINE_PATH.findall(text(path)) == []


def test_machine_paths_are_recognised():
    """The pattern above finds paths of one machine and spares everybody's."""
    assert MACHINE_PATH.findall("see /home/jane/x and '/scratch/lab/run'") == ["/home/jane", "/scratch/lab"]
    assert MACHINE_PATH.findall("/tmp/x /run/y <venv>/home/z https://a.b/home/c ~/scratch/x $D/mnt/m /home/me/x") == []


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_nothing_is_left_to_do(path: Path):
    """No marker of unfinished work is committed."""
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    assert not [word for word in words if re.search(rf"\b{word}\b", text(path))]


def test_every_dependency_has_its_reason():
    """ARCHITECTURE.md says of each dependency what it is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    names = {re.split(r"[<>=\[ ]", requirement)[0].lower() for requirement in required}
    described = (ROOT / "ARCHITECTURE.md").read_text().lower()
    assert not [name for name in sorted(names) if f"`{name}`" not in described]


def test_readme_begins_with_the_two_commands():
    """Whoever opens the README sees at once how to run the demo and the tests."""
    top = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])
    assert "python3 bridge/bootstrap.py demo" in top
    assert "python3 bridge/bootstrap.py test" in top


def test_ci_runs_the_command_of_the_readme():
    """.ci/run and the README cannot drift apart."""
    assert "exec python3 bridge/bootstrap.py test" in (ROOT / ".ci" / "run").read_text()


def test_architecture_decisions_are_numbered_without_gaps():
    """docs/adr holds NNNN-title.md, from 0001 on."""
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 4


def hops(heading: str) -> list[str]:
    """What each numbered hop under a heading of ARCHITECTURE.md begins with, between backticks."""
    _, _, rest = (ROOT / "ARCHITECTURE.md").read_text().partition(f"\n## {heading}\n")
    section, _, _ = rest.partition("\n## ")
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


@pytest.mark.parametrize("heading", ["Life of a call", "Life of a job"])
def test_the_architecture_tells_a_life_in_few_hops_and_each_is_a_module(heading: str):
    """A reader follows a call or a job from module to module, in at most twelve of them."""
    found = hops(heading)
    assert 8 <= len(found) <= 12
    assert [name for name in found if not (ROOT / name).is_file()] == []


def test_every_module_that_the_architecture_names_is_there():
    """Names in backticks that look like a module's path lead to one."""
    named = re.findall(
        r"`((?:bridge|core|schemas|wrappers|tests|bench)/[\w/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text()
    )
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).is_file()] == []

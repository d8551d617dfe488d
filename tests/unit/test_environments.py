"""What works where something is not installed: all but CryoSPARC without its tools, CryoSPARC's agent without torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.without_packages import agents_own, command, dependencies, module_of, not_the_agents, python_without

from .test_imports import MODULES, ROOT, STDLIB, imported

WITH_THE_TOOLS = {"cryosparc", "httpx"}


def reached() -> Iterator[tuple[str, str]]:
    """Every foreign module that the commands beside CryoSPARC may import, however late, and where."""

    def file_of(name: str) -> Path | None:
        parts = name.split(".")[1:]
        tried = (path for words in (parts, parts[:-1]) for path in (Path(*words, "__init__.py"), _module(words)))
        return next((path for path in tried if (ROOT / path).is_file()), None)

    waiting, seen = [path for path in MODULES if _is_the_agents(path)], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name, _ in imported(path):
            first = name.partition(".")[0]
            if first == "cryobridge":
                found = file_of(name)
                waiting += [] if found is None else [found]
            elif first not in STDLIB:
                yield first, str(path)


def _module(words: list[str]) -> Path:
    return Path(*words).with_suffix(".py") if words else Path("__init__.py")


def _is_the_agents(path: Path) -> bool:
    return (
        path.parts[:2] == ("wrappers", "cryosparc")
        # The kinds of jobs are found by looking into their folder.
        or path.parts[0] == "schemas"
        or path == Path("bridge/daemon_jobs.py")
        or (path.parts[:2] in (("bridge", "commands"), ("bridge", "doctor")) and path.name.startswith("cryosparc"))
    )


def test_the_agents_environment_holds_what_it_imports_and_no_more() -> None:
    needed = {name for name, _ in reached()} - WITH_THE_TOOLS
    assert needed == {module_of(one) for one in agents_own()}


def test_the_agents_environment_asks_for_the_versions_that_cryobridge_asks_for() -> None:
    assert set(agents_own()) <= set(dependencies())


def test_the_tests_are_run_with_cryosparcs_tools() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["cryosparc"]) <= set(extras["test"])
    assert {module_of(one) for one in extras["cryosparc"]} == {"cryosparc-tools", "httpx"}


def test_what_computes_is_not_in_the_agents_environment() -> None:
    assert {"torch", "scipy", "matplotlib", "watchdog"} <= not_the_agents()


@pytest.mark.parametrize("name", ["login", "doctor", "run", "card", "agent"])
def test_a_command_beside_cryosparc_loads_without_torch(tmp_path: Path, name: str) -> None:
    answer = python_without(not_the_agents(), command("cryosparc", name, "--help"), tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "--url" in answer.stdout


def test_every_module_beside_cryosparc_loads_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("cryosparc.tools", reason="cryosparc-tools are not installed (extra 'cryosparc')")
    names = [
        f"cryobridge.{'.'.join(path.with_suffix('').parts)}"
        for path in MODULES
        if _is_the_agents(path) and path.name != "__init__.py"
    ]
    code = f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)\n"
    answer = python_without(not_the_agents(), code, tmp_path)
    assert answer.returncode == 0, answer.stderr


WITHOUT_TOOLS = {"modules": WITH_THE_TOOLS, "distributions": ["cryosparc-tools"]}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (command("--help"), 0),
        (command("status"), 3),
        (command("doctor", "--no-tiny-job"), 1),
        (command("map", "correct", "--help"), 0),
        ("from cryobridge.bridge.daemon.__main__ import main", 0),
        ("from cryobridge.bridge.worker import run", 0),
        ("from cryobridge.wrappers.relion.hook.main import main\nsys.exit(main(['--version']))", 0),
    ],
    ids=["help", "status", "doctor", "job", "daemon", "worker", "hook"],
)
def test_without_cryosparcs_tools_everything_else_works(tmp_path: Path, code: str, expected: int) -> None:
    answer = python_without(code=code, folder=tmp_path, **WITHOUT_TOOLS)  # type: ignore[arg-type]
    assert answer.returncode == expected, answer.stderr
    assert "Traceback" not in answer.stderr


PLACE = ("--project", "P1", "--workspace", "W1", "--job", "map.fsc3d")


@pytest.mark.parametrize(
    "words",
    [("login",), ("run", *PLACE), ("card", *PLACE), ("agent", "--project", "P1")],
    ids=lambda words: words[0],
)
def test_without_its_tools_a_command_beside_cryosparc_says_what_to_install(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    code = command("cryosparc", words[0], "--url", "http://127.0.0.1:9", *words[1:])
    answer = python_without(code=code, folder=tmp_path, **WITHOUT_TOOLS)  # type: ignore[arg-type]
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("cryobridge: cryosparc-tools are not installed here: pip install ")


def test_without_its_tools_the_doctor_goes_on(tmp_path: Path) -> None:
    code = command("cryosparc", "doctor", "--url", "http://127.0.0.1:9")
    answer = python_without(code=code, folder=tmp_path, **WITHOUT_TOOLS)  # type: ignore[arg-type]
    assert answer.returncode == 1
    assert [line.split(":")[0] for line in answer.stdout.splitlines() if line[:4].strip()] == [
        "fail  CryoSPARC",
        "fail  cryosparc-tools",
        "ok    connection",
        "fail  daemon",
    ]
    assert answer.stderr == ""

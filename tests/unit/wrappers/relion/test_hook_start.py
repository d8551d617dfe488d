"""What starting the hook costs and how it is called."""

import json
import subprocess
import sys

import pytest

from cryobridge.wrappers.relion.hook import main

HOOK = [sys.executable, "-I", "-m", "cryobridge.wrappers.relion.hook.main"]
OURS = "cryobridge.wrappers.relion.hook."
PROBE = """
import json, sys
before = set(sys.modules)
import cryobridge.wrappers.relion.hook.main
print(json.dumps(sorted(set(sys.modules) - before)))
"""
LIGHT = ("wire", "codes", "errors", "fields", "frames", "messages", "hook_settings", "iterations", "bounds", "values")
# Each of these costs more than the hook's own modules together.
SLOW = {"asyncio", "subprocess", "argparse", "logging", "multiprocessing", "shutil", "tempfile", "http", "email"}
SLOW |= {"dataclasses", "inspect"}


def test_the_hook_imports_the_standard_library_and_light_schemas_only():
    output = subprocess.run([sys.executable, "-I", "-c", PROBE], capture_output=True, text=True, check=True).stdout
    modules = json.loads(output)
    parents = {
        "cryobridge",
        "cryobridge.schemas",
        *(f"cryobridge.schemas.{module}" for module in LIGHT),
        "cryobridge.wrappers",
        "cryobridge.wrappers.relion",
        "cryobridge.wrappers.relion.hook",
    }
    foreign = {
        name
        for name in modules
        if name.partition(".")[0] not in sys.stdlib_module_names and name not in parents and not name.startswith(OURS)
    }
    assert foreign == set()
    assert SLOW & set(modules) == set()


def test_help_and_version():
    helped = subprocess.run([*HOOK, "--help"], capture_output=True, text=True, check=True).stdout
    assert "RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE" in helped
    version = subprocess.run([*HOOK, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("cryobridge-relion ")


@pytest.mark.parametrize("arguments", [[], ["--what", "a.star"], ["a.star", "b.star"]])
def test_wrong_usage_is_2(arguments):
    assert subprocess.run([*HOOK, *arguments], capture_output=True, check=False).returncode == 2


def test_an_error_of_our_own_still_ends_with_relions_tool(monkeypatch, capfd):
    def broken(*arguments, **options):
        raise ZeroDivisionError("a bug")

    ran = []
    monkeypatch.setattr(main.answer, "answer", broken)
    monkeypatch.setattr(main, "run_stock_as_it_is", lambda star: ran.append(star) or 0)
    monkeypatch.setattr(main.signal, "signal", lambda number, handler: None)
    assert main.main(["a.star"]) == 0
    assert ran == ["a.star"]
    assert "an error in cryobridge itself (ZeroDivisionError: a bug)" in capfd.readouterr().out

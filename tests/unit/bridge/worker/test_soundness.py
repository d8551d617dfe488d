"""A process in which a module was broken off while it was loaded is told from one that only met an error."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cryobridge.bridge.worker.soundness import broke_off_an_import

Load = Callable[[str], object]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a module of a text, under a name that none has."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def loaded(text: str) -> object:
        name = f"made_up_module_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        try:
            return importlib.import_module(name)
        finally:
            sys.modules.pop(name, None)

    return loaded


def error_of(action: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("text", ["raise MemoryError", "'a'.no_such_thing", "open('')"])
def test_an_error_in_the_body_of_a_module(load: Load, text: str) -> None:
    assert broke_off_an_import(error_of(lambda: load(text)))


def test_a_module_that_wants_one_that_is_not_there_is_none(load: Load) -> None:
    assert not broke_off_an_import(error_of(lambda: load("import cryobridge_no_such_module as x; x")))


def test_an_error_that_was_made_of_one(load: Load) -> None:
    def wrapped() -> None:
        try:
            load("raise MemoryError")
        except MemoryError as error:
            raise RuntimeError("no figure") from error

    assert broke_off_an_import(error_of(wrapped))


def test_an_error_in_a_function_of_a_module_that_was_loaded_is_none(load: Load) -> None:
    module = load("def fails():\n    raise MemoryError\n")
    assert not broke_off_an_import(error_of(module.fails))  # type: ignore[attr-defined]


def test_a_module_that_is_not_there_is_none() -> None:
    assert not broke_off_an_import(error_of(lambda: importlib.import_module("cryobridge_no_such_module")))


def test_errors_that_lead_to_one_another_in_a_circle_end() -> None:
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert not broke_off_an_import(one)

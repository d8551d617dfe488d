"""The kinds of jobs, one module each: kind `family.name` is declared in the module `family.name` of this package.

A new kind is a new module here. Nothing else has to name it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable


def load_kinds() -> None:
    """Import every module of this package, so that every kind is registered."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)


def load_kind(kind: str) -> None:
    """Import the module of one kind, if there is one: whoever wants one must not pay for all of them."""
    family, _, name = kind.partition(".")
    if family.isidentifier() and name.isidentifier() and family in _modules(__path__):
        package = importlib.import_module(f"{__name__}.{family}")
        if name in _modules(package.__path__):
            importlib.import_module(f"{__name__}.{kind}")


def _modules(path: Iterable[str]) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(path)}

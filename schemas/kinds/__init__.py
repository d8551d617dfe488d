"""The kinds of jobs, one module each: kind `family.name` is declared in the module `family.name` of this package.

A new kind is a new module here. Nothing else has to name it.
"""

from __future__ import annotations

import importlib
import pkgutil


def load_kinds() -> None:
    """Import every module of this package, so that every kind is registered."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)

"""Words that command lines of IsoNet and IsoNet2 have for values, in ours."""

from __future__ import annotations

from typing import Any


def pool_window(value: Any) -> Any:
    """IsoNet's `pool True` is meant to halve each side."""
    if value is True or (isinstance(value, str) and value.strip().lower() == "true"):
        return "2,2,2"
    if value is False or (isinstance(value, str) and value.strip().lower() in ("false", "none", "")):
        return None
    return value


def refine_method(value: Any) -> Any:
    """IsoNet2 has a name of its own for what learns from halves."""
    return "n2n-mw" if value == "isonet2-n2n" else value


def ctf_treatment(value: Any) -> Any:
    """IsoNet2 has the word None for none of it."""
    return "none" if value is None or (isinstance(value, str) and value.strip() == "None") else value

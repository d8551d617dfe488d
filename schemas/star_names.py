"""Names of STAR files that a job writes into its output folder, as users choose them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from .validation import short


def _star_name(text: str) -> str:
    is_plain = text.isprintable() and "/" not in text and not text.startswith(".")
    if not (is_plain and "tomo" in text and text.endswith(".star")):
        raise ValueError(f"{short(text)} is no name of a STAR file in the output folder; give e.g. tomograms.star")
    return text


StarName = Annotated[str, AfterValidator(_star_name)]
"""A name that ends in .star, without a folder. It has `tomo` in it, so that it is no file that RELION keeps there."""

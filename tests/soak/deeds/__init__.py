"""What befalls the service: each deed is a function of the stage and of its own random numbers."""

from __future__ import annotations

from . import clocks, inbox, kills, load, particles, shortage, talk, traps
from .deed import Deed

DEEDS: dict[str, Deed] = {
    deed.name: deed
    for module in (kills, load, talk, inbox, traps, particles, shortage, clocks)
    for deed in module.DEEDS
}
"""By name, in an order that does not change between runs."""

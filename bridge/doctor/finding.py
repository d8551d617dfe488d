"""What a check says: how bad it is, what was found, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"

    @property
    def colour(self) -> str:
        """Its colour on a terminal."""
        return {"ok": "green", "warn": "yellow", "fail": "red"}[self.value]


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it."""

    check: str
    level: Level
    text: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON values."""
        return {"check": self.check, "level": self.level.value, "text": self.text, "advice": self.advice}

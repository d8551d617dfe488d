"""The last time that a refinement wanted a correction and did not get one."""

from __future__ import annotations

from dataclasses import dataclass

from cryobridge.schemas.codes import AnyCode


@dataclass(frozen=True)
class Fallback:
    """The last time a correction was wanted and not had."""

    at: float
    session: str
    uid: int
    iteration: int
    code: AnyCode
    line: str

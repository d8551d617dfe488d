"""What the hook itself must know of the user's wishes, from `cryobridge.yaml`, the environment and its options.

The file and the variables travel verbatim to the daemon as well; `schemas.hook_settings` says which of them are the
hook's, and reads those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryobridge.schemas import hook_settings, wire


@dataclass(frozen=True)
class Settings(hook_settings.HookSettings):
    """The hook's own settings.

    Attributes
    ----------
    silence_s
        A daemon or partner that shows no life for this long is taken for dead.
    """

    silence_s: float = wire.SILENCE_LIMIT_S


def read(text: str | None, environment: Mapping[str, str]) -> Settings:
    """Merge `CRYOBRIDGE_*` variables with the file's text; the file wins, as in the daemon."""
    chosen = hook_settings.read(text, environment)
    silence_s = hook_settings.seconds(environment.get("CRYOBRIDGE_SILENCE_S", "")) or wire.SILENCE_LIMIT_S
    return Settings(
        strict=chosen.strict,
        keep_volumes=chosen.keep_volumes,
        deadline_s=chosen.deadline_s,
        correction=chosen.correction,
        silence_s=max(1.0, silence_s),
    )

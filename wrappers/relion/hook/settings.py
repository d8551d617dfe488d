"""What the hook itself must know of the user's wishes, from `cryobridge.yaml`, the environment and its options.

The file and the variables travel verbatim to the daemon as well; `schemas.hook_settings` says which of them are the
hook's, and reads those where that is certain. Any other file is read in a process of its own, by the daemon's reader.
As long as a file cannot be used, nothing is deleted and nobody is waited for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from cryobridge.schemas import hook_settings, wire

from .call import TooLargeError, read_whole_text

_READER = "cryobridge.wrappers.relion.settings"
_READER_LIMIT_S = 30.0


class Settings(hook_settings.HookSettings):
    """The hook's own settings.

    Attributes
    ----------
    silence_s
        A daemon or partner that shows no life for this long is taken for dead.
    mistake
        What is wrong with the settings file, in one sentence; None while nothing is known to be.
    """

    silence_s: float = wire.SILENCE_LIMIT_S
    mistake: str | None = None


def load(path: str) -> tuple[str | None, str | None]:
    """The text of a settings file, None where there is none or none that can be read; and why it cannot be read."""
    try:
        return read_whole_text(path, hook_settings.MAX_FILE_BYTES), None
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except TooLargeError:
        return None, hook_settings.TOO_LARGE
    except OSError as error:
        return None, f"{hook_settings.FILE_NAME}: cannot be read ({error.strerror or error})"


def read_surely(text: str | None, environment: Mapping[str, str]) -> Settings:
    """Read any settings file as the daemon does: at once where it holds plain lines, else in a process of its own."""
    if text is None or hook_settings.is_plain(text):
        return read(text, environment)
    return read_by_process(text, environment)


def read(text: str | None, environment: Mapping[str, str]) -> Settings:
    """Merge `CRYOBRIDGE_*` variables with the lines of the file's text; the file wins, as in the daemon."""
    return _settings(hook_settings.read(text, environment), environment)


def safe(environment: Mapping[str, str], mistake: str) -> Settings:
    """The settings where the file cannot be used: volumes are kept, no correction is waited for."""
    by_variables = hook_settings.read(None, environment)
    chosen = hook_settings.HookSettings(by_variables.strict, True, by_variables.deadline_s, False)
    return _settings(chosen, environment, mistake)


def read_by_process(text: str, environment: Mapping[str, str]) -> Settings:
    """Read any YAML, with all its keys, as the daemon does; takes some tenths of a second."""
    # Imported here only: nearly all calls have no file, or one of plain lines.
    import subprocess

    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-m", _READER],
            input=text.encode("utf-8", "replace"),
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_READER_LIMIT_S,
            check=True,
        )
        said = json.loads(ended.stdout)
        if "mistake" in said:
            return safe(environment, str(said["mistake"]))
        return _settings(_checked(said), environment)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return safe(environment, f"{hook_settings.FILE_NAME}: could not be read just now; plain 'key: value' lines can")


def _checked(said: Mapping[str, Any]) -> hook_settings.HookSettings:
    deadline_s = said["deadline_s"]
    return hook_settings.HookSettings(
        strict=said["strict"] is True,
        keep_volumes=said["keep_volumes"] is not False,
        deadline_s=None if deadline_s is None else float(deadline_s),
        correction=said["correction"] is True,
    )


def _settings(
    chosen: hook_settings.HookSettings, environment: Mapping[str, str], mistake: str | None = None
) -> Settings:
    silence_s = hook_settings.seconds(environment.get("CRYOBRIDGE_SILENCE_S", "")) or wire.SILENCE_LIMIT_S
    return Settings(
        strict=chosen.strict,
        keep_volumes=chosen.keep_volumes,
        deadline_s=chosen.deadline_s,
        correction=chosen.correction,
        silence_s=max(1.0, silence_s),
        mistake=mistake,
    )

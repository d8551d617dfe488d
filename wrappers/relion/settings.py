"""The hook's own settings out of any YAML, read in a process of its own: for files that the hook does not read surely.

    python -I -m cryobridge.wrappers.relion.settings < cryobridge.yaml

The file is checked with everything in it, as a worker checks it, and the variables of the environment count as in a
call. Writes one JSON object to standard output: the settings, or `{"mistake": "one sentence"}`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from cryobridge.schemas import hook_settings
from cryobridge.schemas.errors import SettingsInvalid
from cryobridge.schemas.relion import own_settings, resolve_options


def answer(text: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings of the hook as they are by file and variables, or what is wrong with the file under "mistake"."""
    try:
        settings = own_settings(text, environment)
        resolve_options(environment, "", text, settings)
    except SettingsInvalid as error:
        return {"mistake": str(error)}
    return dict(vars(settings))


def main() -> int:
    """Read standard input, write the answer."""
    # Beyond the limit, so that what is too large is refused, not cut.
    data = sys.stdin.buffer.read(4 * hook_settings.MAX_FILE_BYTES)
    json.dump(answer(data.decode("utf-8", "replace"), os.environ), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

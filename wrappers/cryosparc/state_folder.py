"""Where what is known of a server's cards is kept, for its user only."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder(url: str) -> Path:
    """Folder for a server (`$XDG_STATE_HOME`, else `~/.local/state`); it need not exist."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in url.split("://")[-1])
    return state / "cryobridge" / "cryosparc" / name

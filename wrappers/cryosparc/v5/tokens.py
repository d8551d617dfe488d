"""Tokens as `cryosparc-tools` 5 keeps them, those that have expired too; read without the tools' own loading of them.

The client leaves out what has expired, so that "there is none" and "it expired on Monday" look the same to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pydantic

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class StoredToken:
    """A token of one user of one server.

    Attributes
    ----------
    expires
        In UTC.
    """

    email: str
    expires: datetime


class _Session(pydantic.BaseModel):
    expires: pydantic.AwareDatetime


_FILE = pydantic.TypeAdapter(dict[str, dict[str, _Session]])


def stored_tokens(path: Path, url: str, email: str = "") -> list[StoredToken]:
    """The tokens for a server, or for one user of it, in the order in which the client looks at them.

    Raises
    ------
    InputInvalid
        If the file cannot be read, or is not what the client writes.
    """
    try:
        servers = _FILE.validate_json(read_plain(path, _MAX_BYTES))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputInvalid(f"{path}: the stored tokens cannot be read ({error.strerror or error})") from error
    except pydantic.ValidationError as error:
        raise InputInvalid(f"{path}: is damaged, so no token is found; move it away and log in again") from error
    found = servers.get(url, {})
    return [
        StoredToken(user, session.expires.astimezone(UTC))
        for user, session in found.items()
        if not email or user == email
    ]

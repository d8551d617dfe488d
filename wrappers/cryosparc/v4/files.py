"""Files of projects on CryoSPARC 4, sent and fetched; and pictures for logs, which lie in its data base.

Not tried on a real instance; agrees with the client's source 4.7.1.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..documents import CardId
from ..sent_file import opened
from ..server import ServerRefused
from .calls import Calls, answered
from .tables import copied


class V4Files:
    """Files of the projects of one instance."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def fetch(self, project: str, path: str, target: Path, most: int | None = None) -> None:
        """Copy a file of a project here, whole or not at all; raises `InputInvalid` above `most` bytes."""
        with answered(f"{project}: {path} cannot be downloaded"), self._opened(project, path) as answer:
            copied(answer, target, most)

    def read(self, project: str, path: str, limit: int) -> bytes | None:
        """A small file of a project, at most `limit` bytes of it; None where there is none."""
        try:
            with answered(f"{project}: {path} cannot be read"), self._opened(project, path) as answer:
                raw = b""
                while len(raw) < limit and (part := answer.read(limit - len(raw))):
                    raw += part
                return raw
        except ServerRefused:
            # With which status it says that there is no such file is not known.
            if self._is_listed(project, path):
                raise
            return None

    def upload(self, card: CardId, name: str, content: bytes | Path, *, overwrite: bool) -> None:
        """Write a file into the folder of a card."""
        query = {"path": f"{card.job}/{name}", **({"overwrite": 1} if overwrite else {})}
        with answered(f"{card}: {name} cannot be uploaded"), opened(content) as file:
            self._calls.send(f"/projects/{card.project}/files", query, file)

    def asset(self, card: CardId, filename: str, content: bytes) -> Any:
        """Send a picture or a table for a card's log; how it is named there."""
        query = {"format": filename.rpartition(".")[2], "filename": filename}
        with answered(f"{card}: {filename} cannot be sent"):
            return json.loads(self._calls.send(f"/projects/{card.project}/jobs/{card.job}/files", query, content))

    def _opened(self, project: str, path: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._calls.file("/get_project_file", {"project_uid": project, "path": path})

    def _is_listed(self, project: str, path: str) -> bool:
        place = PurePosixPath(path)
        with answered(f"{project}: {place.parent} cannot be listed"):
            there = self._calls.vis(
                "list_project_files", project_uid=project, prefix=str(place.parent), recursive=False
            )
            return place.name in {PurePosixPath(str(one)).name for one in there}

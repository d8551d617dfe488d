"""A user at CryoSPARC's interface, and Live sessions for the stand-in, which has none of its own."""

from __future__ import annotations

import importlib
import sys
from datetime import datetime
from typing import Any

from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server

from .cryosparc import Standin


class CardUser:
    """Somebody who clicks."""

    def __init__(self, server: V5Server) -> None:
        self._api: Any = server._api
        self._server = server

    def make_tag(self, title: str, what: str = "job") -> str:
        """A new tag's id."""
        return str(self._api.tags.create(type=what, title=title).uid)

    def tag(self, card: CardId, title: str = "cryobridge") -> str:
        tag = next((one for one, name in self._server.tags().items() if name == title), None) or self.make_tag(title)
        self._api.jobs.add_tag(card.project, card.job, tag)
        return tag

    def untag(self, card: CardId, tag: str) -> None:
        self._api.jobs.remove_tag(card.project, card.job, tag)

    def retitle(self, card: CardId, title: str) -> None:
        self._api.jobs.set_title(card.project, card.job, title=title)

    def describe(self, card: CardId, old: str, new: str) -> None:
        text = self._server.card(card).description
        assert old in text
        self._server.set_description(card, text.replace(old, new))

    def drop(self, card: CardId, name: str, source: Source) -> None:
        self._server.connect(card, name, source)

    def kill(self, card: CardId) -> None:
        self._api.jobs.kill(card.project, card.job)

    def clear(self, card: CardId) -> None:
        self._api.jobs.clear(card.project, card.job)


class LiveSessions:
    """Live sessions of a stand-in, as documents of the client's own model."""

    def __init__(self, standin: Standin) -> None:
        self._session = importlib.import_module("cryosparc.models.session").Session
        self.all: list[Any] = []
        route = next(one for one in sys.modules["standin"].ROUTES if one["name"] == "sessions.find")
        standin.state.live_sessions = self.all
        route["fn"] = _find_sessions

    def begin(self, project: str = "P1", workspace: str = "W1", refinement: str | None = "J1", **values: Any) -> Any:
        """A session that runs."""
        number = len(self.all) + 1
        session = self._session(
            uid=workspace,
            project_uid=project,
            workspace_type="live",
            session_uid=f"S{number}",
            session_dir=f"S{number}",
            status="running",
            phase2_refine_job=refinement,
            uid_num=int(workspace[1:]),
            project_uid_num=int(project[1:]),
            session_uid_num=number,
            errors=[],
            **values,
        )
        session.id = f"{number:024d}"
        self.all.append(session)
        return session

    @staticmethod
    def refined(session: Any, at: datetime, particles: int) -> None:
        """Its refinement has a new map."""
        session.phase2_refine_last_updated, session.phase2_refine_num_particles_in = at, particles


def _find_sessions(state: Any, query: dict[str, Any]) -> list[Any]:
    wanted, statuses = query.get("project_uid"), query.get("status")
    found = [
        one
        for one in getattr(state, "live_sessions", [])
        if (not wanted or one.project_uid in wanted) and (not statuses or one.status in statuses)
    ]
    return list(sys.modules["standin"].page(found, query))

"""When a card may begin: by a tag, by its title, or by itself once all is connected and has not changed for a while."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cryobridge.schemas.errors import CryobridgeError

from .documents import COMPLETED, Card, CardId
from .inputs import missing_inputs
from .options_block import has_block, read_block
from .request import recipe_for

DEFAULT_TAG = "cryobridge"
STILL_S = 60.0
"""A card that begins by itself has to be left alone for so long first."""
_GO_TITLE = re.compile(r"\s*go\b", re.IGNORECASE)


def is_ours(card: Card) -> bool:
    """Whether a job is a card of cryobridge."""
    return card.is_external and has_block(card.description)


def has_go_sign(card: Card, tags: Mapping[str, str], tag: str) -> bool:
    """Whether a user has told a card to begin: the tag, or a title that begins with "go".

    Parameters
    ----------
    tags
        Titles of tags by their ids.
    """
    titles = {tags.get(one, "").strip().lower() for one in card.tags}
    return tag.lower() in titles or _GO_TITLE.match(card.title) is not None


def begins_by_itself(card: Card) -> bool:
    """Whether a card is to begin once it is connected; one whose options cannot be read is not."""
    try:
        return read_block(card.description).go == "when_connected"
    except CryobridgeError:
        return False


def is_ready(card: Card, status_of_parent: Callable[[CardId], str | None]) -> bool:
    """Whether all that a card needs is connected and finished."""
    try:
        recipe = recipe_for(read_block(card.description).kind)
    except CryobridgeError:
        return False
    if card.complaints or missing_inputs(card, recipe):
        return False
    return all(status_of_parent(CardId(card.id.project, parent)) == COMPLETED for parent in card.parents)

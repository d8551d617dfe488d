"""When a card may begin: by a tag, by its title, or by itself once all is connected and has not changed for a while."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cryobridge.schemas.errors import CryobridgeError

from ..card.inputs import missing_inputs
from ..card.request import recipe_for
from ..documents import COMPLETED, ENDED, KILLED, Card, CardId
from ..options_block import has_block, read_block

DEFAULT_TAG = "cryobridge"
STILL_S = 60.0
"""A card that begins by itself has to be left alone for so long first."""
AGAIN_S = 30.0
"""A card that was cleared and has its go sign still begins again when it was left alone for so long."""
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
    return tag.strip().lower() in titles or _GO_TITLE.match(card.title) is not None


def begins_by_itself(card: Card) -> bool:
    """Whether a card is to begin once it is connected; one whose options cannot be read is not."""
    try:
        return read_block(card.description).go == "when_connected"
    except CryobridgeError:
        return False


def parents_of(card: Card) -> set[CardId]:
    """Jobs whose outputs a card needs."""
    return {CardId(card.id.project, source.job) for one in card.inputs.values() for source in one.sources}


def lacks_inputs(card: Card) -> str | None:
    """What has to be connected still, or None; also where its options cannot be read, which its run will say."""
    try:
        lacking = missing_inputs(card, recipe_for(read_block(card.description).kind))
    except CryobridgeError:
        return None
    return f"waits: {'; '.join(lacking)}" if lacking else None


def waits_for(card: Card, status_of_parent: Callable[[CardId], str | None]) -> str | None:
    """The job that a card waits for, in a sentence, or None: it needs what is finished."""
    for parent in sorted(parents_of(card)):
        status = status_of_parent(parent)
        if status is None:
            return f"waits: {parent.job}, which it needs, cannot be seen; connect another"
        if status in ENDED and status != COMPLETED:
            ended = "was killed" if status == KILLED else status
            return f"waits: {parent.job}, which it needs, {ended}; run that again, or connect another"
        if status != COMPLETED:
            return f"waits for {parent.job}, which is {status}"
    return None

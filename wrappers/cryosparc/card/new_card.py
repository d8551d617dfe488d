"""A new card: made once however often the answer is lost, described, its inputs declared and connected."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryobridge.schemas.errors import InputInvalid

from ..documents import BUILDING, Card, CardId, Source
from ..options_block import CardOptions, request_mark, written_block
from ..patience import CardPatience, insist
from ..recipes import CardRecipe, InputGroup
from ..server import Abilities, CryosparcServer
from .request import recipe_for

_SETTLE_S = 3.0
"""A request whose answer was lost may still be at work on the server."""


@dataclass(frozen=True)
class MadeFor:
    """What a card is made for by a program, of which there must be one only.

    Attributes
    ----------
    request
        Its name: a card of this name is completed, not made again.
    title
        Of the card.
    about
        In its description, in place of how to start it.
    """

    request: str
    title: str
    about: str


def new_card(
    server: CryosparcServer,
    project: str,
    workspace: str,
    options: CardOptions,
    connections: Mapping[str, Source],
    tag: str,
    patience: CardPatience,
    sleep: Callable[[float], None] = time.sleep,
    made_for: MadeFor | None = None,
) -> CardId:
    """Make a card for a kind of job.

    Parameters
    ----------
    connections
        What to connect, by the input's name; the others are left to the user.
    tag
        That starts it, for its instructions.
    made_for
        Where a program makes it by itself.

    Raises
    ------
    InputInvalid
        If a connection is to an input, an output or a slot that there is not; nothing has been made then.
    ServerRefused, Unreachable, NotLoggedIn
        If the server does not do it.
    """
    recipe = recipe_for(options.kind)
    sources = {name: _checked(server, project, recipe, name, source, patience) for name, source in connections.items()}
    new = made_for or MadeFor(
        secrets.token_hex(8), f"cryobridge: {options.kind}", _instructions(options, tag, server.abilities)
    )
    described, edits = _described(recipe, options, new), server.abilities.edits_descriptions
    card = made_once(
        server,
        project,
        workspace,
        new.title,
        request_mark(new.request) if edits else described,
        new.request,
        patience,
        sleep,
        may_be_there=made_for is not None,
    )
    if edits:
        insist(server, lambda: server.set_description(card, described), patience)
    for group in recipe.inputs:
        insist(server, lambda group=group: server.add_input(card, group), patience)  # type: ignore[misc]
    for name, source in sources.items():
        insist(server, lambda name=name, source=source: _connect_once(server, card, name, source), patience)  # type: ignore[misc]
    return card


def made_once(
    server: CryosparcServer,
    project: str,
    workspace: str,
    title: str,
    description: str,
    request: str,
    patience: CardPatience,
    sleep: Callable[[float], None],
    *,
    may_be_there: bool = False,
) -> CardId:
    """Make an external job, once however often the answer is lost: it is known again by a mark in its description.

    Parameters
    ----------
    may_be_there
        Whether an earlier process may have made it, so that it is looked for first.
    """
    asked = False

    def once() -> CardId:
        nonlocal asked
        if asked:
            sleep(_SETTLE_S)
        if asked or may_be_there:
            mark = request_mark(request)
            made = [one.id for one in server.find([project], statuses=[BUILDING]) if mark in one.description]
            if made:
                return min(made)
        asked = True
        return server.create(project, workspace, title, description)

    return insist(server, once, patience, sleep=sleep)


def _connect_once(server: CryosparcServer, card: CardId, name: str, source: Source) -> None:
    now = server.card(card).inputs.get(name)
    if now is None or not any((one.job, one.output) == (source.job, source.output) for one in now.sources):
        server.connect(card, name, source)


def _checked(
    server: CryosparcServer, project: str, recipe: CardRecipe, name: str, source: Source, patience: CardPatience
) -> Source:
    """The output to connect to an input, found where only the job was named; one sentence where it does not fit."""
    group = next((one for one in recipe.inputs if one.name == name), None)
    if group is None:
        names = ", ".join(one.name for one in recipe.inputs)
        raise InputInvalid(f"{recipe.kind} has no input '{name}'; it has {names}")
    job = insist(server, lambda: server.card(CardId(project, source.job)), patience)
    if source.output:
        if source.output not in job.outputs:
            there = ", ".join(job.outputs) or "none"
            raise InputInvalid(f"{job.id} has no output '{source.output}'; it has {there}")
        output = source.output
    else:
        fitting = [key for key in job.outputs if _lacking(job, key, group) is None]
        if len(fitting) != 1:
            what = ", ".join(f"{source.job}:{key}" for key in fitting or job.outputs) or "it has no outputs"
            none = "has no output that fits" if not fitting else "has more than one output that fits"
            raise InputInvalid(f"{job.id} {none} the input '{name}' of {recipe.kind} ({what}); name the output")
        output = fitting[0]
    lacking = _lacking(job, output, group)
    if lacking:
        raise InputInvalid(f"{job.id}:{output} {lacking}; connect another to '{name}'")
    return Source(source.job, output)


def _lacking(job: Card, output: str, group: InputGroup) -> str | None:
    """Why an output cannot be connected to an input, or None."""
    found = job.outputs[output]
    if found.type != group.type:
        return f"is of the type {found.type}, not {group.type}"
    gone = [slot.name for slot in group.slots if slot.required and slot.name not in found.results]
    return f"has no {gone[0]}" if gone else None


def _instructions(options: CardOptions, tag: str, abilities: Abilities) -> str:
    by_tag = f"the tag '{tag}', or " if abilities.has_tags else ""
    start = (
        "It begins by itself once its inputs are connected and nothing has changed for a minute."
        if options.go == "when_connected"
        else f"To start it, give it {by_tag}a title that begins with 'go'."
    )
    return f"Connect the inputs. {start}"


def _described(recipe: CardRecipe, options: CardOptions, new: MadeFor) -> str:
    return (
        f"{recipe.help}\n\nDone by cryobridge. {new.about} Do not press 'Queue': CryoSPARC itself "
        "cannot run it. To stop it, press 'Kill'. Options are in the block below: take away the # in front of "
        "a line to change it.\n\n" + written_block(options, new.request) + "\n"
    )

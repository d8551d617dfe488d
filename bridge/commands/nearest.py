"""Groups of commands that name the nearest command to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

_CUTOFF = 0.5
"""Ours: `fcs3d` and `corect` are near enough, words that have nothing to do with a command are not."""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The words most like `word`, at most three, the nearest first; those that begin with it count as near."""
    names = sorted(known)
    written = word.lower().replace("_", "-")
    begun = [name for name in names if len(written) > 1 and name.startswith(written)]
    return list(dict.fromkeys([*begun, *difflib.get_close_matches(written, names, n=3, cutoff=_CUTOFF)]))[:3]


class NearestGroup(click.Group):
    """A group whose commands need not be spelt without a mistake to be found in its answer."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command.

        Raises
        ------
        click.UsageError
            If there is none of this name; says which are like it, or all there are.
        """
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            known = self.list_commands(ctx)
            near = nearest(word, known)
            advice = f"did you mean {' or '.join(map(repr, near))}?" if near else f"commands: {', '.join(known)}"
            ctx.fail(f"There is no command '{word}'; {advice}")
        return super().resolve_command(ctx, args)

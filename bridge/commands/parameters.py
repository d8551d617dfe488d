"""Arguments and options of kinds as click takes them: made from fields, called as they were typed.

Values are checked by the model of the kind, so that every way in gives the same answer. What is checked here is only
what a model cannot say in the words of a command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cryobridge.schemas.describe import FieldDescription, KindDescription

INPUTS, OPTIONS, RUNNING, COMMAND = "Inputs", "Options", "Running", "This command"
"""Sections of a help text."""


def with_dashes(word: str) -> str:
    """An option as it is looked for, so that the peers' `--limit_res` is found too."""
    return word.replace("_", "-")


class KindCommand(click.Command):
    """A command whose help has its options in sections, and whose errors name options as they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed, then do as every command does."""
        ctx.meta[__name__] = tuple(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options, in the order in which they were declared."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, KindArgument):
                record: tuple[str, str] | None = (parameter.make_metavar(ctx), parameter.words)
            else:
                record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", COMMAND), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


class KindOption(click.Option):
    """An option that belongs to a section of the help."""

    section = COMMAND

    def typed(self, ctx: click.Context) -> str:
        """The option as it was typed; its first spelling where it was not."""
        words = (word.partition("=")[0] for word in ctx.meta.get(__name__, ()))
        known = {*self.opts, *self.secondary_opts}
        return next((word for word in words if word.startswith("-") and with_dashes(word) in known), self.opts[0])

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """What an error calls it."""
        return f"'{self.opts[0] if ctx is None else self.typed(ctx)}'"


class KindArgument(click.Argument):
    """An argument with a description."""

    section = INPUTS
    words = ""

    def typed(self, ctx: click.Context) -> str:
        """The argument as the help calls it."""
        return self.make_metavar(ctx)


class _Number(click.ParamType[float]):
    """A number, or a whole one, said in words that are no names of types."""

    def __init__(self, kind: type[float] | type[int]) -> None:
        self._kind = kind
        self.name = "integer" if kind is int else "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | int:
        """Read it; what is no number is a wrong usage."""
        try:
            return self._kind(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no {'whole ' if self._kind is int else ''}number.", param, ctx)


def option(name: str, section: str, field: FieldDescription) -> click.Option:
    """One option of a kind."""
    spellings = (field.key, *field.aliases)
    flags = list(dict.fromkeys(f"--{with_dashes(known.replace('.', '-'))}" for known in spellings))
    # Not given stays None, so that the model's own default counts; here it is only shown.
    default = _default(field)
    note = "  [required]" if field.required and not field.is_path else f"  [default: {default}]" if default else ""
    words = f"{field.help}{note}"
    if field.is_flag:
        # What is on by default needs a way to be switched off.
        if field.default_on_cpu or field.default_on_gpu:
            flags = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags]
        made = KindOption([name, *flags], is_flag=True, default=None, help=words)
    else:
        # One letter is what the peers' users type with one dash.
        flags += [f"-{known}" for known in spellings if len(known) == 1]
        many = field.type == "files"
        needed = field.required and field.is_path
        made = KindOption(
            [name, *flags], type=_type_of(field), default=None, help=words, multiple=many, required=needed
        )
    made.section = section
    return made


def argument(name: str, field: FieldDescription) -> click.Argument:
    """An input that must be given; a list takes all words that are left."""
    many = field.type == "files"
    metavar = field.key.replace(".", "_").upper()
    made = KindArgument(
        [name], type=_type_of(field), metavar=f"{metavar}..." if many else metavar, nargs=-1 if many else 1
    )
    made.required = True
    made.words = field.help
    return made


def output_option(kind: KindDescription) -> click.Option:
    """The folder for the result, under every name that the kind knows it by."""
    default = kind.output_default
    # A default of None is one to click: it would be as if the folder need not be given.
    given: dict[str, Any] = {"required": True} if default is None else {"default": default}
    made = KindOption(
        ["-o", "--output", *(f"--{with_dashes(name)}" for name in kind.output_names)],
        type=click.Path(path_type=Path),
        help="folder for the result; it is made" + ("" if default is None else f"  [default: {default}]"),
        **given,
    )
    made.section = INPUTS
    return made


def _type_of(field: FieldDescription) -> Any:
    if field.is_path:
        return click.Path(path_type=Path)
    if field.type == "choice":
        return click.Choice(field.choices)
    return {"integer": _Number(int), "number": _Number(float)}.get(field.type, str)


def _default(field: FieldDescription) -> str:
    cpu, gpu = field.default_on_cpu, field.default_on_gpu
    if field.depends_on_device:
        return f"{cpu} on a CPU, {gpu} on a GPU"
    return "" if cpu in (None, False, (), []) else str(cpu)

"""The command `cryobridge`: the group of all commands, and how errors become one sentence and an exit code.

0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 degraded, 130 stopped by Ctrl-C; docs/commands.md says which is when.
"""

from __future__ import annotations

import click

import cryobridge
from cryobridge.schemas import wire
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable

from ..interrupted import interrupted
from ..terminal import printable
from . import checking, cryosparc, daemon, install, jobs, logs, operating, top, with_program
from .kinds import families
from .nearest import NearestGroup


class Program(NearestGroup):
    """The group of all commands; Ctrl-C leaves it as what it is, where click would print an empty line."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        with interrupted(""):
            return super().invoke(ctx)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(cryobridge.__version__, prog_name="cryobridge", message="%(prog)s %(version)s")
def cryobridge_command() -> None:
    """Answer refinement programs from a warm network, and run the same methods as jobs.

    RELION needs no command of this: set RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE=cryobridge-relion and add
    --external_reconstruct to the refinement. 'cryobridge doctor' checks that it works.
    """


_modules = (daemon, logs, top, operating, jobs, checking, install, cryosparc, with_program)
for _command in (*(command for module in _modules for command in module.COMMANDS), *families()):
    cryobridge_command.add_command(_command)


def answer(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code.

    Raises
    ------
    KeyboardInterrupt, Interrupted
        If Ctrl-C came.
    """
    try:
        code = cryobridge_command.main(args=arguments, prog_name="cryobridge", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DaemonUnavailable as error:
        _complain(error)
        return wire.EXIT_NO_DAEMON
    except CryobridgeError as error:
        _complain(error)
        return wire.EXIT_FAILED
    return code if isinstance(code, int) else wire.EXIT_OK


def _complain(error: CryobridgeError) -> None:
    """Say what went wrong; names of files and words of servers in it do not reach the terminal as they are."""
    click.echo("\n".join(line and printable(line) for line in f"cryobridge: {error}".split("\n")), err=True)

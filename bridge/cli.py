"""The command `cryobridge`.

Holds what all commands share: the group, `--version`, and how errors become one sentence and an exit code
(0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 degraded). The commands themselves are in `commands`.
"""

from __future__ import annotations

import sys

import click

import cryobridge
from cryobridge.schemas import wire
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable

from .commands import checking, daemon, jobs
from .commands.kinds import families

EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(cryobridge.__version__, prog_name="cryobridge", message="%(prog)s %(version)s")
def cryobridge_command() -> None:
    """Answer refinement programs from a warm network, and run the same methods as jobs.

    RELION needs no command of this: set RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE=cryobridge-relion and add
    --external_reconstruct to the refinement. 'cryobridge doctor' checks that it works.
    """


for _command in (*daemon.COMMANDS, *jobs.COMMANDS, *checking.COMMANDS, *families()):
    cryobridge_command.add_command(_command)


def run(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        code = cryobridge_command.main(args=arguments, prog_name="cryobridge", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DaemonUnavailable as error:
        click.echo(f"cryobridge: {error}", err=True)
        return wire.EXIT_NO_DAEMON
    except CryobridgeError as error:
        click.echo(f"cryobridge: {error}", err=True)
        return wire.EXIT_FAILED
    return code if isinstance(code, int) else wire.EXIT_OK


def main() -> None:
    """Start the command from a shell."""
    sys.exit(run())


if __name__ == "__main__":
    main()

"""`cryobridge with -- PROGRAM`: run a refinement with a daemon of its own, where none stays resident."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from cryobridge.schemas.errors import CryobridgeError

from ..terminal import printable

HOOK = "cryobridge-relion"


@click.command("with", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--keep-log", is_flag=True, help="Keep the daemon's log, even where all went well.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def with_program(keep_log: bool, command: tuple[str, ...]) -> int:
    """Run COMMAND, e.g. 'mpirun -n 3 relion_refine_mpi ...', with a daemon that is there for it alone.

    For clusters where no daemon stays. The program's exit code is this command's; at the end it says what the
    refinement got. Where the daemon cannot be started, the program runs all the same, with RELION's own maps.
    """
    from cryobridge.wrappers.relion.refine_command import complaint, read_command, several_hosts

    from ..accompanied import AccompaniedProgram, notes_on_hosts
    from ..run_summary import RefinementRecords

    told = read_command(command)
    why = complaint(told)
    if why is not None:
        raise click.UsageError(why)
    if shutil.which(command[0]) is None:
        raise click.UsageError(f"{printable(command[0])}: there is no such program")
    hook = Path(sys.executable).with_name(HOOK)
    if not os.access(hook, os.X_OK):
        raise CryobridgeError(f"{hook} is not there, so RELION could call nothing; install cryobridge again")
    hosts = several_hosts(command, os.environ)
    for note in notes_on_hosts(hosts, command) if hosts else ():
        _say(note)
    records = None if told.root is None else RefinementRecords(told.root.absolute(), told.first_iteration)
    return AccompaniedProgram(command, hook, records, _say, keep_log=keep_log).run()


def _say(line: str) -> None:
    click.echo(f"cryobridge: {printable(line)}")


COMMANDS = (with_program,)

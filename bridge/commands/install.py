"""The command that makes cryobridge a service: writes its files and says what to type next."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cryobridge.schemas import wire
from cryobridge.schemas.errors import CryobridgeError

from ..terminal import printable


@click.command()
@click.option("--system", "scope", flag_value="system", help="For all users of this machine, by a user of its own.")
@click.option("--user", "scope", flag_value="user", help="For you alone, without root.")
@click.option("--root", type=click.Path(path_type=Path), help="Write below this folder, as a packager does.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
def install(scope: str | None, root: Path | None, dry_run: bool) -> int:
    """Install the daemon as a service of systemd: write its units and an example configuration, say what to type next.

    Each file is written whole; a configuration that is there stays as it is. docs/how-to/operate.md tells the rest.
    """
    if scope is None:
        raise click.UsageError("say for whom: --system or --user")
    from ..install.service_files import Scope, hidden_parts, own_program, service_files
    from ..install.writing import Deed, deed_for, install_file, next_commands

    chosen = Scope(scope)
    program = own_program()
    if chosen is Scope.SYSTEM and root is None:
        if os.geteuid() != 0 and not dry_run:
            raise CryobridgeError("only root can install for all users; use sudo, or --user for yourself")
        hidden = hidden_parts(program)
        if hidden:
            raise CryobridgeError(
                f"the service could not read {hidden[0]}, which is hidden from it or not open to all; "
                "install cryobridge below /opt, say, with a Python that all users can run (docs/how-to/operate.md)"
            )
    is_upgrade = False
    for file in service_files(chosen, program, root or Path("/"), os.environ):
        deed = deed_for(file) if dry_run else install_file(file)
        is_upgrade = is_upgrade or (deed is not Deed.WRITTEN and not file.is_config)
        click.echo(f"{deed}: {printable(file.path)}")
    click.echo("nothing was written; to do it, leave --dry-run out" if dry_run else "then type:")
    if not dry_run:
        for command in next_commands(chosen, is_upgrade=is_upgrade):
            click.echo(f"  {command}")
    return wire.EXIT_OK


COMMANDS = (install,)

"""The command `cryobridge cryosparc doctor`."""

from __future__ import annotations

import os

import click

from .cryosparc_options import PASSWORD, email_option, url_option
from .daemon import json_option
from .findings import show


@click.command()
@url_option
@email_option
@click.option("--project", "projects", multiple=True, help="Project whose folder is looked at; may be repeated.")
@click.option("--workspace", help="Workspace of the one project given; a card is made in it, tried and ended.")
@json_option
def doctor(url: str, email: str, projects: tuple[str, ...], workspace: str | None, as_json: bool) -> int:
    """Check the way to CryoSPARC: version, login, daemon; with --project its folder, with --workspace a whole card.

    Each line says ok, warn or fail, and what to do, as soon as it is found. Exit 0: nothing failed; 1: something did.
    """
    from cryobridge.wrappers.cryosparc.documents import project_id, workspace_id
    from cryobridge.wrappers.cryosparc.versions import checked_url

    from ..doctor.cryosparc import examine_cryosparc

    if workspace is not None and len(projects) != 1:
        raise click.UsageError("--workspace is one of a project: give one --project with it")
    findings = examine_cryosparc(
        checked_url(url),
        email,
        os.environ.get(PASSWORD, ""),
        [project_id(one) for one in projects],
        None if workspace is None else workspace_id(workspace),
    )
    return show(findings, as_json=as_json)

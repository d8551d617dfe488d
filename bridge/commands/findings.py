"""What the doctors print: a line for each finding as soon as it is found, or all of them as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ..terminal import printable
from . import render

if TYPE_CHECKING:
    from ..doctor.finding import Finding


def show(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print findings; the exit code: 1 if something failed, else 0."""
    from ..doctor.finding import Level

    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            level = click.style(f"{finding.level:<4}", fg=finding.level.colour)
            click.echo(f"{level}  {finding.check}: {printable(finding.text)}")
            if finding.advice:
                click.echo(f"      -> {printable(finding.advice)}")
    if as_json:
        render.as_json([finding.as_dict() for finding in found])
    return int(any(finding.level is Level.FAIL for finding in found))

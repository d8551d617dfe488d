"""Options that every command beside CryoSPARC has, and the variables that stand for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

URL = "CRYOSPARC_BASE_URL"
EMAIL, PASSWORD = "CRYOSPARC_EMAIL", "CRYOSPARC_PASSWORD"


def url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--url`, which has to be given."""
    return _url_option(command, required=True)


def optional_url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--url`, empty where it is not given."""
    return _url_option(command, required=False)


def _url_option(command: Callable[..., Any], *, required: bool) -> Callable[..., Any]:
    return click.option(
        "--url",
        envvar=URL,
        required=required,
        default=_url_of_environment,
        help="CryoSPARC's address, as in the browser.",
        show_envvar=True,
    )(command)


def _url_of_environment() -> str | None:
    """What the variables give that CryoSPARC's own tools read."""
    from cryobridge.wrappers.cryosparc.v4.login import url_of_environment

    return url_of_environment()


def email_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--email`."""
    return click.option("--email", envvar=EMAIL, default="", help="User to act as.", show_envvar=True)(command)

"""The output folder of a command goes by every name that its kind knows, and has a default where the kind has one."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from cryobridge.bridge.commands.kinds import command_of
from cryobridge.schemas.job import JOB_MODELS


def output_of(kind: str, *words: str) -> object:
    command = command_of(JOB_MODELS[kind])
    return command.make_context(kind, list(words)).params["output"]


@pytest.mark.parametrize("name", ["-o", "--output", "--output_dir", "--deconv_folder", "--deconv-folder"])
def test_a_kinds_own_name_of_the_folder_is_taken(name: str) -> None:
    assert output_of("tomo.deconv", "t.star", name, "there") == Path("there")


def test_without_a_name_it_is_the_kinds_default() -> None:
    assert output_of("tomo.deconv", "t.star") == Path("deconv")
    with pytest.raises(click.MissingParameter, match="output"):
        output_of("map.whiten", "map.mrc")

"""What may be asked of SLURM: a small alphabet, a few options, and nothing that a shell could make something of."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cryobridge.schemas.config import load
from cryobridge.schemas.errors import InputInvalid, OptionsInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.slurm import SlurmConfig, SlurmDefaults, SlurmResources


def asked(**slurm: Any) -> SlurmResources:
    run = {"executor": "slurm", "slurm": slurm}
    found = parse_job({"schema": "cryobridge/job/1", "kind": "check", "output": "/o", "run": run}, "t").run.slurm
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partition", "a b"),
        ("partition", "$(touch x)"),
        ("partition", "a;b"),
        ("partition", "-a"),
        ("partition", "a\n#SBATCH --uid=0"),
        ("account", "a,b"),
        ("account", "`id`"),
        ("gpus", -1),
        ("gpus", "2; rm"),
        ("time_h", 0),
        ("time_h", "12:00:00"),
        ("memory_GB", "64G"),
        ("extra", ["--wrap=true"]),
        ("extra", ["--array=0-9"]),
        ("extra", ["--export=ALL"]),
        ("extra", ["--constraint=a|b"]),
        ("extra", ["--constraint", "a100"]),
        ("extra", ["-p", "gpu"]),
        ("extra", ["--qos=$HOME"]),
        ("extra", ["--nice"] * 17),
        ("nodes", 2),
    ],
)
def test_what_is_not_to_be_asked_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(OptionsInvalid, match=re.escape(key)):
        asked(**{key: value})


@given(st.text(max_size=30))
def test_no_text_brings_a_sign_of_the_shell_through(text: str) -> None:
    fine = set(string.ascii_letters + string.digits + "_.,:@%+/=-")
    for make in (
        lambda: SlurmResources(partition=text),
        lambda: SlurmResources(account=text),
        lambda: SlurmResources(extra=(f"--qos={text}",)),
    ):
        try:
            made = make()
        except ValidationError:
            continue
        assert set("".join([made.partition or "", made.account or "", *made.extra])) <= fine


def test_an_option_that_is_nearly_one_is_told_its_name() -> None:
    with pytest.raises(OptionsInvalid, match="did you mean --constraint"):
        asked(extra=["--constrain=a100"])


def test_a_command_line_gives_several_options_as_one_text() -> None:
    assert asked(extra="--qos=high --exclusive").extra == ("--qos=high", "--exclusive")


def test_resources_need_their_executor_and_numbered_devices_are_this_machines() -> None:
    base = {"schema": "cryobridge/job/1", "kind": "check", "output": "/o"}
    with pytest.raises(OptionsInvalid, match="executor: slurm"):
        parse_job({**base, "run": {"slurm": {"gpus": 1}}}, "t")
    with pytest.raises(OptionsInvalid, match=r"slurm\.gpus"):
        parse_job({**base, "run": {"executor": "slurm", "devices": "0,1"}}, "t")


def test_a_jobs_wishes_are_laid_over_the_defaults() -> None:
    defaults = SlurmDefaults(partition="a", extra=("--nice",))
    made = SlurmResources(gpus=0, extra=("--qos=x",)).over(defaults)
    assert (made.partition, made.gpus, made.cpus, made.extra) == ("a", 0, 4, ("--nice", "--qos=x"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SUBMIT", ""),
        ("SUBMIT", "'a"),
        ("SUBMIT", "'\"a'"),
        ("ENVIRONMENT", '["a\\nb"]'),
        ("POLL_S", "0"),
        ("FOLDER", '"a\\nb"'),
    ],
)
def test_settings_that_cannot_be_used_name_their_variable(key: str, value: str) -> None:
    if value:
        with pytest.raises(InputInvalid, match=key):
            load(environment={f"CRYOBRIDGE_SLURM__{key}": value})
    else:
        with pytest.raises(ValidationError):
            SlurmConfig(submit=value)


def test_accounting_may_be_absent() -> None:
    assert load(environment={"CRYOBRIDGE_SLURM__ACCOUNTING": "null"}).config.slurm.accounting is None

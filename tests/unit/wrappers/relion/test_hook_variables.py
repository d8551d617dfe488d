"""Misspelt variables: which are told, and that the hook's list is the list of all programs."""

import pytest

from cryobridge.schemas.variables import known_variables
from cryobridge.wrappers.relion.hook.variables import KNOWN, misspelt


def test_the_hook_knows_every_variable_of_every_program():
    assert known_variables() == KNOWN, "copy what differs into wrappers/relion/hook/variables.py"


def test_known_variables_and_those_of_others_are_not_told():
    assert misspelt(dict.fromkeys(KNOWN, "1") | {"PATH": "/bin", "RELION_CRYOBRIDGE": "x"}) is None
    assert misspelt({"CRYOSPARC_BRANCH": "x", "ISOLATED_NET_PATH": "x", "CRYOBRIDGE_STRCT": ""}) is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CRYOBRIDGE_KEEP_VOLUME", "CRYOBRIDGE_KEEP_VOLUMES"),
        ("CRYOBRIDGE_STRCT", "CRYOBRIDGE_STRICT"),
        ("CRYOBRIDGE_SOKET", "CRYOBRIDGE_SOCKET"),
        ("CRYOBRIDGE_SILENCE", "CRYOBRIDGE_SILENCE_S"),
        ("ISONET_BETTA", "ISONET_BETA"),
        ("ISONET_START_HEALPX", "ISONET_START_HEALPIX"),
        ("CRYOBRIDGE_LIMITS__CALS", "CRYOBRIDGE_LIMITS__CALLS"),
        ("CRYOBRIGE_STRICT", "CRYOBRIDGE_STRICT"),
        ("cryobridge_strict", "CRYOBRIDGE_STRICT"),
        ("ISNET_BETA", "ISONET_BETA"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_there_is(name, near):
    said = misspelt({name: "1"})
    assert said == f"{name} is no variable of cryobridge and is ignored; did you mean {near}?"


def test_many_or_strange_variables_make_one_short_sentence():
    said = misspelt({f"CRYOBRIDGE_{number:03d}" + "Q" * 500: "1" for number in range(40)})
    assert said.endswith("and 37 more")
    assert "did you mean" not in said
    assert len(said) < 400

"""What the help of a kind says and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cryobridge.bridge import cli


def test_one_letter_of_the_peers_has_one_dash(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["vae", "volumes", "--help"]) == 0
    assert {"-n", "-z", "-d"} <= set(capsys.readouterr().out.replace(",", " ").split())


@pytest.mark.parametrize("kind", ["vae volumes", "map fsc3d"])
def test_the_help_of_a_kind_loads_no_other_kind_and_nothing_that_computes(kind: str) -> None:
    program = (
        f"import sys\nfrom cryobridge.bridge import cli\ncli.run([*'{kind}'.split(), '--help'])\nprint(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = set(shown.splitlines()[-1].split())
    assert f"cryobridge.schemas.kinds.{kind.replace(' ', '.')}" in loaded
    assert len({name for name in loaded if name.startswith("cryobridge.schemas.kinds.") and name.count(".") > 3}) == 1
    assert not {"torch", "numpy", "scipy", "sklearn", "matplotlib", "rich"} & loaded

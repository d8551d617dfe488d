"""The table of cryoDRGN's commands: every command of ours in it is understood, with every option."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cryobridge.bridge import cli
from cryobridge.bridge.commands import kinds
from cryobridge.schemas import job as jobs
from cryobridge.schemas.job import user_kinds

DOCUMENT = Path(__file__).parents[2] / "docs" / "from-cryodrgn.md"
COMMANDS = list(dict.fromkeys(re.findall(r"`(cryobridge [a-z]+ [a-z0-9]+ [^`]*)`", DOCUMENT.read_text())))
TRANSLATED = re.findall(
    r"[\w.]+",
    "downsample parse_pose_star parse_pose_csparc parse_ctf_star parse_ctf_csparc parse_star backproject_voxel "
    "preprocess train_vae train_nn train_dec eval_images eval_vol eval_decoder analyze analyze.sh get_z_pcs "
    "pc_traversal direct_traversal graph_traversal analyze_landscape analyze_landscape_full filter abinit "
    "abinit_het_old abinit_homo_old dashboard parse_relion parse_warptools add_psize analyze_convergence clean "
    "concat_pkls filter_pkl filter_star filter_cs filter_mrcs write_star write_cs select_clusters select_random "
    "flip_hand invert_contrast phase_flip translate_mrcs fsc plot_fsc gen_mask make_movies plot_classes view_mrcs "
    "view_header view_cs_header",
)
"""Every command of cryoDRGN 0.1, 0.2 and 4.3.1, and of its cryodrgn_utils."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_table_is_understood(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(kinds, "run_in_foreground", lambda path, **_: (seen.append(json.loads(path.read_text())), 0)[1])
    # Its files are made up.
    monkeypatch.setattr(jobs, "check_paths", lambda _: None)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    assert cli.run(words) == 0
    [spec] = seen
    assert spec["kind"] == ".".join(words[:2])


def test_every_command_of_cryodrgn_is_in_the_document() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in TRANSLATED if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text)] == []


def test_every_kind_that_cryodrgn_has_is_named() -> None:
    named = {".".join(shlex.split(command)[1:3]) for command in COMMANDS}
    ours = {kind for kind in user_kinds() if kind.startswith(("vae.", "particles."))}
    assert ours - named <= {"particles.to_relion", "particles.to_cryosparc"}

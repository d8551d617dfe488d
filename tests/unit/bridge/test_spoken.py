"""Messages in keys, said again in flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.spoken import as_typed, names_beside

NAMES = {
    "inputs.mask": "--mask_file",
    "inputs.network": "--network",
    "options.limit_resolution_A": "--limit_res",
    "options.mode": "--mode",
    "options.batch": "--batch-size",
    "run.overwrite": "--overwrite",
    "run.devices": "--gpu",
    "output": "-o",
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("they disagree; give limit_resolution_A", "they disagree; give --limit_res"),
        ("give limit_resolution_A.", "give --limit_res."),
        ("'options.limit_resolution_A': is missing", "--limit_res: is missing"),
        ("/data/mask.mrc (mask) is a folder", "/data/mask.mrc (--mask_file) is a folder"),
        ("give another folder, or set 'overwrite: true' under 'run'", "give another folder, or give --overwrite"),
        ("choose 'mode: independent'", "choose --mode independent"),
        ("options: batch 4 is too many", "--batch-size 4 is too many"),
        ("run.devices is gpu, but there is none", "--gpu is gpu, but there is none"),
        ("the mask is empty; the mode of a batch", "the mask is empty; the mode of a batch"),
        ("/a/limit_resolution_A/x.mrc: is damaged", "/a/limit_resolution_A/x.mrc: is damaged"),
    ],
)
def test_keys_are_flags_and_words_stay_words(text: str, said: str) -> None:
    assert as_typed(text, NAMES) == said


def test_who_wrote_a_job_file_is_answered_in_its_keys(tmp_path: Path) -> None:
    text = "options: give limit_resolution_A"
    assert as_typed(text, names_beside(tmp_path / "job.yaml")) == text

"""What was typed and makes no command: exit 2, and a sentence in the words of the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cryobridge.bridge import cli
from cryobridge.bridge.commands import jobs, kinds
from cryobridge.bridge.commands.nearest import nearest

FSC3D = ["map", "fsc3d", "a.mrc", "b.mrc", "-o", "out"]
CORRECT = ["map", "correct", "a.mrc", "b.mrc", "-o", "out"]
WRONG_USAGE = {
    "command": (["stauts"], "did you mean 'status'"),
    "half a command": (["st"], "'status'"),
    "nothing like a command": (["xyzzy"], "commands: "),
    "kind": (["map", "fcs3d"], "did you mean 'fsc3d'?"),
    "sub-command": (["config", "shwo"], "did you mean 'show'?"),
    "option": ([*FSC3D, "--limitres", "3"], "'--limit-res'"),
    "no number": ([*FSC3D, "--limit_res", "abc"], "'--limit_res': 'abc' is no number"),
    "no whole number": ([*CORRECT, "--steps", "2.5"], "'--steps': '2.5' is no whole number"),
    "not a number": ([*FSC3D, "--limit-res", "nan"], "--limit-res: Input should be a finite number"),
    "negative": ([*FSC3D, "--limit_res=-3"], "--limit_res: Input should be greater than 0"),
    "choice": ([*FSC3D, "--form", "sumratio"], "'--form': 'sumratio' is not one of"),
    "point group": ([*CORRECT, "--sym", "C7x"], "--sym: 'C7x' is no point group; give e.g. C3, D7, T, O, I1"),
    "devices": ([*FSC3D, "--gpuID", "fast"], "--gpuID: should be auto, cpu, gpu, or GPU numbers"),
    "contradiction": ([*CORRECT, "--batch_size", "4", "--acc-batches", "3"], "--batch_size 4 is not a multiple of"),
    "the same file twice": (["map", "fsc3d", "a.mrc", "a.mrc", "-o", "out"], "are the same file"),
    "no output": (["map", "fsc3d", "a.mrc", "b.mrc"], "'-o'"),
    "wait without submit": ([*FSC3D, "--wait"], "--wait and --json go with --submit"),
    "devices of the check": (["check", "--devices", "fast"], "--devices: should be auto"),
}
JARGON = re.compile(r"pattern|\(\?|\^|\$|valid float|valid integer|Literal|pydantic|options\.|inputs\.|run\.\w")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (kinds, jobs):
        monkeypatch.setattr(module, "run_in_foreground", lambda *_, **__: pytest.fail("was started"))
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).write_bytes(name.encode())


@pytest.mark.parametrize(("arguments", "words"), WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage_is_exit_2_in_the_words_of_the_command_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert not JARGON.search(said), said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["map", "fsc3d", "a.mrc", "c.mrc", "-o", "out"], "c.mrc (HALF2) does not exist"),
        (["map", "fsc3d", "a.mrc", "b.mrc", "-o", "a.mrc"], "a.mrc (-o) is a file"),
        (
            ["map", "fsc3d", "a.mrc", "b.mrc", "--output", "done"],
            "(--output) holds a finished result; give another fold",
        ),
        ([*CORRECT, "--mask_file", "none.mrc"], "none.mrc (--mask_file) does not exist"),
    ],
    ids=["no such file", "output is a file", "finished", "no such mask"],
)
def test_files_that_cannot_be_used_are_exit_1(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "result.json").write_text("{}")
    assert cli.run(arguments) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "'run'" not in said


def test_a_job_file_is_answered_with_its_key_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["schema: cryobridge/job/1", "kind: map.fsc3d", "inputs: {half1: a.mrc, half2: b.mrc}", "output: out"]
    (tmp_path / "job.yaml").write_text("\n".join([*lines, "options:", "  form: sum_ratio", "  limit_res: high"]))
    assert cli.run(["run", "job.yaml"]) == 1
    assert "job.yaml: line 7: 'options.limit_res': Input should be a valid number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "first"), [("fcs3d", "fsc3d"), ("FSC3D", "fsc3d"), ("corect", "correct"), ("diag", "diagnose")]
)
def test_the_nearest_word_comes_first(word: str, first: str) -> None:
    assert nearest(word, ["combine", "correct", "diagnose", "fsc3d", "lowpass"])[0] == first


def test_nothing_is_near_a_word_that_has_nothing_to_do_with_any() -> None:
    assert nearest("xyzzy", ["combine", "correct"]) == []

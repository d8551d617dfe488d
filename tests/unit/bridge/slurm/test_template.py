"""Operators' templates: what is filled in, what is left out, what is refused, and that nothing is ever evaluated."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.bridge.slurm.template import DEFAULT_NAME, LISTS, WORDS, check, fill, read_template
from cryobridge.schemas.errors import InputInvalid

TEXT = st.text(st.characters(blacklist_characters="\n\r\0", blacklist_categories=("Cs",)), max_size=40)


def filled(text: str, environment: str = "", command: tuple[str, ...] = ("run",), **words: str) -> str:
    return fill(text, {**dict.fromkeys(WORDS), **words}, {"extra": (), "command": command}, environment)


def test_the_template_that_comes_with_the_program_is_whole() -> None:
    text = read_template(None)
    script = filled(text, "module load x", name="n", log="/s/slurm.out", partition="gpu", time_min="90", threads="2")
    assert "#SBATCH --partition=gpu\n" in script
    assert "#SBATCH --time=90\n" in script
    assert "--account" not in script
    assert "--gres" not in [line[8:14] for line in script.splitlines() if line.startswith("#SBATCH")]
    assert "\nmodule load x\n" in script
    assert script.endswith("exec run\n")
    assert "{{" not in "".join(line for line in script.splitlines() if not line.startswith("# "))


def test_a_shell_reads_the_filled_template(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(filled(read_template(None), name="n", log="l"))
    assert subprocess.run(["bash", "-n", str(tmp_path / "s")], check=False).returncode == 0


@given(TEXT)
def test_a_value_is_one_word_whatever_it_holds(value: str) -> None:
    script = filled("#!/bin/sh\n#SBATCH --output={{ log }}\nexec {{command}}\n", log=value)
    assert shlex.split(script.split("\n")[1].removeprefix("#SBATCH ")) == [f"--output={value}"]


@pytest.mark.parametrize("value", ["$(touch made)", "`touch made`", "a; touch made", "a' 'b", '"$HOME"', "--x=[a|b]&"])
def test_nothing_of_a_value_is_evaluated_by_the_shell(tmp_path: Path, value: str) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = filled("#!/bin/bash\nprintf %s {{ command }}\n", command=(value,))
    ran = subprocess.run([bash, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == value
    assert not (tmp_path / "made").exists()


def test_a_placeholder_that_comes_out_of_a_value_is_not_filled() -> None:
    assert "'{{ name }}'" in filled("#!/bin/sh\n{{ command }}", command=("{{ name }}",), name="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\n#SBATCH -p {{ partion }}\n{{ command }}", "line 2: .*did you mean {{ partition }}"),
        ("#!/bin/sh\n{{ zzzz }}\n{{ command }}", "there are name, log"),
        ("#!/bin/sh\n#SBATCH -p {{ partition }}\n", "never starts the job"),
        ("#!/bin/sh\n# exec {{ command }}\n", "never starts the job"),
        ("exec {{ command }}", "begin it with #!"),
    ],
)
def test_a_template_that_cannot_work_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        check(text, "t")


def test_comments_may_speak_of_placeholders() -> None:
    check("#!/bin/sh\n# see {{ anything }}\n##SBATCH -p {{ old }}\nexec {{ command }}", "t")


def test_an_operators_file_is_read_and_named_where_it_is_wrong(tmp_path: Path) -> None:
    own = tmp_path / "own.sbatch"
    with pytest.raises(InputInvalid, match=r"own\.sbatch"):
        read_template(own)
    own.write_text("#!/bin/sh\n{{ comand }}\n")
    with pytest.raises(InputInvalid, match=r"own\.sbatch: line 2.*command"):
        read_template(own)


def test_the_default_names_every_placeholder(repository: Path) -> None:
    text = (repository / "bridge" / "slurm" / DEFAULT_NAME).read_text()
    assert [word for word in (*WORDS, *LISTS, "environment") if f"{{{{ {word} }}}}" not in text] == []

"""What a shell makes of RELION's unquoted command, and the file that is found again."""

import os
import subprocess

import pytest

from cryobridge.wrappers.relion.hook import arguments
from cryobridge.wrappers.relion.hook.arguments import Arguments, find_star

STAR = "run_it001_half1_class001_external_reconstruct.star"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(star, seconds_ago=0.0):
    os.makedirs(os.path.dirname(star) or ".", exist_ok=True)
    with open(star, "w", encoding="utf-8"):
        pass
    os.utime(star, ns=(0, 10**18 - int(seconds_ago * 1e9)))
    return star


def by_shell(command):
    """The arguments that `sh -c` makes of an unquoted command."""
    out = subprocess.run(["sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True).stdout
    return [word.decode() for word in out.split(b"\0")[:-1]]


@pytest.mark.parametrize(
    "folder",
    [
        "Refine3D/job001",
        "Refine3D/my job",
        "Refine3D/my   job  of\tMay",
        " before/and after ",
        "it's bob's/job",
        'a "good" job/x',
        "back\\slash",
        "new -strict job/--strict",
        "my job/../my job/./x",
    ],
)
@pytest.mark.parametrize("root", ["run", "my run", "run  2"])
def test_the_star_is_found_whatever_the_shell_took_from_its_name(project, folder, root):
    star = write(f"{folder}/{root}_{STAR.removeprefix('run_')}")
    assert arguments.read(by_shell(star)).star == star
    absolute = f"{project}/{star}"
    assert os.path.samefile(arguments.read(by_shell(absolute)).star, absolute)


def test_options_of_the_hook_come_before_the_pieces(project):
    star = write(f"my job/{STAR}")
    found = arguments.read(by_shell(f"--strict --socket /x/y --keep-volumes {star}"))
    assert found == Arguments(star, strict=True, keep_volumes=True, socket="/x/y")
    assert arguments.read([star, "--strict"]) == Arguments(star, strict=True)


def test_of_two_files_of_the_same_words_it_is_the_one_just_written(project):
    write(f"my job/{STAR}", seconds_ago=1000)
    newest = write(f"my  job/{STAR}")
    assert find_star(by_shell(newest)) == newest


def test_a_name_that_is_no_file_stays_as_it_came(project):
    assert arguments.read([f"job/{STAR}"]).star == f"job/{STAR}"
    assert find_star(["a", "b.star"]) is None
    with pytest.raises(SystemExit) as ended:
        arguments.read(["a", "b.star"])
    assert ended.value.code == 2

"""The script opens, contours and tiles what it may, and no file name becomes a command."""

from __future__ import annotations

import math
import re

import pytest

from cryobridge.bridge.worker.report.chimerax import script, series

COMMANDS = {"open", "volume", "lighting", "graphics", "tile", "view"}


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_maps_are_opened_and_contoured_in_order():
    lines = commands(script([("../half1.mrc", 0.0123456789), ("corrected_half1.mrc", 2e-5)]))
    opened = [line for line in lines if line.startswith("open ")]
    assert opened == [
        'open "../half1.mrc" name "cryobridge 1 half1.mrc"',
        'open "corrected_half1.mrc" name "cryobridge 2 corrected_half1.mrc"',
    ]
    levels = [line for line in lines if line.startswith("volume ")]
    assert 'volume ##name="cryobridge 1 half1.mrc" style surface step 1 level 0.0123457 color #' in levels[0]
    assert 'volume ##name="cryobridge 2 corrected_half1.mrc" style surface step 1 level 2e-05 color #' in levels[1]
    assert lines.index(opened[1]) < lines.index(levels[1])
    assert levels[0].split()[-1] != levels[1].split()[-1], "before and after differ in colour"
    both = '##name="cryobridge 1 half1.mrc" | ##name="cryobridge 2 corrected_half1.mrc"'
    assert lines[-2:] == [f"tile {both} columns 2", f"view {both}"]


def test_nothing_that_a_user_has_open_is_closed_or_named_by_a_number():
    text = "\n".join(commands(script([("a.mrc", 1.0), ("b.mrc", 2.0)])))
    assert "close" not in text
    assert not re.search(r"#\d+ ", text.replace("##", ""))


def test_maps_of_one_name_are_told_apart():
    opened = [line for line in commands(script([("a/m.mrc", 1.0), ("b/m.mrc", 1.0)])) if line.startswith("open")]
    assert len({line.partition(" name ")[2] for line in opened}) == 2


def test_one_map_is_not_tiled():
    assert "tile" not in "\n".join(commands(script([("map.mrc", 1.0)])))


@pytest.mark.parametrize(
    "name",
    [
        'a" ; exit ; ".mrc',
        "a'.mrc",
        "a;exit.mrc",
        "a\nexit.mrc",
        "emdb:3087.mrc",
        "http://x/y.mrc",
        "*.mrc",
        "-x.mrc",
        "~me/x.mrc",
        "/etc/x.mrc",
        "a\\b.mrc",
        "$x.mrc",
        "run.py",
        "x.cxc",
        "",
        "\u202ecrm.mrc",
    ],
)
def test_a_name_that_could_do_harm_is_left_out(name):
    text = script([("first.mrc", 1.0), (name, 1.0), ("last.map.gz", 2.0)])
    lines = commands(text)
    assert {line.split()[0] for line in lines} <= COMMANDS
    opened = [line.partition(" name ")[0] for line in lines if line.startswith("open")]
    assert opened == ['open "first.mrc"', 'open "last.map.gz"']
    assert any(line.startswith('volume ##name="cryobridge 2 ') and "level 2 " in line for line in lines), (
        "numbers go on without a gap"
    )
    assert sum("left out" in line for line in text.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["Map (final) 2.mrc", "größe.MAP", "../../Refine3D/job012/run_half1_class001_unfil.mrc"]
)
def test_names_of_real_life_are_taken(name):
    assert any(line.startswith(f'open "{name}" ') for line in commands(script([(name, 1.0)])))


@pytest.mark.parametrize("level", [math.nan, math.inf])
def test_a_level_that_is_no_number_is_left_out(level):
    assert not re.search(r"nan|inf\b", "\n".join(commands(script([("a.mrc", level)]))))


def test_a_series_lies_in_one_place_and_has_a_slider():
    lines = commands(series([("vol_001.mrc", 1.0), ("vol_002.mrc", 1.5), ("vol_003.mrc", 2.0)]))
    opened = [line.split('"')[1] for line in lines if line.startswith("open ")]
    assert opened == ["vol_001.mrc", "vol_002.mrc", "vol_003.mrc"]
    assert [line.split(" level ")[1].split()[0] for line in lines if line.startswith("volume ")] == ["1", "1.5", "2"]
    assert not any(line.startswith("tile") for line in lines)
    slider = lines[-1].removeprefix("mseries slider ")
    assert slider != lines[-1], "the last line is the slider: a run without windows fails there, and nothing is lost"
    assert slider.split(" | ") == [f'##name="cryobridge {number} vol_00{number}.mrc"' for number in (1, 2, 3)]


def test_a_series_of_one_has_no_slider():
    assert "mseries" not in series([("vol_001.mrc", 1.0)])


def test_a_series_leaves_out_what_could_do_harm():
    text = series([("first.mrc", 1.0), ('a" ; exit ; ".mrc', 1.0), ("b.mrc", math.nan), ("last.mrc", 1.0)])
    assert [line.partition(" name ")[0] for line in commands(text) if line.startswith("open")] == [
        'open "first.mrc"',
        'open "last.mrc"',
    ]
    assert {line.split()[0] for line in commands(text)} <= COMMANDS | {"mseries"}
    assert sum("left out" in line for line in text.splitlines()) == 2

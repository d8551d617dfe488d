"""Rules that choose particles: against what they say in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryobridge.bridge.worker.heterogeneity.choosing import drawn, inside, meets, nearest, read_outline
from cryobridge.schemas.conditions import parse_condition
from cryobridge.schemas.errors import InputInvalid

VALUES = {"a": np.array([0.0, 1.0, 2.0, np.nan]), "b": np.array([3.0, 2.0, 1.0, 0.0])}


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("a > 0.5", [1, 2]),
        ("a <= 1", [0, 1]),
        ("a != 1", [0, 2]),
        ("not a > 0.5", [0, 3]),
        ("a < b", [0, 1]),
        ("0 <= a < b", [0, 1]),
        ("a > 1.5 or b > 2.5", [0, 2]),
        ("a > 0.5 and not (b == 2)", [2]),
        ("b >= -1e3", [0, 1, 2, 3]),
    ],
)
def test_conditions_mean_what_they_say(text: str, members: list[int]) -> None:
    assert np.flatnonzero(meets(parse_condition(text), VALUES, 4)).tolist() == members


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InputInvalid, match=r"there is no column 'pc1' .*analysis\.npz.*; there are a, b"):
        meets(parse_condition("pc1 > 0"), VALUES, 4)


def test_inside_of_an_outline_that_is_not_convex() -> None:
    horseshoe = np.array([[0, 0], [4, 0], [4, 4], [3, 4], [3, 1], [1, 1], [1, 4], [0, 4]], dtype=float)
    x, y = np.array([0.5, 2.0, 3.5, 2.0, 9.0, np.nan]), np.array([3.0, 3.0, 3.0, 0.5, 9.0, 1.0])
    assert inside(horseshoe, x, y).tolist() == [True, False, True, True, False, False]


@pytest.mark.parametrize(
    "text",
    ["0,0\n1,0\n1,1\n", "x,y\n0,0\n1,0\n1,1\n", "0 0\n1 0\n1 1", "[[0, 0], [1, 0], [1, 1]]", "pc1;pc2\n0;0\n1;0\n1;1"],
)
def test_outlines_are_read_as_programs_write_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "outline").write_text(text)
    assert read_outline(tmp_path / "outline").tolist() == [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0,0\n1,1\n",
        "0,0\n1,0,3\n2,2",
        "[1, 2, 3]",
        "[[0,0],[1,0],[1,1e999]]",
        f"[[0,0],[1,0],[1,1{'0' * 400}]]",
        "[[[[[",
    ],
)
def test_what_is_no_outline_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "outline.csv").write_text(text)
    with pytest.raises(InputInvalid, match="is no outline"):
        read_outline(tmp_path / "outline.csv")


def test_the_nearest_are_those_with_the_least_distance() -> None:
    latents = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    place = (0.5, -0.25, 1.0)
    among = np.arange(200) % 2 == 0
    chosen = nearest(latents, place, 10, among)
    far = np.linalg.norm(latents - np.array(place), axis=1)
    assert chosen.sum() == 10
    assert among[chosen].all()
    assert far[chosen].max() <= far[among & ~chosen].min()
    with pytest.raises(InputInvalid, match="should be 3 numbers"):
        nearest(latents, (1.0,), 10, among)


def test_a_draw_is_repeated_by_its_seed_and_never_beyond_the_rules() -> None:
    among = np.arange(100) < 40
    first, again, other = drawn(among, 20, 1), drawn(among, 20, 1), drawn(among, 20, 2)
    assert first.sum() == 20
    assert among[first].all()
    assert (first == again).all()
    assert (first != other).any()
    assert (drawn(among, 40, 1) == among).all()
    with pytest.raises(InputInvalid, match="asks for 99 of 40 particles"):
        drawn(among, 99, 1)

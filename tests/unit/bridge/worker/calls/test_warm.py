"""Networks that stay in memory between iterations: of so many refinements, and no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cryobridge.bridge.worker.calls.standard import KeptHalf
from cryobridge.bridge.worker.calls.warm import MOST_IN_MEMORY, Found, Origin, WarmStates, write_state
from cryobridge.core.correction import CorrectionState
from cryobridge.core.relion import SumsGeometry
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.relion import RelionOptions
from cryobridge.wrappers.formats.tensor_file import TensorFile
from cryobridge.wrappers.relion.jobdir import RefinementFacts

CPU = torch.device("cpu")
BOX = 16
PARTICLES = """
data_particles

loop_
_rlnImageName #1
_rlnRandomSubset #2
1@stack.mrcs 1
2@stack.mrcs 2
"""


@pytest.fixture(scope="module")
def network() -> CorrectionOptions:
    return RelionOptions(effort="standard").network_options("cpu")


def _half(refinement: str, **descriptors: int) -> KeptHalf:
    maps = torch.zeros(BOX, BOX, BOX)
    return KeptHalf(
        task="t",
        warm_key=f"{refinement}#class001",
        half=1,
        iteration=5,
        voxel_size_A=2.0,
        geometry=SumsGeometry(BOX, 2, BOX),
        options=RelionOptions(),
        facts=RefinementFacts(),
        standard=maps,
        fsc=torch.ones(BOX // 2 + 1),
        descriptors=descriptors,
    )


def _found(states: WarmStates, half: KeptHalf, network: CorrectionOptions) -> Found:
    steps = states.find(half, network)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


def test_of_many_refinements_the_network_kept_longest_ago_is_forgotten(network: CorrectionOptions) -> None:
    states = WarmStates(CPU)
    half = _half("0")
    origin = Origin.of(half, network, None)
    for number in range(MOST_IN_MEMORY):
        states.keep(replace(half, warm_key=f"{number}#class001"), origin, CorrectionState.new(network, CPU))
    states.keep(replace(half, warm_key="0#class001"), origin, CorrectionState.new(network, CPU))
    states.keep(replace(half, warm_key="another#class001"), origin, CorrectionState.new(network, CPU))
    assert len(states) == MOST_IN_MEMORY
    states.release("1")
    assert len(states) == MOST_IN_MEMORY, "the one kept longest ago was still there"
    states.release("0")
    assert len(states) == MOST_IN_MEMORY - 1, "one that was kept again lately was forgotten"


def test_a_forgotten_network_is_read_again_from_the_job_folder(tmp_path: Path, network: CorrectionOptions) -> None:
    with _stored(tmp_path, network) as descriptors:
        found = _found(WarmStates(CPU), _half("0", **descriptors), network)
    assert (found.source, found.words) == ("disk", "the network goes on warm from iteration 5 (from the job folder)")


def test_of_a_stored_network_that_does_not_fit_only_the_note_is_read(
    tmp_path: Path, network: CorrectionOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorFile, "read", lambda *_: pytest.fail("a tensor was read"))
    with _stored(tmp_path, network) as descriptors:
        other = replace(_half("0", **descriptors), voxel_size_A=3.0)
        assert _found(WarmStates(CPU), other, network).state is None


@pytest.mark.parametrize("size", [0, 4, 100, 2**30 + 1])
def test_a_file_of_nothing_is_passed_over(tmp_path: Path, network: CorrectionOptions, size: int) -> None:
    with _stored(tmp_path, network) as descriptors:
        os.truncate(tmp_path / "session", 0)
        os.truncate(tmp_path / "session", size)
        found = _found(WarmStates(CPU), _half("0", **descriptors), network)
    assert found.state is None
    assert "the stored one cannot be used" in found.words


@contextmanager
def _stored(folder: Path, network: CorrectionOptions) -> Iterator[dict[str, int]]:
    """Descriptors of a particle file and of a network that learned from it."""
    (folder / "data.star").write_text(PARTICLES)
    data = os.open(folder / "data.star", os.O_RDONLY)
    session = os.open(folder / "session", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        half = _half("0", data=data)
        origin = _found(WarmStates(CPU), half, network).origin
        write_state(session, half, origin, CorrectionState.new(network, CPU))
        yield {"data": data, "session_in": session}
    finally:
        os.close(data)
        os.close(session)

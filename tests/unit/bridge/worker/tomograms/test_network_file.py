"""Networks for tomograms as files: what was written comes back; anything else is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.isonet_models import MadeUpModel

from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.bridge.worker.tomograms.network_file import NETWORK_SCHEMA, read_network_file, write_network
from cryobridge.core.tomogram import published
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job

CPU = torch.device("cpu")
SHAPE = published.IsoNetShape(filter_base=1, unet_depth=2, convs_per_depth=2, kernel=(3, 1, 3), pool=(2, 2, 2))


def written(folder: Path) -> Path:
    spec = {"schema": "cryobridge/job/1", "kind": "tomo.refine", "inputs": {"subtomos": "s.star"}, "output": "out"}
    output = OutputFolder(parse_job(spec, "test").resolved(folder), CPU)
    torch.manual_seed(1)
    write_network(output, "model.safetensors", published.IsoNetUNet(SHAPE), {"iterations_done": 3})
    output.close()
    return folder / "out" / "model.safetensors"


def test_a_network_comes_back_with_its_settings(tmp_path: Path) -> None:
    stored = read_network_file(written(tmp_path))
    torch.manual_seed(1)
    network = published.IsoNetUNet(SHAPE)
    assert stored.shape == SHAPE
    assert stored.settings == {"iterations_done": 3}
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in stored.state.items())
    volume = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(stored.built(CPU).eval()(volume), network.eval()(volume))


def test_a_model_of_isonet_has_no_settings(tmp_path: Path) -> None:
    stored = read_network_file(MadeUpModel().write(tmp_path / "m.h5"))
    assert stored.settings == {}
    assert stored.shape.filter_base == 2


def changed(path: Path, **note: Any) -> None:
    """The file with parts of its note in another way."""
    tensors = safetensors.torch.load_file(path)
    old = json.loads(safetensors.safe_open(path, "pt").metadata()["cryobridge"])
    path.write_bytes(safetensors.torch.save(tensors, {"cryobridge": json.dumps({**old, **note})}))


BASE = {
    "filter_base": 1,
    "unet_depth": 2,
    "convs_per_depth": 2,
    "kernel": [3, 1, 3],
    "pool": [2, 2, 2],
    "drop_out": 0.3,
    "batch_normalization": True,
    "resampling_kernel": [3, 3, 3],
}


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ({"schema": "cryobridge/tomogram-network/9"}, "does not know"),
        ({"network": "n2n"}, "of the sort 'n2n', which this cryobridge does not know"),
        ({"settings": []}, "does not know"),
        ({"shape": {**BASE, "filter_base": 2}}, "another shape"),
        ({"shape": {**BASE, "unet_depth": 3}}, "layers are not those"),
        ({"shape": {**BASE, "unet_depth": 10**9}}, "damaged network file"),
        ({"shape": {**BASE, "filter_base": "x"}}, "damaged network file"),
        ({"shape": {**BASE, "more": 1}}, "damaged network file"),
        ({"shape": []}, "damaged network file"),
        ({"shape": {**BASE, "kernel": 3}}, "damaged network file"),
    ],
)
def test_a_note_that_does_not_fit_is_one_sentence(tmp_path: Path, note: dict[str, Any], words: str) -> None:
    path = written(tmp_path)
    changed(path, **note)
    with pytest.raises(InputInvalid, match=words) as caught:
        read_network_file(path)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    tensors = safetensors.torch.load_file(path)
    note = safetensors.safe_open(path, "pt").metadata()
    tensors["network.last.bias"][0] = torch.nan
    path.write_bytes(safetensors.torch.save(tensors, note))
    with pytest.raises(InputInvalid, match="not finite"):
        read_network_file(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InputInvalid, match=r"no whole network for tomograms; give model\.safetensors"):
        read_network_file(tmp_path / "m")
    with pytest.raises(InputInvalid, match="cannot be read"):
        read_network_file(tmp_path / "absent")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_always_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    raw = bytearray(written(folder).read_bytes())
    for place in data.draw(st.lists(st.integers(0, min(len(raw), 3000) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    path = folder / "m.safetensors"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    said = ""
    try:
        read_network_file(path)
    except InputInvalid as error:
        said = str(error)
    assert "\n" not in said


def test_the_note_says_what_it_is(tmp_path: Path) -> None:
    note = json.loads(safetensors.safe_open(written(tmp_path), "pt").metadata()["cryobridge"])
    assert note["schema"] == NETWORK_SCHEMA
    assert note["shape"] == BASE

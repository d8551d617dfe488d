"""Networks that a correction starts from: our own and spIsoNet's, put where prediction and training find them."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from cryobridge.bridge.worker.jobs.pretrained import read_network
from cryobridge.core.correction import CorrectionState, predict
from cryobridge.core.nets.unet3d import UNet3D
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import InputInvalid

BOX = 16
CPU = torch.device("cpu")
PARTS = {
    "first.": "encoder.module_dict.first_conv.",
    "encoders.": "encoder.module_dict.conv_stack_",
    "downs.": "encoder.module_dict.stride_conv_",
    "bottom.": "encoder.module_dict.bottleneck.net.",
    "ups.": "decoder.module_dict.deconv_",
    "decoders.": "decoder.module_dict.conv_stack_",
    "last.": "final.",
}


def load_network(path, options, device):
    """Read a network and start a correction from it."""
    return read_network(path).started(options, device)


def options(**chosen: Any) -> CorrectionOptions:
    return CorrectionOptions(**{"preset": "tiny", "cube_size": 16, "crop_size": 32, **chosen})


def own_file(path: Path, **chosen: Any) -> tuple[Path, CorrectionState]:
    """A network that answers with something else than its input, as a correction stores it."""
    state = CorrectionState.new(options(identity_start=False, **chosen), CPU)
    for learner in state.learners:
        for value in learner.average.values():
            value.mul_(1.5)
    state.steps_done = 40
    safetensors.torch.save_file(state.tensors(), path)
    return path, state


def peer_file(path: Path) -> tuple[Path, UNet3D]:
    torch.manual_seed(3)
    network = UNet3D(8, "batch").eval()
    renamed = {}
    for name, value in network.state_dict().items():
        part = next(part for part in PARTS if name.startswith(part))
        rest = name.removeprefix(part)
        if part in ("encoders.", "downs.", "decoders."):
            rest = f"{rest[0]}.net{rest[1:]}"
        renamed[PARTS[part] + rest] = value
    torch.save({"model_state_dict": renamed, "average_loss": []}, path)
    return path, network


def prediction(state: CorrectionState, half: int, chosen: CorrectionOptions) -> torch.Tensor:
    volume = torch.randn((BOX,) * 3, generator=torch.Generator().manual_seed(1))
    return predict(state, half, volume, torch.ones(BOX, BOX, BOX // 2 + 1), None, chosen)


def test_own_network_predicts_as_it_did(tmp_path: Path) -> None:
    path, state = own_file(tmp_path / "network.safetensors")
    found = load_network(path, options(), CPU)
    assert torch.equal(prediction(found, 1, options()), prediction(state, 1, options()))
    assert not torch.equal(
        prediction(found, 1, options()), prediction(CorrectionState.new(options(), CPU), 1, options())
    )
    assert found.steps_done == 0


@pytest.mark.parametrize("ema", [0.0, 0.98])
def test_network_of_spisonet_predicts_as_itself(tmp_path: Path, ema: float) -> None:
    """The published method gives the whole normalised map to the network; here it is one tile."""
    path, network = peer_file(tmp_path / "peer.pt")
    chosen = options(norm="batch", loss="published", filter_input=False, ema=ema)
    state = load_network(path, chosen, CPU)
    volume = torch.randn((BOX,) * 3, generator=torch.Generator().manual_seed(1))
    level, deviation = volume.mean(), volume.std()
    with torch.no_grad():
        expected = network(((volume - level) / deviation)[None, None])[0, 0] * deviation + level
    assert torch.allclose(prediction(state, 1, chosen), expected, atol=1e-5)


def test_one_network_serves_both_halves(tmp_path: Path) -> None:
    single, _ = own_file(tmp_path / "single.safetensors")
    chosen = options(mode="independent")
    state = load_network(single, chosen, CPU)
    assert len(state.learners) == 2
    assert torch.equal(prediction(state, 1, chosen), prediction(state, 2, chosen))
    state.learners[0].average["last.bias"] += 1
    assert not torch.equal(prediction(state, 1, chosen), prediction(state, 2, chosen))
    peer, _ = peer_file(tmp_path / "peer.pt")
    assert len(load_network(peer, options(mode="independent", norm="batch"), CPU).learners) == 2


def test_each_half_gets_its_own_network_back(tmp_path: Path) -> None:
    path, state = own_file(tmp_path / "pair.safetensors", mode="independent")
    chosen = options(mode="independent")
    found = load_network(path, chosen, CPU)
    for half in (1, 2):
        assert torch.equal(prediction(found, half, chosen), prediction(state, half, chosen))
    with pytest.raises(InputInvalid, match="holds one network for each half-map; choose 'mode: independent'"):
        load_network(path, options(), CPU)


@pytest.mark.parametrize("chosen", [{"preset": "small"}, {"norm": "batch"}, {"norm": "none"}])
def test_options_for_another_network_are_told_what_to_choose(tmp_path: Path, chosen: dict[str, Any]) -> None:
    path, _ = own_file(tmp_path / "network.safetensors")
    with pytest.raises(InputInvalid, match="choose 'preset: tiny' and 'norm: group'"):
        load_network(path, options(**chosen), CPU)
    peer, _ = peer_file(tmp_path / "peer.pt")
    with pytest.raises(InputInvalid, match="choose 'preset: tiny' and 'norm: batch'"):
        load_network(peer, options(**{"norm": "group", **chosen, "preset": "small"}), CPU)


def spoilt(name: str, change: Any) -> Any:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        if change is None:
            del tensors[name]
        else:
            tensors[name] = change(tensors[name])

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoilt("0.network.last.weight", None), "is a damaged network file"),
        (spoilt("0.average.last.weight", lambda value: value * torch.nan), "not finite"),
        (spoilt("0.network.first.bias", lambda value: value[:3]), "is a damaged network file"),
        (spoilt("layout", None), "is no network of a correction"),
        (spoilt("layout", lambda value: value.float()), "is no network of a correction"),
        (spoilt("layout", lambda value: value[:2]), "is no network of a correction"),
        (spoilt("layout", lambda value: value[0]), "is no network of a correction"),
        (spoilt("layout", lambda value: value * 5), "is no network of a correction"),
    ],
)
def test_damaged_network_is_one_sentence(tmp_path: Path, spoil: Any, says: str) -> None:
    path, state = own_file(tmp_path / "network.safetensors")
    tensors = state.tensors()
    spoil(tensors)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(InputInvalid, match=says) as caught:
        load_network(path, options(), CPU)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0, 4, 100, 5000, -1])
def test_file_that_was_cut_off_or_is_something_else_is_one_sentence(tmp_path: Path, share: int) -> None:
    path, _ = own_file(tmp_path / "network.safetensors")
    path.write_bytes(path.read_bytes()[:share])
    with pytest.raises(InputInvalid, match="is no whole network file"):
        load_network(path, options(), CPU)
    with pytest.raises(InputInvalid, match=r"cannot be read \(No such file or directory\)"):
        load_network(tmp_path / "absent.pt", options(), CPU)
    with pytest.raises(InputInvalid, match=r"cannot be read \(Is a directory\)"):
        load_network(tmp_path, options(), CPU)


def test_a_table_of_contents_longer_than_any_networks_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(entry % index for index in range(25_000)) + "}").encode()
    (tmp_path / "many.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputInvalid, match="is no whole network file"):
        read_network(tmp_path / "many.safetensors")


@pytest.mark.timeout(10)
def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputInvalid, match="not a plain file"):
        read_network(tmp_path / "pipe")


@pytest.mark.parametrize("layout", [None, [1, 8, 1]])
def test_of_a_file_that_is_no_network_nothing_is_held_however_large_it_is(
    tmp_path: Path, layout: list[int] | None
) -> None:
    path, size = tmp_path / "x.safetensors", 2 << 30
    table: dict[str, Any] = {"0.network.x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    if layout is not None:
        table["layout"] = {"dtype": "I64", "shape": [3], "data_offsets": [size, size + 24]}
    raw = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    os.truncate(path, 8 + len(raw) + size)
    if layout is not None:
        with path.open("r+b") as file:
            file.seek(8 + len(raw) + size)
            file.write(struct.pack("<3q", *layout))
    tracemalloc.start()
    with pytest.raises(InputInvalid, match="no network of"):
        read_network(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20

"""spIsoNet's checkpoints: the same network gives the same values, and nothing else passes for one."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from cryobridge.core.nets.unet3d import UNet3D
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.spisonet.checkpoint import BASES, read_checkpoint

Named = dict[str, Tensor]

PARTS = {
    "first": "encoder.module_dict.first_conv",
    "bottom": "encoder.module_dict.bottleneck.net",
    "last": "final",
    **{f"encoders.{level}": f"encoder.module_dict.conv_stack_{level}.net" for level in range(3)},
    **{f"downs.{level}": f"encoder.module_dict.stride_conv_{level}.net" for level in range(3)},
    **{f"ups.{level}": f"decoder.module_dict.deconv_{level}" for level in range(3)},
    **{f"decoders.{level}": f"decoder.module_dict.conv_stack_{level}.net" for level in range(3)},
}
"""spIsoNet's name of each part of the network."""


def trained_like(network: torch.nn.Module) -> torch.nn.Module:
    """The network with every weight and running statistic as a training might leave it."""
    generator = torch.Generator().manual_seed(4)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(noise.abs() + 0.5 if "running_var" in name or value.ndim == 1 else noise * 0.05)
    return network.eval()


def their_names(state: Named) -> Named:
    renamed = {}
    for name, value in state.items():
        part = next(part for part in PARTS if name.startswith(f"{part}."))
        renamed[PARTS[part] + name.removeprefix(part)] = value
    return renamed


def save(path: Path, state: Named, prefix: str = "") -> Path:
    """As spIsoNet saves: its loss curve is numbers of numpy."""
    curve = [torch.tensor(0.5 / epoch).numpy() for epoch in (1, 2)]
    torch.save({"model_state_dict": {prefix + k: v for k, v in state.items()}, "average_loss": curve}, path)
    return path


@pytest.fixture(scope="module")
def state() -> Named:
    return their_names(trained_like(UNet3D(8, "batch")).state_dict())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_every_part_is_found_under_every_wrapping(tmp_path: Path, state: Named, prefix: str) -> None:
    found = read_checkpoint(save(tmp_path / "net.pt", state, prefix))
    again = their_names(found.state)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], value) for name, value in state.items())
    UNet3D(8, "batch").load_state_dict(found.state)


@pytest.mark.parametrize("base", BASES)
def test_width_is_recognised(tmp_path: Path, base: int) -> None:
    state = UNet3D(base, "batch").state_dict()
    found = read_checkpoint(save(tmp_path / "net.pt", their_names(state)))
    assert found.base == base
    assert {name: value.shape for name, value in found.state.items()} == {n: v.shape for n, v in state.items()}


def test_half_precision_and_bare_tables_are_read(tmp_path: Path, state: Named) -> None:
    torch.save({name: value.half() if value.ndim > 1 else value for name, value in state.items()}, tmp_path / "net.pt")
    found = read_checkpoint(tmp_path / "net.pt")
    assert {value.dtype for value in found.state.values()} == {torch.float32, torch.int64}
    assert torch.allclose(found.state["last.weight"], state["final.weight"], atol=1e-3)


FINAL, VARIANCE = "final.weight", "encoder.module_dict.bottleneck.net.1.running_var"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({FINAL: None}, r"a part of the network is missing \(last\.weight\)"),
        ({FINAL: torch.zeros(1, 8, 3, 3)}, r"last\.weight is \(1, 8, 3, 3\) where \(1, 8, 3, 3, 3\) is needed"),
        ({FINAL: torch.full((1, 8, 3, 3, 3), torch.nan)}, r"last\.weight holds NaN"),
        ({VARIANCE: torch.full((64,), -1.0)}, "negative variances"),
        ({"decoder.module_dict.deconv_3.bias": torch.zeros(8)}, r"holds 'ups\.3\.bias', which"),
        ({"encoder.module_dict.first_conv.weight": torch.zeros(24, 1, 3, 3, 3)}, "a network of width 24"),
        ({"encoder.module_dict.first_conv.weight": torch.tensor(1.0)}, "a network of width 0"),
        ({"encoder.module_dict.first_conv.weight": None}, "of another network"),
    ],
)
def test_what_is_not_that_network_is_refused(
    tmp_path: Path, state: Named, change: dict[str, Tensor | None], says: str
) -> None:
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    path = save(tmp_path / "net.pt", changed)
    with pytest.raises(InputInvalid, match=says) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """spIsoNet's own network, from a checkout that the user has."""
    folder = os.environ.get("SPISONET_DIR")
    if not folder:
        pytest.skip("set SPISONET_DIR to a checkout of spIsoNet to compare with its own network")
    specification = importlib.util.spec_from_file_location("peer", Path(folder) / "spIsoNet" / "models" / "unet.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("base", "wrap"), [(16, "plain"), (16, "parallel"), (16, "compiled"), (32, "plain"), (64, "plain")]
)
def test_same_values_as_spisonets_own_network(tmp_path: Path, peer: ModuleType, base: int, wrap: str) -> None:
    torch.manual_seed(base)
    network = peer.Unet(filter_base=base, unet_depth=3, add_last=True)
    network.train()
    with torch.no_grad():
        network(torch.randn(2, 1, 16, 16, 16))  # gives the running statistics values of their own
    trained_like(network)
    wrapped = {"plain": lambda n: n, "parallel": torch.nn.DataParallel, "compiled": torch.compile}[wrap](network)
    found = read_checkpoint(save(tmp_path / "net.pt", wrapped.state_dict()))
    ours = UNet3D(found.base, "batch")
    ours.load_state_dict(found.state)
    crops = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        theirs, mine = network(crops), ours.eval()(crops)
    difference = float((mine - theirs).abs().max() / theirs.std())
    print(f"base {base}, {wrap}: largest difference {difference:.2g} of the standard deviation")
    assert found.base == base
    assert difference <= 1e-5

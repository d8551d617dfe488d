"""Models of IsoNet give what their layers give, written out in numpy; other files are named for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.isonet_models import MadeUpModel

from cryobridge.core.tomogram import published
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.isonet.keras_model import read_keras_model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"depth": 3, "base": 1},
        {"convolutions": 2, "base": 3},
        {"convolutions": 4, "depth": 1},
        {"norm": False},
        {"pool": (2, 2, 2)},
        {"kernel": (5, 3, 3)},
        {"kernel": (2, 4, 3)},
        {"first_number": 7},
    ],
    ids=str,
)
def test_a_model_gives_what_its_layers_give(tmp_path: Path, settings: dict[str, Any]) -> None:
    made = MadeUpModel(**settings)
    model = read_keras_model(made.write(tmp_path / "model_iter30.h5"))
    network = published.IsoNetUNet(model.shape)
    network.load_state_dict(dict(model.state))
    volume = np.random.default_rng(1).normal(size=(8, 16, 8))
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(volume).float()[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, made.answer(volume), rtol=0, atol=1e-5)


def test_the_shape_is_that_of_the_file(tmp_path: Path) -> None:
    made = MadeUpModel(base=4, depth=3, convolutions=2, kernel=(3, 3, 1), norm=False)
    shape = read_keras_model(made.write(tmp_path / "m.h5")).shape
    assert shape == published.IsoNetShape(4, 3, 2, (3, 3, 1), None, 0.25, False)


def test_weights_alone_are_enough(tmp_path: Path) -> None:
    """A file without the description of its layers has IsoNet's own settings."""
    path = MadeUpModel().write(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    assert read_keras_model(path).shape.drop_out == 0.3


def without_a_layer(file: h5py.File) -> None:
    del file["model_weights/up_level_1_no_2"]


def with_a_layer_too_many(file: h5py.File) -> None:
    file["model_weights/bottleneck_no_9/bottleneck_no_9/kernel:0"] = np.zeros((3, 3, 3, 4, 4), np.float32)
    file["model_weights/bottleneck_no_9/bottleneck_no_9/bias:0"] = np.zeros(4, np.float32)


def with_another_slope(file: h5py.File) -> None:
    file.attrs["model_config"] = file.attrs["model_config"].replace('"alpha": 0.05', '"alpha": 0.3')


def with_nan(file: h5py.File) -> None:
    file["model_weights/fullconv_out/fullconv_out/bias:0"][...] = np.nan


def with_a_broken_description(file: h5py.File) -> None:
    file.attrs["model_config"] = "{]"


def with_a_deep_description(file: h5py.File) -> None:
    file.attrs["model_config"] = "[" * 30_000


def with_other_layers(file: h5py.File) -> None:
    del file["model_weights"]
    file["model_weights/dense/dense/kernel:0"] = np.zeros((3, 3), np.float32)


def with_weights_elsewhere(file: h5py.File) -> None:
    del file["model_weights/fullconv_out/fullconv_out/bias:0"]
    file.create_dataset("model_weights/fullconv_out/fullconv_out/bias:0", (1,), "f4", external=[("/etc/passwd", 0, 4)])


def with_weights_that_are_only_claimed(file: h5py.File) -> None:
    file.create_dataset("model_weights/down_level_9_no_0/x/kernel:0", (10**6, 10**6), "f4", chunks=(10, 10))


def with_a_deep_network(file: h5py.File) -> None:
    file["model_weights/down_level_900_no_0/down_level_900_no_0/kernel:0"] = np.zeros(1, np.float32)


def with_a_flat_kernel(file: h5py.File) -> None:
    del file["model_weights/down_level_0_no_0/down_level_0_no_0/kernel:0"]
    file["model_weights/down_level_0_no_0/down_level_0_no_0/kernel:0"] = np.zeros((3, 3, 1, 2), np.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_a_layer, "no kernel of a layer up_level_1_no_2"),
        (with_a_layer_too_many, "a part for bottom.4"),
        (with_another_slope, "another slope than 0.05"),
        (with_nan, "no numbers"),
        (with_a_broken_description, "description of its layers cannot be read"),
        (with_a_deep_description, "description of its layers cannot be read"),
        (with_other_layers, "no layer of the name down_level_0_no_0"),
        (with_weights_elsewhere, "lies in another file"),
        (with_weights_that_are_only_claimed, "no network of more than"),
        (with_a_deep_network, "too many layers"),
        (with_a_flat_kernel, "first layer is no convolution of volumes"),
    ],
)
def test_what_is_no_model_of_isonet_is_one_sentence(tmp_path: Path, change: Any, words: str) -> None:
    path = MadeUpModel().write(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputInvalid, match=words) as caught:
        read_keras_model(path)
    assert "model.h5" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no HDF5 file"),
        (b"PK\x03\x04 something", "is no HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "cut off or is damaged"),
        (b"\x89HDF\r\n\x1a\n" + bytes(5000), "cut off or is damaged"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(content)
    with pytest.raises(InputInvalid, match=words):
        read_keras_model(path)
    with pytest.raises(InputInvalid, match="cannot be read"):
        read_keras_model(tmp_path / "absent.h5")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_always_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut off anywhere, or with bytes changed anywhere: a sentence, or a model that is whole."""
    folder = tmp_path_factory.mktemp("damaged")
    raw = bytearray(MadeUpModel(base=1, depth=1, convolutions=2).write(folder / "m.h5").read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    for place in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=4)):
        if raw:
            raw[place] = data.draw(st.integers(0, 255))
    (folder / "m.h5").write_bytes(raw)
    said = ""
    try:
        read_keras_model(folder / "m.h5")
    except InputInvalid as error:
        said = str(error)
    assert "\n" not in said

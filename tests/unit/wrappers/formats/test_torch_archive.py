"""PyTorch archives: tensors come out as torch wrote them, programs in them do nothing else."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.torch_archive import read_named_tensors

KEY = "weights"


def archive(path: Path, program: bytes, entries: dict[str, bytes] | None = None, **how: Any) -> Path:
    """A PyTorch archive with a program of our own."""
    with zipfile.ZipFile(path, "w", **how) as file:
        file.writestr("net/data.pkl", program)
        for name, content in {"version": b"3\n", **(entries or {})}.items():
            file.writestr(f"net/{name}", content)
    return path


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class Storages(pickle.Pickler):
    """Pickles a tuple that begins with "storage" as torch does its storages."""

    def persistent_id(self, found: Any) -> Any:
        return found if isinstance(found, tuple) and found[:1] == ("storage",) else None


def program(content: Any) -> bytes:
    buffer = io.BytesIO()
    Storages(buffer, 2).dump(content)
    return buffer.getvalue()


def view(shape: Any, strides: Any, offset: Any = 0, count: Any = 6, key: Any = "0") -> Calls:
    storage = ("storage", torch.FloatStorage, key, "cpu", count)
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, None)


def test_tensors_are_what_torch_loads(tmp_path: Path) -> None:
    line = torch.arange(24.0)
    saved = {
        "plain": torch.randn(3, 4),
        "turned": torch.randn(3, 4).t(),
        "shared": line[4:10].view(2, 3),
        "last": torch.randn(1, 2, 4, 4, 4).to(memory_format=torch.channels_last_3d),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "half": torch.randn(5).half(),
        "bfloat": torch.randn(5).bfloat16(),
        "count": torch.tensor(7),
        "empty": torch.empty(0),
    }
    torch.save({KEY: saved, "epoch": 3}, tmp_path / "net.pt")
    found = read_named_tensors(tmp_path / "net.pt", KEY)
    assert found.keys() == saved.keys()
    for name, value in saved.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value.detach()), name


def test_bare_table_and_values_of_numpy(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "bare.pt")
    assert read_named_tensors(tmp_path / "bare.pt", KEY)["a"].tolist() == [1, 1]
    curve = [torch.tensor(0.5).numpy(), np.float64(0.25), np.arange(3)]
    torch.save({KEY: {"a": torch.ones(2)}, "loss": curve}, tmp_path / "curve.pt")
    assert read_named_tensors(tmp_path / "curve.pt", KEY)["a"].tolist() == [1, 1]
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "curve.pt", weights_only=True)


@pytest.mark.parametrize(
    "called",
    [os.system, eval, exec, getattr, open, torch.load, io.open_code, bytearray],
    ids=lambda called: called.__name__,
)
def test_program_that_calls_anything_is_refused_and_not_run(tmp_path: Path, called: Any) -> None:
    mark = tmp_path / "ran"
    arguments = {
        os.system: (f"touch {mark}",),
        eval: (f"open({str(mark)!r}, 'w')",),
        exec: (f"open({str(mark)!r}, 'w')",),
        open: (str(mark), "w"),
    }.get(called, (str(mark),))
    path = archive(tmp_path / "net.pt", program({KEY: {"a": Calls(called, *arguments)}}))
    with pytest.raises(InputInvalid, match="which could run code, and is not read") as caught:
        read_named_tensors(path, KEY)
    assert str(caught.value).startswith(f"{path}: asks for ")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_same_program_run_by_pickle_leaves_its_mark(tmp_path: Path) -> None:
    """The test above would fail if the program were run."""
    pickle.loads(program({KEY: {"a": Calls(os.system, f"touch {tmp_path / 'ran'}")}}))
    assert (tmp_path / "ran").exists()


def test_program_cannot_reach_into_what_it_is_given(tmp_path: Path) -> None:
    """BUILD sets attributes: of a tensor, of a table, of a function that makes them."""
    state = b"}X\x05\x00\x00\x00itemsNs"  # {"items": None}
    targets = {
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cnumpy\nndarray\n",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n)R",
        b"cnumpy\nndarray\n)R",
    }
    good = tmp_path / "good.pt"
    torch.save({KEY: {"a": torch.ones(2)}}, good)
    for target in targets:
        for change in (state, b"N" + state + b"\x86"):
            path = archive(tmp_path / "net.pt", b"\x80\x02" + target + change + b"b.")
            with pytest.raises(InputInvalid, match=r"damaged|no table"):
                read_named_tensors(path, KEY)
    assert read_named_tensors(good, KEY)["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "tensor",
    [
        view((2, 4), (4, 1)),
        view((6,), (1,), offset=1),
        view((10**12,), (0,)),
        view((10**6, 10**6), (0, 0)),
        view((2**62, 4), (2**62, 1)),
        view((-1,), (1,)),
        view((2,), (1,), offset=-1),
        view((2.0,), (1,)),
        view((2,), (1, 1)),
        view((1,) * 4000, (1,) * 4000),
        view((6,), (1,), count=7),
        view((6,), (1,), key="1"),
        view((6,), (1,), key="../version"),
        view((6,), (1,), key=3),
        Calls(torch._utils._rebuild_tensor_v2, "no storage", 0, (6,), (1,), False, None),
    ],
    ids=range(15),
)
def test_tensor_of_bytes_that_are_not_there_is_refused(tmp_path: Path, tensor: Calls) -> None:
    assert read_named_tensors(
        archive(tmp_path / "good.pt", program({"a": view((2, 3), (3, 1))}), {"data/0": bytes(24)}), KEY
    )["a"].shape == (2, 3)
    path = archive(tmp_path / "net.pt", program({"a": tensor}), {"data/0": bytes(24)})
    with pytest.raises(InputInvalid, match="damaged PyTorch file"):
        read_named_tensors(path, KEY)


@pytest.mark.parametrize("content", [[], {}, {"a": 1}, {KEY: {}}, {KEY: {"a": [torch.ones(1)]}}, {1: torch.ones(1)}])
def test_what_holds_no_table_of_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(InputInvalid, match=r"holds no table of weights \(weights\)"):
        read_named_tensors(tmp_path / "net.pt", KEY)


def test_places_out_of_reach_cost_nothing(tmp_path: Path) -> None:
    """C's unpickler makes its memory as long as the place it is told to use."""
    path = archive(tmp_path / "net.pt", b"\x80\x02}r\xff\xff\xff\x7f.")
    with pytest.raises(InputInvalid, match="damaged"):
        read_named_tensors(path, KEY)


def test_short_programs_cannot_make_much(tmp_path: Path) -> None:
    """A table, a view of another order, and a tuple of tuples: each copied or looked through over and over."""
    pairs = b"".join(b"J" + struct.pack("<i", index) + b"N" for index in range(1000))
    tables = b"\x80\x02}q\x00(" + pairs + b"u0ccollections\nOrderedDict\nq\x010(" + b"h\x01h\x00\x85R" * 1000 + b"l."
    turned = {f"w{index}": view((300, 300), (1, 300), count=90_000) for index in range(100)}
    nested = b"\x80\x02})" + b"2\x86" * 60 + b"Ns."
    made = b"\x80\x02ccollections\nOrderedDict\n]" + b"})" + b"2\x86" * 60 + b"\x86a\x85R."
    for raw in (tables, program(turned), nested, made):
        path = archive(tmp_path / "net.pt", raw, {"data/0": bytes(360_000)})
        tracemalloc.start()
        try:
            with pytest.raises(InputInvalid, match="damaged PyTorch file"):
                read_named_tensors(path, KEY)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 << 20


def test_archive_of_countless_entries_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.pt", program({"a": 1}), {f"x{index}": b"" for index in range(100_000)})
    with pytest.raises(InputInvalid, match="damaged PyTorch file"):
        read_named_tensors(path, KEY)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    raw = program({"a": view((6,), (1,))})
    bomb = archive(tmp_path / "bomb.pt", raw, {"data/0": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputInvalid, match="compressed archive"):
        read_named_tensors(bomb, KEY)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.writestr("a.jpg", b"")
    with pytest.raises(InputInvalid, match="no PyTorch file"):
        read_named_tensors(tmp_path / "photos.zip", KEY)
    other = archive(tmp_path / "big.pt", raw, {"data/0": bytes(24), "byteorder": b"big"})
    with pytest.raises(InputInvalid, match="byte order"):
        read_named_tensors(other, KEY)
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(InputInvalid, match="no PyTorch file"):
        read_named_tensors(tmp_path / "text.pt", KEY)
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputInvalid, match="no PyTorch file"):
        read_named_tensors(tmp_path / "old.pt", KEY)
    torch.save({"a": torch.ones(2)}, tmp_path / "net.pt")
    with pytest.raises(InputInvalid, match=r"no network of more than 100 is read"):
        read_named_tensors(tmp_path / "net.pt", KEY, max_bytes=100)
    with pytest.raises(InputInvalid, match="No such file"):
        read_named_tensors(tmp_path / "absent.pt", KEY)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_archive_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    torch.save({"a": torch.ones(200)}, tmp_path / "net.pt")
    raw = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(InputInvalid, match=r"damaged|no PyTorch file"):
        read_named_tensors(tmp_path / "net.pt", KEY)

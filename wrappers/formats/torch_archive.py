"""PyTorch archives (`.pt`), read without running anything they hold.

A `.pt` file is a zip with a pickle, which is a program, and the raw bytes of tensors. Here the program may build
tables, lists, numbers, text and tensors of bytes that are in the archive. It may name nothing else: a name that
would have to be imported ends the reading, except numpy's, whose values are passed over (loss curves are kept so).

`torch.load(weights_only=True)` is no substitute: it refuses numpy's values, which spIsoNet's checkpoints hold, and
in versions of PyTorch in use it could be made to run code or to corrupt memory (CVE-2025-32434, CVE-2026-24747).
"""

from __future__ import annotations

import io
import math
import os
import pickle
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from .pickle_program import BROKEN_PICKLE, PickleProgram, check_memo, expect_plain

MAX_BYTES = 1 << 30
"""The largest network of the field that is trained on maps is a tenth of this."""
_MAX_PROGRAM_BYTES = 4 << 20
_MAX_DIRECTORY_BYTES = 4 << 20
"""Of the archive's list of entries; a network has some hundred of them, of a hundred bytes each."""
_MAX_ENTRIES = 100_000
"""Of all tables that are made of other tables."""
_MAX_PART_BYTES = 1 << 20
_MAX_AXES = 8
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_BROKEN = (*BROKEN_PICKLE, zipfile.BadZipFile, zlib.error)
"""What a damaged archive or a senseless program ends in, on the way through zipfile, pickle and torch."""


def read_named_tensors(path: str | os.PathLike[str], within: str, *, max_bytes: int = MAX_BYTES) -> dict[str, Tensor]:
    """Read a table of tensors that `torch.save` wrote.

    Parameters
    ----------
    path
        An archive of PyTorch 1.6 or later.
    within
        Key of the table in what was saved, for instance "model_state_dict"; without it, what was saved is the table.
    max_bytes
        Larger files are refused.

    Returns
    -------
    dict
        Tensors on the CPU by name, of the type they were saved in.

    Raises
    ------
    InputInvalid
        If it cannot be opened, is too large, is no such archive, is damaged, would run code, or holds no such table;
        one sentence.
    """
    name = os.fspath(path)
    try:
        with _Archived(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise InputInvalid(f"{name}: is {size} bytes; no network of more than {max_bytes} is read")
            if file.read(4) != b"PK\x03\x04":
                raise InputInvalid(f"{name}: is no PyTorch file (a zip archive, as torch.save writes it)")
            saved = _read(file, size, name)
    except OSError as error:
        raise InputInvalid(f"{name}: cannot be read ({error.strerror}); check the name and its permissions") from error
    except MemoryError as error:
        raise InputInvalid(f"{name}: needs more memory than there is; it is no network, or damaged") from error
    except _BROKEN as error:
        raise InputInvalid(f"{name}: is a damaged PyTorch file; save or copy it again") from error
    return _table(saved, within, name)


class _Archived(io.FileIO):
    """The file of an archive, from which nothing is read in one piece that is larger than it should be."""

    most = _MAX_DIRECTORY_BYTES

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, opener=lambda name, flags: open_plain(Path(name), flags))

    def read(self, size: int | None = -1, /) -> bytes:
        most = self.most + 1
        found = super().read(most if size is None or size < 0 else min(size, most))
        if len(found) == most:
            raise zipfile.BadZipFile("a piece larger than any network has")
        return found


class _Holder:
    """A tensor while a program runs: no method of the tensor's own is within the program's reach."""

    __slots__ = ("values",)

    def __init__(self, values: Tensor) -> None:
        self.values = values


class _Storage(_Holder):
    """The bytes that tensors are views of, as one line of values."""

    __slots__ = ()


class _Table(dict[object, object]):
    """A table that keeps nothing beside its content."""

    __slots__ = ()

    def __setstate__(self, _: object) -> None: ...


class _PassedOver:
    """Stands for a value of numpy's."""

    __slots__ = ()

    def __setstate__(self, _: object) -> None: ...


class _Program(PickleProgram):
    """Runs the pickle of an archive with no more than this class gives it.

    What a program may call are bound methods, which it cannot change as it could a function or a class. What it has
    them make is counted: a short program could otherwise copy one thing a million times.
    """

    def __init__(self, program: bytes, archive: zipfile.ZipFile, root: str, name: str) -> None:
        super().__init__(io.BytesIO(program))
        self._archive, self._root, self._name = archive, root, name
        self._storages: dict[str, Tensor] = {}
        self._entries_left = _MAX_ENTRIES
        self._bytes_left = 2 * sum(entry.file_size for entry in archive.infolist())

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return self._make_table
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return self._make_tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return self._make_parameter
        if module.split(".")[0] == "numpy" or (module, name) == ("_codecs", "encode"):
            return self._pass_over
        raise InputInvalid(
            f"{self._name}: asks for {f'{module}.{name}'[:60]!r}, which could run code, and is not read; "
            "save the weights alone, as a state_dict"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("not a storage")
        if key not in self._storages:
            raw = self._content(f"{self._root}/data/{key}")
            self._storages[key] = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        values = self._storages[key]
        if values.dtype != dtype or values.numel() != count:
            raise pickle.UnpicklingError("a storage of another size or kind")
        return _Storage(values)

    def _content(self, entry: str) -> bytearray:
        """What an entry of the archive holds, never held twice."""
        raw = bytearray(self._archive.getinfo(entry).file_size)
        rest = memoryview(raw)
        with self._archive.open(entry) as file:
            while part := file.read(min(_MAX_PART_BYTES, len(rest) + 1)):
                rest[: len(part)] = part
                rest = rest[len(part) :]
            if rest:
                raise zipfile.BadZipFile("an entry of another length")
        return raw

    def _make_table(self, *content: Any) -> _Table:
        self._entries_left -= sum(len(part) for part in content)
        if self._entries_left < 0:
            raise pickle.UnpicklingError("more than any network holds")
        for part in content:
            expect_plain([*part] if isinstance(part, dict) else [key for key, _ in part])
        return _Table(*content)

    def _make_tensor(self, storage: object, offset: object, shape: object, strides: object, *_: object) -> _Holder:
        if not isinstance(storage, _Storage) or not isinstance(storage.values, Tensor):
            raise pickle.UnpicklingError("not a storage")
        first, sides, steps = _whole((offset,)), _whole(shape), _whole(strides)
        reach = first[0] + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
        there = storage.values.numel()
        # A tensor whose elements share their bytes could be of any size.
        if math.prod(sides) > there or (0 not in sides and reach >= there):
            raise pickle.UnpicklingError("a tensor larger than its storage")
        view = torch.as_strided(storage.values, sides, steps, first[0])
        if not view.is_contiguous():
            self._bytes_left -= view.numel() * view.element_size()
            if self._bytes_left < 0:
                raise pickle.UnpicklingError("more copies than any network holds")
        return _Holder(view.contiguous())

    def _make_parameter(self, data: object, *_: object) -> object:
        return data

    def _pass_over(self, *_: object) -> _PassedOver:
        return _PassedOver()


def _read(file: _Archived, size: int, name: str) -> object:
    with zipfile.ZipFile(file) as archive:
        file.most = max(size, _MAX_PART_BYTES)
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > size:
            raise InputInvalid(f"{name}: is a compressed archive; torch.save writes none, unpack it")
        programs = [entry for entry in entries if entry.filename.partition("/")[2] == "data.pkl"]
        if len(programs) != 1:
            raise InputInvalid(f"{name}: is a zip archive, but no PyTorch file")
        root = programs[0].filename.partition("/")[0]
        if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder") != sys.byteorder.encode():
            raise InputInvalid(f"{name}: was written on a machine of another byte order; save it again on this one")
        if programs[0].file_size > _MAX_PROGRAM_BYTES:
            raise InputInvalid(f"{name}: its table of contents is {programs[0].file_size} bytes; it is no network")
        program = archive.read(programs[0])
        check_memo(program)
        return _Program(program, archive, root, name).load()


def _table(saved: object, within: str, name: str) -> dict[str, Tensor]:
    table = saved.get(within, saved) if isinstance(saved, dict) else None
    found: dict[str, Tensor] = {}
    if isinstance(table, dict):
        for key, value in table.items():
            if isinstance(key, str) and type(value) is _Holder and isinstance(value.values, Tensor):
                found[key] = value.values
    if not isinstance(table, dict) or not table or len(found) < len(table):
        raise InputInvalid(f"{name}: holds no table of weights ({within}); it is no checkpoint of a network")
    return found


def _whole(values: object) -> tuple[int, ...]:
    """Give the values as they are, if they are a few whole numbers from 0 on."""
    if not isinstance(values, tuple) or len(values) > _MAX_AXES:
        raise pickle.UnpicklingError("not a few numbers")
    found = tuple(value for value in values if type(value) is int and value >= 0)
    if len(found) != len(values):
        raise pickle.UnpicklingError("not whole numbers")
    return found

"""Finished runs that a job must not accept: each takes a folder with a good one and spoils one thing."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

RUN = "trained"


def run_without_model(folder: Path) -> None:
    (folder / RUN / "model.safetensors").unlink()


def run_without_latents(folder: Path) -> None:
    (folder / RUN / "latents.npz").unlink()


def run_of_another_kind(folder: Path) -> None:
    """A folder that a job on maps left."""
    shutil.rmtree(folder / RUN)
    (folder / RUN).mkdir()
    (folder / RUN / "job.yaml").write_text("schema: cryobridge/job/1\nkind: map.fsc3d\n")
    (folder / RUN / "result.json").write_text("{}")


def run_empty(folder: Path) -> None:
    shutil.rmtree(folder / RUN)
    (folder / RUN).mkdir()


def run_missing(folder: Path) -> None:
    shutil.rmtree(folder / RUN)


def run_is_a_file(folder: Path) -> None:
    shutil.rmtree(folder / RUN)
    (folder / RUN).write_text("notes")


def model_cut_off(folder: Path) -> None:
    path = folder / RUN / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def model_empty(folder: Path) -> None:
    (folder / RUN / "model.safetensors").write_bytes(b"")


def model_a_link_to_a_device(folder: Path) -> None:
    path = folder / RUN / "model.safetensors"
    path.unlink()
    path.symlink_to("/dev/zero")


def model_a_pickle(folder: Path) -> None:
    (folder / RUN / "model.safetensors").write_bytes(hostile_pickle())


def model_without_tensors(folder: Path) -> None:
    description = _description(folder)
    (folder / RUN / "model.safetensors").write_bytes(safetensors.torch.save({}, {"cryobridge": description}))


def model_described_by_a_list(folder: Path) -> None:
    _describe(folder, lambda _: [1, 2, 3])


def model_of_no_known_name(folder: Path) -> None:
    _describe(folder, lambda said: {**said, "model": "resnet"})


def model_of_absurd_sizes(folder: Path) -> None:
    """Whatever number its description has is far beyond memory."""
    _describe(folder, lambda said: _larger(said, 10**9))


def model_of_sizes_below_zero(folder: Path) -> None:
    _describe(folder, lambda said: _larger(said, -3))


def model_of_sizes_without_end(folder: Path) -> None:
    _describe(folder, lambda said: _larger(said, float("inf")))


def model_of_words_for_sizes(folder: Path) -> None:
    _describe(folder, lambda said: _larger(said, "many"))


def model_of_no_numbers(folder: Path) -> None:
    path = folder / RUN / "model.safetensors"
    tensors = {name: value.clone() for name, value in safetensors.torch.load(path.read_bytes()).items()}
    first = next(name for name, value in sorted(tensors.items()) if value.is_floating_point() and value.numel() > 1)
    tensors[first].view(-1)[0] = float("nan")
    path.write_bytes(safetensors.torch.save(tensors, {"cryobridge": _description(folder)}))


def latents_of_fewer_particles(folder: Path) -> None:
    _relatent(folder, lambda z: z[:-1])


def latents_of_no_number(folder: Path) -> None:
    def spoil(z: np.ndarray) -> np.ndarray:
        z[3] = np.nan
        return z

    _relatent(folder, spoil)


def latents_wider(folder: Path) -> None:
    _relatent(folder, lambda z: np.concatenate([z, z], axis=1))


def latents_of_words(folder: Path) -> None:
    _relatent(folder, lambda z: np.full(z.shape, "word"))


def latents_of_objects(folder: Path) -> None:
    np.savez(folder / RUN / "latents.npz", z=np.array([{"a": 1}], dtype=object))


def latents_of_none(folder: Path) -> None:
    """Of no particles, beside particles of none."""
    _relatent(folder, lambda z: z[:0])


def variances_of_other_shape(folder: Path) -> None:
    path = folder / RUN / "latents.npz"
    np.savez(path, z=dict(np.load(path))["z"], log_variance=np.zeros((3, 7), np.float32))


def particles_of_the_run_damaged(folder: Path) -> None:
    path = folder / RUN / "particles.npz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def particles_of_the_run_without_columns(folder: Path) -> None:
    np.savez(folder / RUN / "particles.npz", nothing=np.zeros(3))


def hostile_pickle() -> bytes:
    """One that would leave a file if it were unpickled."""

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (Path("unpickled"),))

    return pickle.dumps(Hostile())


def _description(folder: Path) -> str:
    raw = (folder / RUN / "model.safetensors").read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    return str(json.loads(raw[8 : 8 + size])["__metadata__"]["cryobridge"])


def _describe(folder: Path, change: Callable[[Any], Any]) -> None:
    path = folder / RUN / "model.safetensors"
    said = change(json.loads(_description(folder)))
    tensors: dict[str, torch.Tensor] = safetensors.torch.load(path.read_bytes())
    path.write_bytes(safetensors.torch.save(tensors, {"cryobridge": json.dumps(said)}))


def _larger(said: Any, number: Any) -> Any:
    if isinstance(said, dict):
        return {key: _larger(value, number) for key, value in said.items()}
    return number if isinstance(said, int | float) and not isinstance(said, bool) else said


def _relatent(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / RUN / "latents.npz"
    np.savez(path, z=change(dict(np.load(path))["z"]))

"""Two processes joined by gloo, as torchrun starts them, learn what one process learns."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.rank_training import STEPS, trained

from cryobridge.bridge.worker.ranks import device_of_this_rank, ranks_from_environment
from cryobridge.core.training.ranks import ALONE

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "rank_training.py"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": "1"}
    files = [tmp_path / f"rank{rank}.safetensors" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(file)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    alone = trained(ALONE, torch.device("cpu")).tensors()
    try:
        said = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    assert [out.strip() for out, _ in said] == ["rank 0 of 2", "rank 1 of 2"]

    first, second = (load_file(file) for file in files)
    assert int(first["steps_done"]) == STEPS
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.keys() == alone.keys()
    assert max(float((first[name].double() - alone[name].double()).abs().max()) for name in alone) < 1e-5


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    cpu = torch.device("cpu")
    assert ranks_from_environment(cpu) is ALONE
    assert device_of_this_rank(cpu) == cpu


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ValueError, match="MASTER_ADDR, MASTER_PORT is not"):
        ranks_from_environment(torch.device("cpu"))


def test_each_rank_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda")
    assert device_of_this_rank(cuda, {"LOCAL_RANK": "1"}) == torch.device("cuda", 1)
    assert device_of_this_rank(cuda, {}) == cuda
    assert device_of_this_rank(torch.device("cpu"), {"LOCAL_RANK": "1"}) == torch.device("cpu")
    with pytest.raises(ValueError, match="2 visible GPUs"):
        device_of_this_rank(cuda, {"LOCAL_RANK": "2"})

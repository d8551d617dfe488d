"""Our standard map against `relion_external_reconstruct` itself, and against maps RELION wrote."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from relion_cases import make_case, relative_error, run_stock, write_case

from cryobridge.core.relion.wiener import reconstruct
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.relion import sums

LIMIT = {torch.float32: 1e-6, torch.float64: 1e-7}
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@pytest.fixture(scope="session")
def stock_program() -> Path:
    """RELION's own program."""
    found = shutil.which("relion_external_reconstruct")
    if found is None:
        pytest.skip("relion_external_reconstruct is not installed (Debian, Ubuntu: apt install relion)")
    return Path(found)


def ours(star: Path, dtype: torch.dtype, **options: object) -> np.ndarray:
    call = sums.read_call(star)
    d = call.description
    return reconstruct(call.data, call.weight, d.geometry, d.tau2, fudge=d.fudge, dtype=dtype, **options).numpy()


@pytest.mark.relion
@pytest.mark.parametrize(
    ("box", "padding", "current_size"),
    [
        (32, 2, 32),
        (32, 2, 20),
        (32, 1, 32),
        (32, 1, 17),
        (48, 2, 31),
        (33, 2, 33),
        (33, 1, 21),
        (64, 2, 64),
        (64, 2, 43),
        (64, 1, 50),
        (40, 1.5, 26),
        pytest.param(96, 2, 61, marks=pytest.mark.slow),
        pytest.param(128, 1, 128, marks=pytest.mark.slow),
        pytest.param(128, 2, 70, marks=pytest.mark.slow),
    ],
)
def test_equal_to_the_stock_program_on_random_sums(
    stock_program: Path, tmp_path: Path, box: int, padding: float, current_size: int
) -> None:
    case = make_case(box, padding, current_size, seed=box + current_size, fudge=1.0 if box % 64 else 4.0)
    star = write_case(case, tmp_path, newer=box % 3 == 0)
    for options, ours_options in (
        ((), {}),
        (("--no_map",), {"regularised": False}),
        (("--skip_gridding",), {"use_gridding": False}),
        (("--skip_gridding", "--no_map"), {"use_gridding": False, "regularised": False}),
    ):
        expected = mrc.read(run_stock(stock_program, star, *options))[0]
        for dtype, limit in LIMIT.items():
            error = relative_error(ours(star, dtype, style="stock", **ours_options), expected)
            assert error <= limit, f"{options} {dtype}: {error:.2e}"


@pytest.mark.relion
@PRECISIONS
def test_equal_where_the_prior_power_of_a_shell_is_zero(
    stock_program: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    case = make_case(32, 2, 24, seed=8)
    case.tau2[9] = 0.0
    star = write_case(case, tmp_path)
    expected = mrc.read(run_stock(stock_program, star))[0]
    assert relative_error(ours(star, dtype, style="stock"), expected) <= LIMIT[dtype]


@pytest.mark.shared
@PRECISIONS
@pytest.mark.parametrize("half", [1, 2])
def test_equal_to_what_relion_left_in_a_captured_iteration(
    captured_iteration: Path, half: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stock program's map, and with style relion3 and no prior RELION's own `_unfil.mrc`."""
    monkeypatch.chdir(captured_iteration)
    root = f"Refine3D/job001/run_it010_half{half}_class001"
    star = Path(f"{root}_external_reconstruct.star")
    stock = mrc.read(f"{root}_external_reconstruct_stock.mrc")[0]
    assert relative_error(ours(star, dtype), stock) <= LIMIT[dtype]
    unfiltered = mrc.read(f"{root}_unfil.mrc")[0]
    assert relative_error(ours(star, dtype, style="relion3", regularised=False), unfiltered) <= LIMIT[dtype]


@pytest.mark.shared
@PRECISIONS
def test_equal_to_the_stock_map_of_another_real_run(shared: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    source = shared / "data" / "relion_external" / "ha_box64_relion313" / "Ref"
    for half in (1, 2):
        for path in source.glob(f"run_it003_half{half}_class001_external_reconstruct*"):
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            (tmp_path / path.name.removesuffix(".gz")).write_bytes(content)
        star = tmp_path / f"run_it003_half{half}_class001_external_reconstruct.star"
        assert relative_error(ours(star, dtype), mrc.read(star.with_suffix(".mrc"))[0]) <= LIMIT[dtype]


@pytest.mark.relion
def test_the_fresh_process_writes_what_the_stock_program_writes(stock_program: Path, tmp_path: Path) -> None:
    star = write_case(make_case(32, 2, 26, seed=3), tmp_path)
    expected = mrc.read(run_stock(stock_program, star))[0]
    output = tmp_path / "fallback.mrc"
    command = [sys.executable, "-I", "-m", "cryobridge.wrappers.relion.standard", str(star)]
    subprocess.run([*command, "--output", str(output), "--style", "stock"], check=True, timeout=120)
    assert relative_error(mrc.read(output)[0], expected) <= LIMIT[torch.float32]

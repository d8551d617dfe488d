"""Particle files that unpack to more than anybody has, or hold what no refinement writes (D7, D13)."""

from __future__ import annotations

import bz2
import gzip
import random
import struct
from collections.abc import Callable

from ..stage import Stage
from .deed import Deed

MANY = 400 << 20
"""Bytes that a small file unpacks to: enough to be seen in the worker's memory, not to fell the machine."""


def _bomb(pack: Callable[[bytes], bytes]) -> bytes:
    head = b"data_particles\n\nloop_\n_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n"
    member = pack(b"1 2 3\n" * ((8 << 20) // 6))
    return pack(head) + member * (MANY // (8 << 20))


def _one_token(_: random.Random) -> bytes:
    return b"data_particles\n\nloop_\n_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n" + b"1" * (50 << 20)


def _numpy(header: str) -> bytes:
    body = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def _odd_dtype(dice: random.Random) -> bytes:
    dtype = dice.choice(
        (
            "[('alignments3D/pose', '<f4', (3,)), ('x', '|V0')]",
            "'|S0'",
            "[(('a', 'b'), '<f4')]" + "(" * 500,
            "-" * 5000 + "1",
            "[('alignments3D/pose', '<f4', (1000000000, 3))]",
            "'|O'",
        )
    )
    return _numpy(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (1000000000,), }}") + b"\0" * 100


def _huge_angles(_: random.Random) -> bytes:
    head = b"data_particles\n\nloop_\n_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n"
    return head + b"1e308 -1e308 1e308\n3 4 5\n" * 50


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "gz": lambda dice: _bomb(lambda data: gzip.compress(data, 9)),
    "bz2": lambda dice: _bomb(bz2.compress),
    "one token": _one_token,
    "odd dtype": _odd_dtype,
    "huge angles": _huge_angles,
}


def odd_particles(stage: Stage, dice: random.Random) -> str:
    """One such file for a job; the worker's memory and the job's end are looked at by others."""
    submitting = stage.services["submitting"]
    name = dice.choice(sorted(KINDS))
    output = submitting.output()
    path = output.with_name(f"{output.name}-particles.star")
    path.write_bytes(KINDS[name](dice))
    job_id = submitting.submit("sampling", output, may_fail=True, inputs={"particles": str(path)})
    stage.until(lambda: job_id not in submitting.open_ids(), 40.0)
    path.unlink()
    return f"{name}: {job_id}"


DEEDS = (Deed("odd particle files", odd_particles, 2),)

"""What another program makes of the same particles: cryoDRGN's parsers of .cs and STAR against ours.

    python bench/particle_peer.py --python PYTHON [--cs FILE --box N] [--write tests/.../cryodrgn.json]

PYTHON is an interpreter that has cryodrgn, which is run as a program only. Without a file it is given the particles of
`tests/support/spread_particles.py`; with `--write` its figures for 20 of them are kept, which a test compares with.
"""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import starfile
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.spread_particles import BOX, spread_particles

from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.particles.from_cryosparc import relion_tables, star_blocks

COMMAND = """
import argparse, importlib, sys
command = importlib.import_module("cryodrgn.commands." + sys.argv.pop(1))
parser = argparse.ArgumentParser()
command.add_args(parser)
command.main(parser.parse_args())
"""
"""One command alone: the program's own entry imports what only its networks need."""
KEPT = (*range(1, 13), *range(100, 900, 100))
"""Not the first, which is not turned at all: cryoDRGN divides by the angle, and has no numbers for it."""


def parsed(python, command, source, target, *options):
    """What a command of cryoDRGN's leaves."""
    program = [python, "-c", COMMAND, command, str(source), "-o", str(target), *options]
    subprocess.run(program, check=True, capture_output=True)
    with open(target, "rb") as file:
        # Written a moment ago by the program that was run here, into a folder of our own.
        return pickle.load(file)


def matrices(angles):
    """RELION's matrices of rot, tilt, psi in degrees, by scipy: intrinsic z, y, z, transposed."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)


def compared(python, columns, box, folder):
    """Their figures by name, and the largest differences from ours."""
    write_table(folder / "particles.cs", columns)
    tables = relion_tables(read_table(folder / "particles.cs"), "particles.cs")
    star.write_atomically(folder / "particles.star", star_blocks(tables))
    rotations, shifts = parsed(python, "parse_pose_csparc", folder / "particles.cs", folder / "a.pkl", "-D", str(box))
    ctf = parsed(python, "parse_ctf_csparc", folder / "particles.cs", folder / "b.pkl")
    star_rotations, star_shifts = parsed(python, "parse_pose_star", folder / "particles.star", folder / "c.pkl")
    star_ctf = parsed(python, "parse_ctf_star", folder / "particles.star", folder / "d.pkl")
    table = starfile.read(folder / "particles.star")["particles"]
    read = matrices(table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float))
    ours = matrices(np.stack([tables.particles[f"rlnAngle{one}"] for one in ("Rot", "Tilt", "Psi")], axis=1))
    in_boxes = np.stack([tables.particles[f"rlnOrigin{one}Angst"] for one in "XY"], axis=1) / (
        tables.optics["rlnImageSize"][0] * tables.optics["rlnImagePixelSize"][0]
    )
    known = np.isfinite(rotations).all(axis=(1, 2))
    differences = {
        "particles that it has no rotation for": np.count_nonzero(~known),
        "rotations: our angles, its .cs": np.abs(ours - rotations)[known].max(),
        "rotations: our STAR by starfile, its .cs": np.abs(read - rotations)[known].max(),
        "rotations: our STAR by cryodrgn, its .cs": np.abs(star_rotations - rotations)[known].max(),
        "shifts in boxes: ours, its .cs": np.abs(in_boxes - shifts).max(),
        "shifts in boxes: our STAR by cryodrgn, its .cs": np.abs(star_shifts - shifts).max(),
        "CTF: our STAR by cryodrgn, its .cs (relative)": (
            np.abs(star_ctf - ctf) / np.maximum(np.abs(ctf).max(axis=0), 1e-9)
        ).max(),
    }
    return {"rotations": rotations, "shifts": shifts, "ctf": ctf}, differences


def main():
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--cs", type=Path)
    parser.add_argument("--box", type=int, default=BOX)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    columns = spread_particles() if options.cs is None else read_table(options.cs)
    with tempfile.TemporaryDirectory() as folder:
        figures, differences = compared(options.python, columns, options.box, Path(folder))
    for name, value in differences.items():
        print(f"{value:.2e}  {name}")
    if options.write:
        version = subprocess.run(
            [options.python, "-c", "import cryodrgn; print(cryodrgn.__version__)"], check=True, capture_output=True
        )
        kept = {name: np.asarray(values, float)[list(KEPT)].round(9).tolist() for name, values in figures.items()}
        told = {
            "program": f"cryodrgn {version.stdout.decode().strip()} (PyPI), its commands parse_pose_csparc, "
            "parse_ctf_csparc, parse_pose_star, parse_ctf_star",
            "made_by": "bench/particle_peer.py",
            "particles": "spread_particles() of tests/support",
            "largest_differences_of_all_particles": {
                name: float(f"{value:.3g}") for name, value in differences.items()
            },
            "rows": list(KEPT),
            **kept,
        }
        options.write.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()

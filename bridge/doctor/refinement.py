"""Checks one RELION job folder: does its latest iteration really call the bridge, and is there room for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.relion import SETTINGS_NAME, own_settings, resolve_options
from cryobridge.wrappers.relion.jobdir import option_value
from cryobridge.wrappers.relion.local_searches import begins_too_late
from cryobridge.wrappers.relion.run_folder import RunFolder, optimisers, read_refinement, read_text

from .finding import Finding, Level

MAPS_PER_ITERATION = 10
"""Maps of one box that RELION and the hook write per iteration: classes, unfiltered, results, kept standard maps."""
COMFORTABLE_ITERATIONS = 3
GPU_HEADROOM_MB = 1500


def check_job_folder(folder: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check the output root of a job folder that was written last, as RELION calls it with these variables."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        yield Finding("job folder", Level.FAIL, f"{folder}: {error.strerror}", "give a RELION job folder")
        return
    latest = optimisers(names)
    if not latest:
        yield Finding(
            "job folder",
            Level.FAIL,
            f"{folder} holds no _itNNN_optimiser.star",
            "give the folder of a Refine3D or Class3D job that has started",
        )
        return

    def written(root: str) -> float:
        return (folder / f"{root}_it{latest[root]:03d}_optimiser.star").stat().st_mtime

    root = max(latest, key=written)
    refinement = read_refinement(folder, root, latest[root])
    if refinement is None:
        yield Finding(
            "job folder",
            Level.FAIL,
            f"{root}_it{latest[root]:03d}_optimiser.star in {folder} is not whole",
            "try again",
        )
        return
    where = f"{root}, iteration {refinement.iteration}, RELION {refinement.version or 'of unknown version'}"
    yield Finding("job folder", Level.OK, where)
    yield check_external(refinement)
    yield from check_command(refinement)
    yield check_mask(refinement)
    yield from check_settings_file(folder, refinement)
    yield from check_start(folder, refinement, environment)
    yield check_disk(refinement, shutil.disk_usage(folder).free)


def check_external(refinement: RunFolder) -> Finding:
    """The latest iteration was told to call an external reconstruction, and Blush does not come before it."""
    if refinement.blush:
        return Finding(
            "--blush",
            Level.FAIL,
            "is on: RELION calls Blush and never the bridge",
            "continue the job with Blush switched off",
        )
    if refinement.external:
        return Finding("--external_reconstruct", Level.OK, "is on")
    if "--continue" in refinement.facts.command_line.split():
        return Finding(
            "--external_reconstruct",
            Level.FAIL,
            "was lost when the job was continued: RELION 4.0.2 and later drop it silently",
            "continue again with --external_reconstruct among the additional arguments",
        )
    return Finding(
        "--external_reconstruct",
        Level.FAIL,
        "is not on: RELION reconstructs by itself",
        "add it to the additional arguments",
    )


def check_command(refinement: RunFolder) -> Iterator[Finding]:
    """Options of the refinement that change what the bridge can do."""
    facts = refinement.facts
    words = facts.command_line.split()
    if not words:
        yield Finding("command", Level.WARN, "is not in the optimiser file", "was the file edited?")
    if facts.sequential_halves:
        yield Finding(
            "--sequential_halves_recons",
            Level.WARN,
            "half 2 is called only after half 1 returned, so there is never a pair: standard maps only",
            "continue without it",
        )
    if facts.gradient:
        yield Finding(
            "gradient refinement", Level.WARN, "gets standard maps only", "use auto-refine or Class3D without VDAM"
        )
    if not refinement.split_halves:
        yield Finding(
            "half-sets", Level.WARN, "there are none: each class gets its standard map", "correction needs auto-refine"
        )
    if "--keep_lowres" in words:
        limit = f" below {facts.initial_highres_A:g} A" if facts.initial_highres_A else ""
        yield Finding("--keep_lowres", Level.OK, f"the starting reference is kept{limit}")
    if "--gpu" in words and option_value(facts.command_line, "--free_gpu_memory") is None:
        yield Finding(
            "--free_gpu_memory",
            Level.WARN,
            "is not set: RELION takes all GPU memory in every expectation step",
            f"add --free_gpu_memory {GPU_HEADROOM_MB} where RELION and the bridge share a GPU",
        )


def check_mask(refinement: RunFolder) -> Finding:
    """The solvent mask is set and there."""
    if refinement.mask_missing:
        return Finding(
            "solvent mask",
            Level.FAIL,
            f"{refinement.mask_missing} is not there, seen from {refinement.job_dir}",
            "put it back, or give the job folder inside its project",
        )
    if refinement.mask is None:
        return Finding(
            "solvent mask",
            Level.WARN,
            "is not set: the correction works in a sphere of the particle's diameter",
            "a mask gives a better correction: --solvent_mask MASK --solvent_correct_fsc",
        )
    return Finding("solvent mask", Level.OK, f"is {refinement.mask}")


def check_settings_file(folder: Path, refinement: RunFolder) -> Iterator[Finding]:
    """The job folder's own settings, if there are any, can be read."""
    text = read_text(folder / SETTINGS_NAME)
    if not text:
        return
    try:
        resolve_options({}, refinement.facts.command_line, text, own_settings(text, {}))
    except InputInvalid as error:
        yield Finding(
            SETTINGS_NAME, Level.FAIL, str(error), "correct it: the standard map is used as long as it is wrong"
        )
    else:
        yield Finding(SETTINGS_NAME, Level.OK, "is used")


def check_start(folder: Path, refinement: RunFolder, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The correction begins while RELION still searches globally; silent where it cannot be told or is off."""
    local = refinement.facts.local_healpix_order
    text = read_text(folder / SETTINGS_NAME) or None
    try:
        options, _ = resolve_options(environment, refinement.facts.command_line, text, own_settings(text, environment))
    except InputInvalid:
        return  # check_settings_file and the check of the variables say what is wrong
    if local is None or not options.correction or refinement.facts.gradient:
        return
    late = begins_too_late(options, refinement.facts)
    if late is None:
        where = f"from healpix order {options.start_healpix} on; RELION searches locally from {local} on"
        yield Finding("start of correction", Level.OK, where)
    else:
        yield Finding("start of correction", Level.WARN, late.text, late.advice)


def check_disk(refinement: RunFolder, free_bytes: int) -> Finding:
    """There is room for what RELION writes for an iteration."""
    if refinement.box is None:
        return Finding("disk", Level.WARN, "the model file does not say the box, so the need is not known")
    needed = bytes_per_iteration(refinement.box, refinement.padding or 2.0)
    text = f"{free_bytes / 1e9:.1f} GB free, {needed / 1e9:.2f} GB needed at once per iteration (box {refinement.box})"
    if free_bytes < needed:
        return Finding("disk", Level.FAIL, text, "make room: RELION stops when a write fails")
    if free_bytes < COMFORTABLE_ITERATIONS * needed:
        return Finding("disk", Level.WARN, text, "make room")
    return Finding("disk", Level.OK, text)


def bytes_per_iteration(box: int, padding: float) -> int:
    """What both halves write for one external call, and the maps of the iteration.

    Three float32 volumes of (P, P, P/2+1), P = round(padding * box), for each half (relion: backprojector.cpp).
    """
    padded = int(padding * box + 0.5)
    volumes = 2 * 12 * padded * padded * (padded // 2 + 1)
    return volumes + MAPS_PER_ITERATION * (4 * box**3 + 1024)

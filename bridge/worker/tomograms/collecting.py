"""A table of tomograms out of folders, with what headers and tilt angles say of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryobridge.core.tomogram import WedgeEvidence
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.prepare_star import PrepareStarInputs, PrepareStarOptions
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.tomograms.collected import CheckedTomogram, checked, collected
from cryobridge.wrappers.tomograms.name_matching import files_in, matching_file
from cryobridge.wrappers.tomograms.row_tilts import TILT_ANGLES
from cryobridge.wrappers.tomograms.table import HALVES
from cryobridge.wrappers.tomograms.table_paths import text_of
from cryobridge.wrappers.tomograms.table_text import NOTHING
from cryobridge.wrappers.tomograms.tilt_angles import TiltAngles, implausible_defocus, read_tilt_angles, tilt_list
from cryobridge.wrappers.tomograms.tilt_files import TILT_ENDINGS

from ..jobs.context import Context
from ..loop import Progress
from .half_averages import averaged
from .wedge_check import checked_wedge

_MASKS = (".mrc", ".mrc.gz", ".rec")
_POINTS = (".mod", ".txt", ".csv", ".json")
Columns = dict[str, list[str]]
Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class CollectedTable:
    """What was found and written.

    Attributes
    ----------
    found
        How many tomograms there are in the folder.
    tomograms
        Those that can be used.
    tilts, defoci_A, columns
        Of each of them: tilt angles or None, the defocus or 0, its cells by label.
    seen
        The empty wedge of those in which it can be seen.
    remarks
        What a user should know, in sentences.
    averaged
        How many whole tomograms were made of halves.
    """

    found: int
    tomograms: Sequence[CheckedTomogram]
    tilts: Sequence[TiltAngles | None]
    defoci_A: Sequence[float]
    columns: Columns
    seen: Sequence[WedgeEvidence]
    remarks: Sequence[str]
    averaged: int = 0


def collect_table(
    inputs: PrepareStarInputs, options: PrepareStarOptions, context: Context
) -> Generator[Progress, None, CollectedTable]:
    """Write the table, and a list of tilt angles for each tomogram that has one, into the output folder.

    Means of halves are written before, if they are wanted.

    Raises
    ------
    InputInvalid
        If a folder holds nothing that can be used, files do not belong together, or the data contradict the tilts.
    """
    folder = context.folder
    remarks: list[str] = []
    found = collected(inputs.folder, inputs.even, inputs.odd)
    tomograms: list[CheckedTomogram] = []
    for number, one in enumerate(found):
        usable = checked(one, options.pixel_size_A, remarks.append)
        tomograms += [] if usable is None else [usable]
        yield Progress(f"read the header of {one.files[0].name}", 0.6 * (number + 1) / len(found))
    if not tomograms:
        raise InputInvalid(f"{inputs.folder}: none of its {len(found)} files can be used; {remarks[-1]}")
    tilts = _tilts(inputs, options, tomograms, remarks)
    defoci_A = _defoci_A(options, tilts)
    ranges = [_range_deg(options, one) for one in tilts]
    remarks += _mixed(tomograms)
    folder.mark("read")
    seen: list[WedgeEvidence] = []
    for number, tomogram in enumerate(tomograms if options.check_wedge else ()):
        evidence, doubt = checked_wedge(tomogram.files.files[0], *ranges[number])
        seen += [] if evidence is None or evidence.axis is None else [evidence]
        remarks += [] if doubt is None else [doubt]
        yield Progress(f"looked at the empty wedge of {tomogram.files.name}", 0.6 + 0.3 * (number + 1) / len(tomograms))
    folder.mark("wedge")
    yield from context.remarked(remarks)
    whole = sum(one.files.full is not None for one in tomograms)
    if options.create_average:
        tomograms = yield from averaged(tomograms, context, 0.9)
    table = folder.path / options.output_star
    columns = _columns(options, tomograms, defoci_A, table)
    columns |= _tilt_columns(ranges, tomograms, tilts, context)
    for label, place, endings in (
        ("rlnMaskBoundary", inputs.boundary_folder, _POINTS),
        ("rlnMaskName", inputs.mask_folder, _MASKS),
        ("rlnBoxFile", inputs.coordinate_folder, _POINTS),
    ):
        if place is not None:
            columns[label] = _beside(tomograms, place, endings, table)
    made = sum(one.files.full is not None for one in tomograms) - whole
    folder.write_text(options.output_star, star.format_blocks({"": columns}))
    return CollectedTable(len(found), tomograms, tilts, defoci_A, columns, seen, remarks, made)


def _tilts(
    inputs: PrepareStarInputs,
    options: PrepareStarOptions,
    tomograms: Sequence[CheckedTomogram],
    remarks: list[str],
) -> list[TiltAngles | None]:
    """The tilt angles of each tomogram; none without a folder of them."""
    place = inputs.tilt_folder
    if place is None:
        return [None] * len(tomograms)
    candidates = files_in(place, TILT_ENDINGS, options.tilt_pattern)
    if not candidates:
        raise InputInvalid(f"{place}: holds no files of tilt angles ({', '.join(TILT_ENDINGS)}); see 'tilt_pattern'")
    # Refined angles first, where a tomogram has files of several programs.
    order = {ending: number for number, ending in enumerate(TILT_ENDINGS)}
    candidates.sort(key=lambda path: (order.get(path.suffix.lower(), len(order)), path.name))
    found: list[TiltAngles | None] = []
    for tomogram in tomograms:
        path = matching_file(tomogram.files.files[0], candidates)
        if path is None:
            remarks.append(f"{tomogram.files.name}: has no file of tilt angles in {place}")
            found.append(None)
            continue
        tilts = read_tilt_angles(path, options.maker, pretilt_deg=options.pretilt_deg, mirrored=options.mirrored)
        remarks += tilts.remarks
        found.append(tilts)
    if not any(found):
        raise InputInvalid(f"{place}: no file of tilt angles is named as a tomogram is, as TS_01.tlt for TS_01.mrc")
    return found


def _defoci_A(options: PrepareStarOptions, tilts: Sequence[TiltAngles | None]) -> list[float]:
    """The defocus of each tomogram at 0 degrees; 0 where nobody knows it."""
    given = options.defocus_A
    if given is None:
        return [(0.0 if one is None else one.defocus_A) or 0.0 for one in tilts]
    if len(given) not in (1, len(tilts)):
        raise InputInvalid(f"defocus_A: has {len(given)} numbers for {len(tilts)} tomograms; give one, or one for each")
    wrong = next((said for said in map(implausible_defocus, given) if said is not None), None)
    if wrong is not None:
        raise InputInvalid(f"defocus_A: {wrong}")
    return list(given) * (len(tilts) if len(given) == 1 else 1)


def _mixed(tomograms: Sequence[CheckedTomogram]) -> list[str]:
    sizes_A = [one.voxel_size_A for one in tomograms]
    if max(sizes_A) <= 1.01 * min(sizes_A):
        return []
    return [
        f"Voxels are of {min(sizes_A):.4g} to {max(sizes_A):.4g} A; a network learns best from "
        "tomograms of one size: see tomo.resize."
    ]


def _columns(
    options: PrepareStarOptions, tomograms: Sequence[CheckedTomogram], defoci_A: Sequence[float], table: Path
) -> Columns:
    """What every table has, in IsoNet's order, and what was asked for."""
    count = len(tomograms)
    columns: Columns = {"rlnIndex": [str(number) for number in range(1, count + 1)]}
    files = [one.files for one in tomograms]
    for label, paths in (
        ("rlnMicrographName", [one.full for one in files]),
        (HALVES[0], [one.half1 for one in files]),
        (HALVES[1], [one.half2 for one in files]),
    ):
        if any(path is not None for path in paths):
            columns[label] = [NOTHING if path is None else text_of(path, table) for path in paths]
    columns["rlnPixelSize"] = [f"{one.voxel_size_A:.6f}" for one in tomograms]
    columns["rlnDefocus"] = [f"{value:.6f}" for value in defoci_A]
    columns["rlnNumberSubtomo"] = [str(options.number_subtomos)] * count
    columns["rlnMaskBoundary"] = [NOTHING] * count
    for label, value in (
        ("rlnVoltage", options.voltage_kV),
        ("rlnSphericalAberration", options.cs_mm),
        ("rlnAmplitudeContrast", options.amplitude_contrast),
    ):
        if value is not None:
            columns[label] = [f"{value:.6f}"] * count
    return columns


def _tilt_columns(
    ranges: Sequence[Range],
    tomograms: Sequence[CheckedTomogram],
    tilts: Sequence[TiltAngles | None],
    context: Context,
) -> Columns:
    """Ranges, and lists that are written into the output folder."""
    columns: Columns = {}
    for label, side in (("rlnTiltMin", 0), ("rlnTiltMax", 1)):
        values = [one[side] for one in ranges]
        if any(value is not None for value in values):
            columns[label] = [NOTHING if value is None else f"{value:.4f}" for value in values]
    if not any(tilts):
        return columns
    columns[TILT_ANGLES] = []
    roots = [one.files.name for one in tomograms]
    for number, one in enumerate(tilts):
        root = roots[number] if roots.count(roots[number]) == 1 else f"{roots[number]}_{number + 1}"
        columns[TILT_ANGLES].append(NOTHING if one is None else f"{root}.tlt")
        if one is not None:
            context.folder.write_text(f"{root}.tlt", tilt_list(one.angles_deg))
    return columns


def _range_deg(options: PrepareStarOptions, tilts: TiltAngles | None) -> Range:
    """What was given goes before what was read."""
    lowest, highest = options.tilt_min_deg, options.tilt_max_deg
    if tilts is not None:
        lowest = tilts.tilt_min_deg if lowest is None else lowest
        highest = tilts.tilt_max_deg if highest is None else highest
    if lowest is not None and highest is not None and lowest >= highest:
        raise InputInvalid(
            f"tilt_min_deg: {lowest:g} is not below the highest tilt, {highest:g}; give both, or neither"
        )
    return lowest, highest


def _beside(tomograms: Sequence[CheckedTomogram], place: Path, endings: Sequence[str], table: Path) -> list[str]:
    """The file of each tomogram in a folder."""
    candidates = files_in(place, endings)
    found = [matching_file(one.files.files[0], candidates) for one in tomograms]
    if not any(found):
        raise InputInvalid(f"{place}: no file ({', '.join(endings)}) is named as a tomogram is, as TS_01 in its name")
    return [NOTHING if path is None else text_of(path, table) for path in found]

"""Sets of particles from every table: against the truth that the tables were written from."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_stacks import (
    BOX,
    COUNT,
    SIZE_A,
    Truth,
    cs_columns,
    numbered_images,
    star30,
    star31,
    star_table,
    write_stack,
)

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.formats.cs_table import write_table
from cryobridge.wrappers.formats.pickled_arrays import pickled
from cryobridge.wrappers.particles.image_reader import read_images
from cryobridge.wrappers.particles.legacy_tables import legacy_ctf, legacy_poses
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_particles, read_table_set
from cryobridge.wrappers.particles.set_arrays import arrays_of, set_of
from cryobridge.wrappers.particles.table_choice import TableChoice

TRUTH = Truth()
HALF = COUNT // 2
NAMES = [f"{row % HALF + 1:06d}@stacks/{'ab'[row // HALF]}.mrcs" for row in range(COUNT)]
PATHS, INDICES = [name.partition("@")[2] for name in NAMES], [int(name[:6]) - 1 for name in NAMES]
IMAGES = numbered_images()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two stacks of half of the images each."""
    (tmp_path / "stacks").mkdir()
    write_stack(tmp_path / "stacks/a.mrcs", IMAGES[:HALF])
    write_stack(tmp_path / "stacks/b.mrcs", IMAGES[HALF:], mode=12, order=">")
    return tmp_path


def table(project: Path, sort: str) -> Path:
    path = project / f"particles.{'cs' if sort == 'cs' else 'star'}"
    if sort == "cs":
        write_table(path, cs_columns(TRUTH, [f">{name}" for name in PATHS], INDICES))
    else:
        path.write_text({"3.0": star30, "3.1": star31}[sort](TRUTH, NAMES))
    return path


def px(found: ParticleSet) -> np.ndarray:
    assert found.shifts_A is not None
    return found.shifts_A / found.pixel_size_A[:, None]


@pytest.mark.parametrize("sort", ["3.0", "3.1", "cs"])
def test_poses_ctf_and_images_are_those_that_the_table_was_written_from(project: Path, sort: str) -> None:
    found = read_particles(table(project, sort))
    exact = 1e-6 if sort == "cs" else 1e-9  # a .cs holds float32
    assert found.rotations is not None
    assert found.ctf is not None
    assert np.abs(found.rotations - TRUTH.matrices()).max() < exact
    assert np.abs(px(found) - TRUTH.origin_px).max() < 1e-6
    assert np.allclose(found.pixel_size_A, TRUTH.size_A, rtol=1e-7)
    assert np.allclose(found.ctf.defocus_u_A, TRUTH.defocus[:, 0], rtol=1e-7)
    assert np.allclose(found.ctf.defocus_v_A, TRUTH.defocus[:, 1], rtol=1e-7)
    assert np.allclose(found.ctf.defocus_angle_deg, TRUTH.astigmatism_deg, atol=1e-5)
    assert np.array_equal(found.ctf.voltage_kV, TRUTH.voltage)
    assert np.array_equal(read_images(found, np.arange(COUNT)), IMAGES)
    assert (found.box, len(found)) == (BOX, COUNT)
    if sort != "3.0":
        assert np.array_equal(found.optics_group, TRUTH.group)


@pytest.mark.parametrize("sort", ["3.0", "3.1", "cs"])
def test_rows_in_another_order_have_the_same_images(project: Path, sort: str) -> None:
    order = np.random.default_rng(3).permutation(COUNT)
    shuffled = Truth()
    for name in ("angles", "origin_px", "defocus", "astigmatism_deg", "group", "voltage", "size_A"):
        setattr(shuffled, name, getattr(TRUTH, name)[order])
    if sort == "cs":
        write_table(project / "a.cs", cs_columns(shuffled, [PATHS[at] for at in order], [INDICES[at] for at in order]))
        found = read_particles(project / "a.cs")
    else:
        text = {"3.0": star30, "3.1": star31}[sort](shuffled, [NAMES[at] for at in order])
        (project / "a.star").write_text(text)
        found = read_particles(project / "a.star")
    assert found.rotations is not None
    assert np.array_equal(read_images(found, np.arange(COUNT)), IMAGES[order])
    assert np.abs(found.rotations - TRUTH.matrices()[order]).max() < 1e-6


def test_images_come_in_the_order_that_they_are_asked_for(project: Path) -> None:
    found = read_particles(table(project, "3.1"))
    members = np.array([7, 0, 7, 11, 3, 2])
    assert np.array_equal(read_images(found, members), IMAGES[members])
    assert read_images(found, np.zeros(0, np.int64)).shape == (0, BOX, BOX)


def test_stacks_are_found_from_the_project_above_the_table_and_from_datadir(project: Path, tmp_path: Path) -> None:
    job = project / "Refine3D/job012"
    job.mkdir(parents=True)
    (job / "run_data.star").write_text(star31(TRUTH, NAMES))
    assert len(read_particles(job / "run_data.star")) == COUNT
    other = tmp_path / "elsewhere/deep"
    other.mkdir(parents=True)
    shutil.move(project / "stacks", other / "stacks")
    assert len(read_particles(job / "run_data.star", datadir=other)) == COUNT
    assert len(read_particles(job / "run_data.star", datadir=other / "stacks")) == COUNT
    with pytest.raises(InputInvalid, match=r"names the stack stacks/a.mrcs, which is not there .* give 'datadir'"):
        read_particles(job / "run_data.star")


def test_quoted_names_several_blocks_and_optics_behind_the_particles_are_read(project: Path) -> None:
    shutil.move(project / "stacks/a.mrcs", project / "stacks/my stack.mrcs")
    names = [f'"{name.replace("a.mrcs", "my stack.mrcs")}"' for name in NAMES]
    text = star31(TRUTH, names)
    optics, _, particles = text.partition("\ndata_particles")
    general = "\ndata_job\n\n_rlnJobTypeLabel relion.refine3d\n"
    (project / "a.star").write_text(general + "\ndata_particles" + particles + optics)
    found = read_particles(project / "a.star")
    assert np.array_equal(read_images(found, np.arange(COUNT)), IMAGES)
    assert np.array_equal(found.optics_group, TRUTH.group)


def test_a_list_and_a_bare_stack_have_images_alone(project: Path) -> None:
    (project / "a.txt").write_text("stacks/b.mrcs\n\nstacks/a.mrcs\n")
    found = read_particles(project / "a.txt")
    assert np.array_equal(read_images(found, np.arange(COUNT)), np.concatenate([IMAGES[HALF:], IMAGES[:HALF]]))
    bare = read_particles(project / "stacks/a.mrcs", pixel_size_A=1.5)
    assert (bare.rotations, bare.ctf, bare.source) == (None, None, None)
    assert bare.pixel_size_A.tolist() == [1.5] * HALF


def test_a_list_may_name_a_stack_twice(project: Path) -> None:
    (project / "a.txt").write_text("stacks/a.mrcs\nstacks/a.mrcs\n")
    found = read_particles(project / "a.txt")
    assert np.array_equal(read_images(found, np.arange(COUNT)), np.concatenate([IMAGES[:HALF]] * 2))


def test_poses_and_ctf_beside_a_stack_are_taken_row_by_row_with_their_own_pixel_sizes(project: Path) -> None:
    whole = read_particles(table(project, "3.1"))
    (project / "pose.pkl").write_bytes(legacy_poses(whole))
    (project / "ctf.pkl").write_bytes(legacy_ctf(whole))
    (project / "all.txt").write_text("stacks/a.mrcs\nstacks/b.mrcs\n")
    found = read_particles(project / "all.txt", poses=project / "pose.pkl", ctf=project / "ctf.pkl")
    assert found.rotations is not None
    assert found.ctf is not None
    assert np.abs(found.rotations - TRUTH.matrices()).max() < 1e-9
    assert np.abs(px(found) - TRUTH.origin_px).max() < 1e-6
    assert np.allclose(found.pixel_size_A, TRUTH.size_A, rtol=1e-6)
    assert np.allclose(found.ctf.defocus_u_A, TRUTH.defocus[:, 0], rtol=1e-6)


@pytest.mark.parametrize("name", ["all.txt", "all.star"])
def test_nothing_is_said_of_a_pixel_size_that_the_ctf_table_replaces(project: Path, name: str) -> None:
    (project / "ctf.pkl").write_bytes(legacy_ctf(read_particles(table(project, "3.1"))))
    # Headers of the STAR file's stacks say a size, which is not that of the table.
    for stack in "ab" if name == "all.txt" else "":
        write_stack(project / f"stacks/{stack}.mrcs", IMAGES[:HALF], size_A=0)
    (project / "all.txt").write_text("stacks/a.mrcs\nstacks/b.mrcs\n")
    (project / "all.star").write_text(star_table({"rlnImageName": NAMES}))
    assert any("pixel size" in line for line in read_particles(project / name).remarks)
    found = read_particles(project / name, ctf=project / "ctf.pkl")
    assert np.allclose(found.pixel_size_A, TRUTH.size_A, rtol=1e-6)
    assert not any("pixel size" in line for line in found.remarks)


def test_flat_rotations_and_rotations_without_shifts_are_taken(project: Path) -> None:
    path = table(project, "3.1")
    for name, value in (("flat", (TRUTH.matrices().reshape(-1, 9), np.zeros((COUNT, 2)))), ("bare", TRUTH.matrices())):
        (project / f"{name}.pkl").write_bytes(pickled(value))
        found = read_particles(path, poses=project / f"{name}.pkl")
        assert found.rotations is not None
        assert np.abs(found.rotations - TRUTH.matrices()).max() < 1e-9
        assert not px(found).any()


def test_poses_of_our_own_file_go_to_their_images_whatever_the_order_of_rows(project: Path) -> None:
    whole = read_particles(table(project, "3.1"))
    (project / "poses.npz").write_bytes(arrays_bytes(arrays_of(whole)))
    order = np.random.default_rng(1).permutation(COUNT)
    text = star_table({"rlnImageName": [NAMES[at] for at in order], "rlnImagePixelSize": [SIZE_A] * COUNT})
    (project / "shuffled.star").write_text(text)
    found = read_particles(
        project / "shuffled.star", poses=project / "poses.npz", ctf=project / "poses.npz", pixel_size_A=SIZE_A
    )
    assert found.rotations is not None
    assert found.ctf is not None
    assert np.abs(found.rotations - TRUTH.matrices()[order]).max() < 1e-9
    assert np.allclose(found.ctf.defocus_u_A, TRUTH.defocus[order, 0])


def test_poses_that_were_parsed_before_downsampling_go_to_the_smaller_images_in_the_order_of_the_rows(
    project: Path,
) -> None:
    """Both stacks end in the same name, and the smaller one has numbers of its own."""
    order = np.random.default_rng(2).permutation(COUNT)
    write_stack(project / "particles.mrcs", IMAGES)
    (project / "p.star").write_text(star31(TRUTH, [f"{at + 1}@particles.mrcs" for at in order]))
    parsed = read_table_set(project / "p.star", (), TableChoice(images=False))
    assert parsed.stacks == (Path("particles.mrcs"),)
    (project / "poses.npz").write_bytes(arrays_bytes(arrays_of(parsed)))
    names = {"rlnImageName": [f"{at + 1}@{project}/down/particles.mrcs" for at in range(COUNT)]}
    (project / "down").mkdir()
    write_stack(project / "down/particles.mrcs", numbered_images(box=BOX // 2), size_A=2 * SIZE_A)
    (project / "down/particles.star").write_text(star_table(names))
    found = read_particles(
        project / "down/particles.star", poses=project / "poses.npz", ctf=project / "poses.npz", pixel_size_A=SIZE_A
    )
    assert found.rotations is not None
    assert found.ctf is not None
    assert np.abs(found.rotations - TRUTH.matrices()).max() < 1e-9
    assert np.allclose(found.ctf.defocus_u_A, TRUTH.defocus[:, 0])


def _parsed(project: Path, order: np.ndarray) -> Path:
    """Poses of a table that names its stacks from the project, as it stands in a job's folder there."""
    (project / "Refine3D").mkdir(exist_ok=True)
    (project / "Refine3D/run_data.star").write_text(star31(TRUTH, [NAMES[at] for at in order]))
    parsed = read_table_set(project / "Refine3D/run_data.star", (), TableChoice(images=False))
    (project / "poses.npz").write_bytes(arrays_bytes(arrays_of(parsed)))
    return project / "poses.npz"


def _images_alone(folder: Path, rows: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    columns = {"rlnImageName": [NAMES[at] for at in rows], "rlnImagePixelSize": [SIZE_A] * len(rows)}
    (folder / "images.star").write_text(star_table(columns))
    return folder / "images.star"


def test_names_from_the_project_above_a_table_are_the_stacks_below_it(project: Path) -> None:
    order = np.random.default_rng(2).permutation(COUNT)
    poses = _parsed(project, order)
    truth = TRUTH.matrices()[np.argsort(order)]
    for rows in (np.arange(COUNT), np.array([7, 1, 4])):
        found = read_particles(_images_alone(project / "Select", rows), poses=poses)
        assert found.rotations is not None
        assert np.abs(found.rotations - truth[rows]).max() < 1e-9


def test_names_that_may_be_of_other_stacks_are_taken_only_where_images_and_rows_agree(project: Path) -> None:
    poses = _parsed(project, np.arange(COUNT))
    (project / "moved").mkdir()
    shutil.move(project / "stacks", project / "moved/stacks")
    found = read_particles(_images_alone(project / "moved", np.arange(COUNT)), poses=poses)
    assert found.rotations is not None
    assert np.abs(found.rotations - TRUTH.matrices()).max() < 1e-9
    for rows in (np.arange(COUNT)[::-1], np.arange(5)):
        images = _images_alone(project / "moved", rows)
        with pytest.raises(InputInvalid, match=r"nothing says whether that is .*moved/stacks/..mrcs; parse .*datadir"):
            read_particles(images, poses=poses)


@pytest.mark.parametrize("by_image", [True, False])
def test_our_own_poses_may_be_of_the_selected_particles_alone(project: Path, by_image: bool) -> None:
    path, chosen = table(project, "3.1"), np.array([8, 2, 5])
    (project / "ind.txt").write_text("8 2 5")
    few = read_particles(path, selection=project / "ind.txt")
    if not by_image:
        few = replace(few, stacks=tuple(Path("/elsewhere") / stack.name for stack in few.stacks))
    (project / "poses.npz").write_bytes(arrays_bytes(arrays_of(few)))
    beside = {"poses": project / "poses.npz", "ctf": project / "poses.npz"}
    found = read_particles(path, **beside, selection=project / "ind.txt")
    assert found.rotations is not None
    assert found.ctf is not None
    assert np.abs(found.rotations - TRUTH.matrices()[chosen]).max() < 1e-9
    assert np.allclose(found.ctf.defocus_u_A, TRUTH.defocus[chosen, 0])
    assert np.allclose(found.pixel_size_A, TRUTH.size_A[chosen])
    (project / "more.txt").write_text("8 2 6")
    if by_image:
        with pytest.raises(InputInvalid, match=r"has no row for image 1 of .*b.mrcs"):
            read_particles(path, **beside, selection=project / "more.txt")


@pytest.mark.parametrize("sort", ["npz", "npy", "txt", "pkl", "mask"])
def test_a_selection_of_any_format_picks_its_particles_in_its_order(project: Path, sort: str) -> None:
    wanted = np.array([1, 4, 9]) if sort == "mask" else np.array([9, 1, 4])
    path = project / f"ind.{'npy' if sort == 'mask' else sort}"
    if sort == "npz":
        path.write_bytes(arrays_bytes({"indices": wanted}))
    elif sort == "npy":
        np.save(path, wanted)
    elif sort == "mask":
        np.save(path, np.isin(np.arange(COUNT), wanted))
    elif sort == "txt":
        path.write_text("\n".join(map(str, wanted)))
    else:
        path.write_bytes(pickled(wanted))
    found = read_particles(table(project, "3.1"), selection=path)
    assert found.rows.tolist() == wanted.tolist()
    assert np.array_equal(read_images(found, np.arange(3)), IMAGES[wanted])


def test_poses_may_be_of_the_selected_particles_alone(project: Path) -> None:
    path, chosen = table(project, "3.1"), np.array([8, 2, 5])
    (project / "ind.pkl").write_bytes(pickled(chosen))
    (project / "pose.pkl").write_bytes(pickled((TRUTH.matrices()[chosen], np.zeros((3, 2)))))
    found = read_particles(path, poses=project / "pose.pkl", selection=project / "ind.pkl")
    assert found.rotations is not None
    assert np.abs(found.rotations - TRUTH.matrices()[chosen]).max() < 1e-9


def test_what_a_cs_passes_through_is_joined_on_its_ids_and_contrast_is_as_it_says(project: Path) -> None:
    columns = cs_columns(TRUTH, PATHS, INDICES) | {"blob/sign": np.full(COUNT, -1, np.float32)}
    own = {name: values for name, values in columns.items() if not name.startswith("ctf/")}
    passed = {name: values[::-1] for name, values in columns.items() if name.startswith(("ctf/", "uid"))}
    write_table(project / "own.cs", own)
    write_table(project / "passed.cs", passed)
    alone = read_particles(project / "own.cs")
    assert alone.ctf is None
    assert any("no CTF" in line for line in alone.remarks)
    found = read_particles(project / "own.cs", passthrough=[project / "passed.cs"])
    assert found.ctf is not None
    assert np.allclose(found.ctf.defocus_u_A, TRUTH.defocus[:, 0], rtol=1e-6)
    assert found.contrast == "dark"
    assert found.half.tolist() == (np.arange(COUNT) % 2 + 1).tolist()


def test_a_cs_with_thousands_of_columns_is_read(project: Path) -> None:
    columns = cs_columns(TRUTH, PATHS, INDICES)
    for number in range(1500):
        columns[f"alignments_class_{number}/class_posterior"] = np.zeros(COUNT, np.float32)
    write_table(project / "wide.cs", columns)
    assert len(read_particles(project / "wide.cs")) == COUNT


def test_a_set_comes_back_from_its_arrays(project: Path) -> None:
    found = read_particles(table(project, "cs"))
    again = set_of(arrays_of(found), project / "a.npz")
    assert again.stacks == found.stacks
    assert again.uid is not None
    assert again.uid.tolist() == found.uid.tolist()  # type: ignore[union-attr]
    assert np.array_equal(again.rotations, found.rotations)  # type: ignore[arg-type]


def test_images_of_real_particles_and_their_tables_go_together(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/particles"
    for packed, name in (("aspire_17.mrcs.gz", "sample.mrcs"), ("empiar_10076_7.mrc.gz", "empiar_10076_7.mrc")):
        (tmp_path / name).write_bytes(gzip.decompress((folder / packed).read_bytes()))
    thirty, one = (read_particles(folder / f"aspire_17_relion3{at}.star", datadir=tmp_path) for at in "01")
    assert (len(thirty), thirty.box) == (17, 200)
    assert np.abs(np.asarray(thirty.rotations) - np.asarray(one.rotations))[:14].max() < 1e-9
    star, cs = (read_particles(folder / f"empiar_10076_7.{suffix}", datadir=tmp_path) for suffix in ("star", "cs"))
    assert star.ctf is not None
    assert cs.ctf is not None
    assert np.allclose(star.ctf.defocus_u_A, cs.ctf.defocus_u_A, rtol=1e-6)
    assert np.array_equal(read_images(star, np.arange(7)), read_images(cs, np.arange(7)))


def test_a_tilt_series_of_warp_is_read_as_one(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/particles"
    name = "ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs"
    (tmp_path / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
    found = read_particles(folder / "sta_testing_bin8.star.gz", datadir=tmp_path)
    assert found.tilts is not None
    assert found.ctf is not None
    assert (len(found), int(found.tilts.particle.max()) + 1) == (219, 6)
    assert found.tilts.dose_e_A2[:3].tolist() == [3.25, 6.5, 9.75]
    assert 0 <= found.tilts.tilt_deg.min() <= found.tilts.tilt_deg.max() < 70
    assert bool((found.ctf.bfactor_A2 > 0).all())


def test_groups_of_ordinary_particles_are_no_tilt_series(project: Path) -> None:
    text = star31(
        TRUTH,
        NAMES,
        rlnGroupName=["one"] * COUNT,
        rlnMicrographName=["m1.mrc", "m2.mrc"] * HALF,
        rlnCtfBfactor=[-4] * COUNT,
        rlnCtfScalefactor=[0.9] * COUNT,
    )
    (project / "a.star").write_text(text)
    found = read_particles(project / "a.star")
    assert found.tilts is None
    assert found.micrographs == ("m1.mrc", "m2.mrc")

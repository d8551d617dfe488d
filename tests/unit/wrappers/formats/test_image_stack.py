"""Stacks of images of every mode, order and header, read in part; and stacks that are written batch by batch."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from support.small_stacks import BOX, COUNT, SIZE_A, TYPES, numbered_images, write_stack

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.image_stack import ImageStack
from cryobridge.wrappers.formats.stack_writer import StackWriter
from cryobridge.wrappers.formats.whole_file import whole_file


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", TYPES)
def test_images_of_every_mode_and_order_come_as_they_are(tmp_path: Path, mode: int, order: str) -> None:
    images = numbered_images()
    path = write_stack(tmp_path / "a.mrcs", images, mode=mode, order=order, extended=b"x" * 320)
    with ImageStack(path) as stack:
        assert (stack.count, stack.box, round(stack.pixel_size_A, 4)) == (COUNT, BOX, SIZE_A)
        assert np.array_equal(stack.read(3, 5), images[3:8])
        assert stack.read(0, 0).shape == (0, BOX, BOX)


def test_bytes_are_signed_unless_imod_says_otherwise(tmp_path: Path) -> None:
    images = np.full((2, 4, 4), 200, np.float32)
    write_stack(tmp_path / "signed.mrcs", images - 256, mode=0)
    write_stack(tmp_path / "unsigned.mrcs", images, mode=0, imod_flags=0)
    assert float(ImageStack(tmp_path / "signed.mrcs").read(0, 1)[0, 0, 0]) == -56
    assert float(ImageStack(tmp_path / "unsigned.mrcs").read(0, 1)[0, 0, 0]) == 200


def test_a_cube_is_a_volume_unless_it_is_called_a_stack(tmp_path: Path) -> None:
    cube = np.zeros((BOX, BOX, BOX), np.float32)
    assert ImageStack(write_stack(tmp_path / "a.mrc", cube)).is_volume
    assert not ImageStack(write_stack(tmp_path / "a.mrcs", cube)).is_volume
    assert not ImageStack(write_stack(tmp_path / "b.mrc", cube[:-1])).is_volume


def test_images_that_are_not_there_cannot_be_asked_for(tmp_path: Path) -> None:
    stack = ImageStack(write_stack(tmp_path / "a.mrcs", numbered_images()))
    for first, count in ((-1, 1), (0, COUNT + 1), (COUNT, 1)):
        with pytest.raises(ValueError, match="images"):
            stack.read(first, count)


def test_a_stack_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.mrcs", numbered_images())
    with ImageStack(path) as stack:
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InputInvalid, match="became shorter"):
            stack.read(COUNT - 1, 1)


@pytest.mark.parametrize("half", [False, True])
def test_a_stack_written_in_batches_is_one_to_others_with_right_statistics(tmp_path: Path, half: bool) -> None:
    images = np.random.default_rng(0).normal(3, 2, (7, BOX, BOX)).astype(np.float32)
    with whole_file(tmp_path / "a.mrcs") as descriptor:
        writer = StackWriter(descriptor, BOX, SIZE_A, half_precision=half)
        for at in range(0, 7, 3):
            writer.append(images[at : at + 3])
        writer.finish()
    with mrcfile.open(tmp_path / "a.mrcs") as found:
        assert found.is_image_stack()
        assert np.allclose(found.data, images, atol=0.01 if half else 0)
        assert found.voxel_size.x == pytest.approx(SIZE_A)
        assert float(found.header.dmean) == pytest.approx(images.mean(), abs=1e-4)
        assert float(found.header.rms) == pytest.approx(images.std(), abs=1e-4)
        assert float(found.header.dmax) == pytest.approx(images.max())


@pytest.mark.parametrize(
    "images", [np.full((1, BOX, BOX), np.nan), np.zeros((1, BOX, BOX + 2)), np.full((1, BOX, BOX), 1e6)]
)
def test_what_a_stack_of_half_precision_cannot_hold_is_not_written(tmp_path: Path, images: np.ndarray) -> None:
    with whole_file(tmp_path / "a.mrcs") as descriptor:
        writer = StackWriter(descriptor, BOX, SIZE_A, half_precision=True)
        with pytest.raises(ValueError, match=r"images|values"):
            writer.append(images.astype(np.float32))
        with pytest.raises(ValueError, match="without images"):
            writer.finish()

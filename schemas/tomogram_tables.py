"""Fields that kinds of jobs on a table of tomograms have in common.

The names that users of IsoNet know are accepted beside ours, and are ours where its documents explain them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from .envelope import Inputs
from .memory import VOXEL_BYTES
from .outputs import Output
from .paths import Holds, InputFile

TomogramTableFile = Annotated[InputFile, Holds("star", "tomograms")]
TABLE_NAME = "tomograms.star"
TABLE = Output(TABLE_NAME, "star", "tomograms", "the table of tomograms with the columns of this job")


def _as_text(value: Any) -> Any:
    """Indices as they come from a YAML file or another program: a number, or a list of them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return ",".join(str(one) for one in value)
    return value


TomogramIndices = Annotated[str, BeforeValidator(_as_text)]
"""Out of the column rlnIndex: `1,2,4`, `5-10,15`."""

InputColumn = Literal["rlnDeconvTomoName", "rlnTomoName", "rlnMicrographName"]
"""IsoNet2's word for what is read of a row: the deconvolved tomogram, or the one that it was made of."""

StoredType = Literal["float32", "float16", "int8", "input"]
"""What a volume is written as; input: as the tomogram is, where that is float16 or int8."""


class TomogramTableInputs(Inputs):
    """A table of tomograms."""

    star: TomogramTableFile = Field(
        validation_alias=AliasChoices("star", "star_file", "tomograms"),
        description="table of tomograms (.star): IsoNet's, IsoNet2's, or RELION 5's",
        examples=["tomograms.star"],
    )


def tomo_idx_field() -> Any:
    """Declare which rows of the table are done."""
    return Field(
        None,
        validation_alias=AliasChoices("tomo_idx", "tomo_index"),
        description="which tomograms, by the column rlnIndex, e.g. 1,2,4 or 5-10,15; all if empty",
    )


def update_star_field() -> Any:
    """Declare whether the user's own table learns of the result."""
    return Field(
        True,
        description="also set the columns of the result in the table that was given; all else in it stays as it is",
    )


def stored_type_field() -> Any:
    """Declare what volumes are written as."""
    return Field(
        "float32",
        description="type of the volumes: float32, float16 (MRC mode 12), int8, or input: as the tomogram is stored, "
        "where that is float16 or int8",
    )


def preview_every_field() -> Any:
    """Declare how often a training is looked at."""
    return Field(
        30.0,
        ge=0,
        description="least seconds between two pictures of what the network makes of the data by now (preview.png in "
        "the job's folder, while it learns); 0 for none",
    )


def without_effect_field() -> Any:
    """Declare a parameter of IsoNet's that means nothing here."""
    return Field(None, description="accepted from IsoNet's command lines; has no effect here")


def input_column_field() -> Any:
    """Declare IsoNet2's way to say whether the deconvolved tomogram is read; see `read_by_column`."""
    return Field(
        None,
        description="IsoNet2's word for use_deconv_tomo: rlnDeconvTomoName, or rlnTomoName for what it was made of",
    )


def read_by_column(options: Any) -> Any:
    """Options as they are given, with what `input_column` says about the deconvolved tomogram."""
    if isinstance(options, dict) and options.get("input_column") in ("rlnTomoName", "rlnMicrographName"):
        return {"use_deconv_tomo": False, **options}
    return options


def block_bytes(arrays: float, box: int, largest: int) -> int:
    """Bytes of arrays of float32 as large as a tomogram of this box, or as a block of it where it is larger."""
    return int(arrays * VOXEL_BYTES * min(box, largest) ** 3)

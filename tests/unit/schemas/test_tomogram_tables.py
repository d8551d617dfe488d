"""Which tomograms are meant may be written as text, as a number, or as a list."""

from __future__ import annotations

from typing import Any

import pytest

from cryobridge.schemas.envelope import Options
from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.kinds.tomo.deconv import TomoDeconvJob
from cryobridge.schemas.kinds.tomo.make_mask import MakeMaskOptions
from cryobridge.schemas.kinds.tomo.predict import TomoPredictOptions
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions


def job(**options: Any) -> TomoDeconvJob:
    spec = {"schema": "cryobridge/job/1", "kind": "tomo.deconv", "inputs": {"star": "t.star"}, "options": options}
    parsed = parse_job(spec, "job")
    assert isinstance(parsed, TomoDeconvJob)
    return parsed


@pytest.mark.parametrize(
    ("given", "meant"), [("1,2,4", "1,2,4"), (3, "3"), ([1, 2], "1,2"), (["5-10", 15], "5-10,15"), (None, None)]
)
def test_indices_are_kept_as_text(given: object, meant: str | None) -> None:
    assert job(tomo_index=given).options.tomo_idx == meant


def test_a_job_has_isonets_folder_where_none_is_given() -> None:
    assert str(job().output) == "deconv"
    assert job().as_spec()["output"] == "deconv"


@pytest.mark.parametrize("options", [{"tomo_idx": True}, {"snrfalloff": -1}, {"overlap": 9}, {"chunk_size": 4}])
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionsInvalid):
        job(**options)


@pytest.mark.parametrize("options", [TomoRefineOptions, TomoPredictOptions, MakeMaskOptions])
def test_isonet2s_column_says_whether_the_deconvolved_tomogram_is_read(options: type[Options]) -> None:
    columns = {None: True, "rlnDeconvTomoName": True, "rlnTomoName": False, "rlnMicrographName": False}
    read = {column: options.model_validate({"input_column": column}).model_dump() for column in columns}
    assert {column: told["use_deconv_tomo"] for column, told in read.items()} == columns
    with pytest.raises(ValueError, match="rlnDenoisedTomoName"):
        options.model_validate({"input_column": "rlnDenoisedTomoName"})


def test_isonet2s_method_of_halves_has_our_name() -> None:
    assert TomoRefineOptions.model_validate({"method": "isonet2-n2n", "mw_weight": 200}).method == "n2n-mw"

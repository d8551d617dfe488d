"""Options of a RELION call: sources, precedence, and values that nobody understands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.relion import ENVIRONMENT, RelionOptions, resolve_options

# The defaults that spIsoNet's users were promised (their names, our keys).
PROMISED = {
    "start_healpix": 3,
    "start_resolution_A": 15,
    "whitening": True,
    "whitening_low_A": 10,
    "keep_lowres": False,
    "lowpass": True,
    "fsc_05": False,
    "fsc_weighting": True,
    "angular_whiten": False,
    "sampling_density": False,
}


def test_defaults_are_those_the_peers_users_know():
    options, notes = resolve_options({})
    assert {key: getattr(options, key) for key in PROMISED} == PROMISED
    assert notes == []


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("ISONET_WHITENING", "False", "whitening", False),
        ("ISONET_WHITENING_LOW", "12.5", "whitening_low_A", 12.5),
        ("ISONET_RETRAIN_EACH_ITER", "TRUE", "retrain_each_iteration", True),
        ("ISONET_START_HEALPIX", "2", "start_healpix", 2),
        ("ISONET_START_RESOLUTION", "20", "start_resolution_A", 20.0),
        ("ISONET_KEEP_LOWRES", "true", "keep_lowres", True),
        ("ISONET_LOWPASS", "false", "lowpass", False),
        ("ISONET_ANGULAR_WHITEN", "True", "angular_whiten", True),
        ("ISONET_3DFSD", "True", "sampling_density", True),
        ("ISONET_FSC_05", "True", "fsc_05", True),
        ("ISONET_FSC_WEIGHTING", "False", "fsc_weighting", False),
        ("CRYOBRIDGE_STYLE", "stock", "style", "stock"),
    ],
)
def test_a_variable_sets_its_option(name, text, key, value):
    options, notes = resolve_options({name: text})
    assert getattr(options, key) == value
    assert notes == []


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("ISONET_ALPHA", "2", "alpha", 2.0),
        ("ISONET_BETA", "0.25", "beta", 0.25),
        ("ISONET_EPOCHS", "7", "epochs", 7),
        ("ISONET_ACC_BATCHES", "1", "acc_batches", 1),
    ],
)
def test_training_variables_reach_the_network(name, text, key, value):
    options, _ = resolve_options({name: text})
    assert options.network == {key: value}


def test_a_value_that_is_not_understood_is_said_and_left_at_its_default():
    options, notes = resolve_options(
        {"ISONET_BETA": "half", "ISONET_ALPHA": "-1", "CRYOBRIDGE_MODE": "both", "ISONET_START_HEALPIX": "-3"}
    )
    assert options.model_copy(update={"network": {}}) == RelionOptions()
    assert options.network == {}
    assert len(notes) == 4
    assert any("ISONET_BETA=half" in note for note in notes)


def test_the_word_none_means_the_default():
    assert resolve_options({"ISONET_EPOCHS": "None"}) == (RelionOptions(), [])


def test_the_flag_in_relions_command_line_counts():
    options, _ = resolve_options({"ISONET_KEEP_LOWRES": "False"}, "--o run --keep_lowres --j 1")
    assert options.keep_lowres


def test_the_settings_file_has_the_last_word():
    text = "start_healpix: 5\nnetwork: {beta: 0.1}\n"
    options, _ = resolve_options({"ISONET_START_HEALPIX": "2", "ISONET_ALPHA": "3"}, "", text)
    assert options.start_healpix == 5
    assert options.network == {"alpha": 3.0, "beta": 0.1}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("start_healpx: 2", "did you mean 'start_healpix'"),
        ("start_healpix: many", "start_healpix"),
        ("start_healpix: [", "not YAML"),
        ("- 3", "key: value"),
        ("deadline_s: .nan", "deadline_s"),
        ("x: 1\n" * 20000, "larger than"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("network: {stepz: 3}", "did you mean 'steps'"),
        ("network: {batch: 4, acc_batches: 3}", "not a multiple"),
        ("network: 7", "network"),
    ],
)
def test_a_bad_settings_file_gets_one_sentence_that_names_it(text, word):
    with pytest.raises(InputInvalid, match=r"cryobridge\.yaml") as caught:
        resolve_options({}, "", text)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.dictionaries(st.sampled_from(sorted(ENVIRONMENT)), st.text(max_size=20), max_size=8))
def test_no_environment_can_make_a_call_fail(environment):
    options, notes = resolve_options(environment)
    assert isinstance(options, RelionOptions)
    assert len(notes) <= len(environment)

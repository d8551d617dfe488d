"""Options of a RELION call: sources, precedence, and values that nobody understands."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas import hook_settings
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.hook_settings import HookSettings
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
        ("start_healpix: 2026-99-99", "not YAML"),
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


@pytest.mark.parametrize(
    "text",
    [
        "{strict: true, start_healpix: 2}",
        "{strict: false}",
        '"str\\x69ct": true',
        "? strict\n: true",
        "strict:\n  true",
        "strict: !!bool 'true'",
        "strict: y",
        "keep_volumes: &x true",
        "deadline_s: 1:30",
        "deadline_s: 0x10",
        "deadline_s: 2.0e+9",
        "correction: true\ncorrection: false",
        "strict: true\nstrict: true",
        "correction: !!str off",
    ],
)
def test_a_setting_of_the_hook_that_it_does_not_read_is_refused_and_told_how_to_write_it(text):
    with pytest.raises(
        InputInvalid, match=r"cryobridge\.yaml: '\w+' is not written as the hook reads it; write it once"
    ):
        resolve_options({}, "", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strict: true\n", HookSettings(strict=True)),
        ("'strict': \"yes\"  # please\n", HookSettings(strict=True)),
        ("keep_volumes: on\ndeadline_s: 90\n", HookSettings(keep_volumes=True, deadline_s=90.0)),
        ("deadline_s: 1.5e+2\ncorrection: off\n", HookSettings(deadline_s=150.0, correction=False)),
        ("deadline_s: null\n", HookSettings()),
        ("deadline_s:\n", HookSettings()),
        ("\ufeffstrict: true\r\nkeep_volumes: on\r\n", HookSettings(strict=True, keep_volumes=True)),
        ("network: {steps: 3}\nstrict: 1\n", HookSettings(strict=True)),
    ],
)
def test_hook_and_worker_read_the_same_of_the_hooks_own_settings(text, expected):
    assert hook_settings.read(text, {}) == expected
    options, notes = resolve_options({}, "", text)
    assert {key: getattr(options, key) for key in hook_settings.KEYS} == vars(expected)
    assert notes == []


def test_what_the_hook_has_read_is_taken_from_the_call():
    options, _ = resolve_options({"CRYOBRIDGE_STRICT": "1"}, "", None, HookSettings(deadline_s=7.0, correction=False))
    assert (options.strict, options.deadline_s, options.correction) == (False, 7.0, False)


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(hook_settings.KEYS), st.sampled_from(["", "{", "? ", "- ", '"', "a: |\n"]))
def test_no_file_means_one_thing_to_the_hook_and_another_to_the_worker(rest, key, before):
    text = f"{before}{key}: {rest}"
    try:
        options, _ = resolve_options({}, "", text)
    except InputInvalid:
        return
    assert getattr(options, key) == getattr(hook_settings.read(text, {}), key)
    assert (key in (yaml.safe_load(text) or {})) == (key in hook_settings.in_file(text))


def test_a_file_that_is_too_large_is_named_with_its_limit():
    with pytest.raises(InputInvalid, match=r"cryobridge\.yaml: larger than 65536 bytes; it should be a few lines"):
        resolve_options({}, "", "#" * (hook_settings.MAX_FILE_BYTES + 1))
    assert resolve_options({}, "", "#" * hook_settings.MAX_FILE_BYTES)[0] == RelionOptions()


@given(st.dictionaries(st.sampled_from(sorted(ENVIRONMENT)), st.text(max_size=20), max_size=8))
def test_no_environment_can_make_a_call_fail(environment):
    options, notes = resolve_options(environment)
    assert isinstance(options, RelionOptions)
    assert len(notes) <= len(environment)


@pytest.mark.parametrize("other", ["weight: fsc3d", "sampling_density: true"])
def test_the_pretrained_network_is_not_given_weights_that_it_does_not_know(other):
    with pytest.raises(InputInvalid, match="leave 'start' out"):
        resolve_options({}, "", f"start: pretrained\n{other}\n")
    assert resolve_options({}, "", "start: pretrained\nweight: noise\n")[0].begins_pretrained
    assert not resolve_options({}, "", f"{other}\n")[0].begins_pretrained


@pytest.mark.parametrize("asked", ["steps: 40", "warm_steps: 40", "epochs: 2"])
def test_who_says_how_long_to_train_gets_a_training_with_practice(asked):
    network = resolve_options({}, "", f"network: {{{asked}}}\n")[0].network_options("cpu")
    assert network.practice > 0
    assert network.total_steps(warm=False) > 0
    assert network.total_steps(warm=True) > 0


@pytest.mark.parametrize("asked", ["steps: 0", "beta: 0.4"])
def test_without_a_length_the_network_stays_as_it_comes(asked):
    network = resolve_options({}, "", f"network: {{{asked}}}\n")[0].network_options("cpu")
    assert network.total_steps(warm=False) == 0

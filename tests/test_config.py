"""Laws of the configuration: nothing misspelt, mistyped or impossible gets in.

What may differ on resume is tested field by field.
"""

import dataclasses
import fnmatch
import json
import math
import types

import ml_collections
import pytest

from soundstream_jax import config, errors
from soundstream_jax.settings import fields


def fields_of(group, prefix=""):
  """Returns every field below a dataclass, dotted name -> value."""
  flat = {}
  for field in dataclasses.fields(group):
    value = getattr(group, field.name)
    if dataclasses.is_dataclass(value):
      flat |= fields_of(value, f"{prefix}{field.name}.")
    else:
      flat[prefix + field.name] = value
  return flat


FIELDS = fields_of(config.Config())

# Valid values of fields where adding one or halving gives none.
OTHERS = {
  "form": "plain",
  "train_dtype": "bfloat16",
  "model.strides": (8, 5, 4, 2),
  "model.encoder": "mel",
  "model.activation": "snake",
  "model.film": "encoder",
  "model.compute_dtype": "bfloat16",
  "model.input_gain": 1.0,
  "quantizer.codebook_size": 512,
  "quantizer.kind": "low_dim",
  "quantizer.dropout_depths": (4, 8),
  "quantizer.bypass_probability": 0.5,
  "discriminator.wave_channels": 8,
  "discriminator.wave_norm": "none",
  "discriminator.stft_window": 512,
  "discriminator.stft_windows": (512, 128),
  "discriminator.stft_norm": "none",
  "optimizer.discriminator_beta1": 0.5,
  "optimizer.discriminator_beta2": 0.5,
  "optimizer.schedule": "cosine",
  "optimizer.weight_decay": 0.5,
  "optimizer.clip_to_median": 3.0,
  "loss.spectral_windows": (64, 128),
  "loss.waveform_weight": 1.0,
  "loss.complex_weight": 1.0,
  "loss.waveform_fade": (10, 20),
  "loss.log_floor": 1e-3,
  "profile_steps": "10:13",
  "data.sources": "one:2,two:3",
  "data.speech": "one:2,two:3",
  "data.music": "one:2,two:3",
  "data.noise": "one:2,two:3",
  "data.rooms": "one:2,two:3",
  "data.noise_gain_db": (-20.0, 0.0),
  "data.mixture.speech": 0.5,
  "data.mixture.noisy_speech": 0.5,
  "data.mixture.reverberant_speech": 0.5,
  "data.mixture.noisy_reverberant_speech": 0.5,
  "data.mixture.music": 0.5,
  "data.mixture.noise": 0.5,
  "data.filter_share": 0.5,
  "data.min_bandwidth_hz": 8_000.0,
  "data.crop_samples": 48_000,
  "data.gain_db": (-6.0, 0.0),
  "evaluation.clip_samples": 24_000,
  "evaluation.at_steps": (5, 50),
  "checkpoint.every_seconds": 600.0,
}

# Without these a field does nothing, and is refused.
NEEDS = {"quantizer.code_dim": {"quantizer.kind": "low_dim"}}


def other_value(name):
  """Returns a valid value of the field that is not its default."""
  value = FIELDS[name]
  if name in OTHERS:
    return OTHERS[name]
  if isinstance(value, bool):
    return not value
  if isinstance(value, int):
    return value + 1
  return value / 2 if isinstance(value, float) else value + "x"


def with_fields(others):
  """Builds the default configuration with other values, by dotted name."""
  values = config.default()
  with values.ignore_type():
    values.update_from_flattened_dict(others)
  return config.from_dict(values)


def with_field(name, value):
  return with_fields({**NEEDS.get(name, {}), name: value})


def from_command_line(*flags, saved=None):
  config.parse_flags(["train", *flags])
  return config.from_flags(saved)


@pytest.fixture(autouse=True)
def _no_flags_left():
  yield
  config.parse_flags(["train"])


def test_the_default_is_the_default_of_every_dataclass():
  assert config.from_dict(config.default()) == config.Config()
  assert config.from_dict({}) == config.Config()


def test_a_configuration_holds_nothing_that_can_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.Config().num_steps = 1
  hash(config.Config())


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_survives_json(name):
  before = with_field(name, other_value(name))
  assert config.get(before, name) == other_value(name) != FIELDS[name]
  saved = json.loads(json.dumps(config.to_dict(before)))
  assert config.from_dict(saved) == before
  assert saved == config.to_dict(before)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_can_be_set_by_a_flag_of_its_name(name):
  values = {**NEEDS.get(name, {}), name: other_value(name)}
  flags = [f"--config.{field}={value}" for field, value in values.items()]
  chosen = from_command_line(*flags, saved={})
  assert chosen == with_field(name, other_value(name))


@pytest.mark.parametrize(
  "name", [n for n, v in FIELDS.items() if not isinstance(v, str)]
)
def test_a_flag_of_another_type_names_field_and_value(name):
  with pytest.raises(errors.InputError, match=rf"{name}=lots is not a"):
    from_command_line(f"--config.{name}=lots", saved={})


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("num_steps", "1.5"),
    ("num_steps", ""),
    ("num_steps", "true"),
    ("quantizer.dropout", "2"),
    ("model.strides", "8"),
    ("model.strides", "(2,'a')"),
    ("model.strides", "(2,4.5)"),
    ("model.strides", "(2,"),
    ("model.strides", "{[]:1}"),
    ("data.gain_db", "('a',1)"),
  ],
)
def test_a_value_of_another_type_is_refused(name, text):
  with pytest.raises(errors.InputError, match=name):
    from_command_line(f"--config.{name}={text}", saved={})


@pytest.mark.parametrize("name", FIELDS)
def test_a_misspelt_field_is_refused_with_the_nearest_name(name):
  misspelt = f"{name}z"
  with pytest.raises(errors.InputError, match=rf"mean '{name}'\?"):
    from_command_line(f"--config.{misspelt}=1", saved={})
  with pytest.raises(
    errors.InputError, match=rf"{misspelt}\..*'{name.split('.')[-1]}'"
  ):
    with_field(misspelt, 1)


@pytest.mark.parametrize("value", [3, None, [1], "x"])
def test_a_group_that_is_no_mapping_is_refused(value):
  with pytest.raises(errors.InputError, match=r"config\.model="):
    config.from_dict({"model": value})
  with pytest.raises(errors.InputError, match="config="):
    config.from_dict(value)


@pytest.mark.parametrize(
  "name", [n for n, v in FIELDS.items() if isinstance(v, float)]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_may_be_infinite_or_undefined(name, value):
  with pytest.raises(errors.InputError, match=name):
    with_field(name, value)


@pytest.mark.parametrize(
  ("name", "value", "fix"),
  [
    ("seed", -1, "at least 0"),
    ("seed", 2**32, "at most 4294967295"),
    ("batch_size", 0, "at least 1"),
    ("audio.sample_rate_hz", 0, "at least 1"),
    ("model.strides", (), "(2,4,5,8)"),
    ("model.strides", (2, 0), "(2,4,5,8)"),
    ("model.strides", (2, 4, 5, 7), "Use 23800."),
    ("model.film", "middle", "none, encoder, decoder"),
    ("quantizer.kind", "lowdim", "Did you mean 'low_dim'?"),
    ("quantizer.code_dim", 0, "at least 1"),
    ("quantizer.code_dim", 257, "Use 256 or less."),
    ("quantizer.dropout_probability", 1.5, "in [0, 1]"),
    ("quantizer.bypass_probability", -0.5, "in [0, 1]"),
    ("quantizer.dropout_depths", (4, 25), "1 to quantizer.num_quantizers=24"),
    ("quantizer.dropout_depths", (0,), "1 to quantizer.num_quantizers=24"),
    ("model.compute_dtype", "float16", "'bfloat16'"),
    ("train_dtype", "float16", "bfloat16"),
    ("model.residual_hidden_ratio", 0.0, "0.5"),
    ("quantizer.codebook_size", 1000, "Use 512 or 1024."),
    ("quantizer.ema_decay", 1.0, "[0, 1)"),
    ("discriminator.wave_channels", 6, "Use 4, 8 or 16."),
    ("discriminator.wave_channels", 0, "at least 1"),
    ("discriminator.stft_window", 1000, "power of two"),
    ("discriminator.stft_hop", 2048, "Use 256."),
    ("discriminator.stft_norm", "layr", "'layer'"),
    ("loss.spectral_windows", (), "(64,128,256,512,1024,2048)"),
    ("loss.spectral_windows", (64, 2), "(64,128,256,512,1024,2048)"),
    ("loss.linear_weight", -1.0, "at least 0"),
    ("loss.adversarial_ramp_steps", -1, "at least 0"),
    ("loss.waveform_fade", (20, 10), "(10000,20000)"),
    ("loss.waveform_fade", (5, 5), "(0,0) turns it off"),
    ("loss.waveform_fade", (-1, 5), "(10000,20000)"),
    ("loss.waveform_fade", (5,), "(10000,20000)"),
    ("loss.log_floor", 1e-5, "at least 0.0001"),
    ("loss.mel_bins", 0, "at least 1"),
    ("loss.mel_bins", (64, 64), "the 6 windows"),
    ("loss.mel_bins", (10, 20, 40, 80, 160, 0), "at least 1"),
    ("loss.mel_bins", (64, 20, 40, 80, 160, 320), "33 frequencies"),
    ("optimizer.beta2", 1.0, "[0, 1)"),
    ("optimizer.learning_rate", -1.0, "at least 0"),
    ("data.crop_samples", 24_001, "Use 24000."),
    ("data.crop_samples", 1, "Use 320."),
    ("data.gain_db", (3.0, -3.0), "(-12.0,3.0)"),
    ("data.gain_db", (3.0,), "(-12.0,3.0)"),
    ("data.num_workers", -1, "at least 0"),
    ("data.sources", "a:0", "DIR:weight"),
    ("data.sources", "a:b", "DIR:weight"),
    ("data.sources", "a:inf", "DIR:weight"),
    ("data.sources", ":1", "DIR:weight"),
    ("data.noise", "a:0", "DIR:weight"),
    ("data.noise_gain_db", (0.0, -30.0), "(-12.0,3.0)"),
    ("data.denoise_share", 1.5, "from 0 to 1"),
    ("data.filter_share", -0.5, "from 0 to 1"),
    ("data.mixture.music", -1.0, "at least 0"),
    ("data.min_bandwidth_hz", 13_000.0, "Use 9600"),
    ("evaluation.clip_samples", 100, "Use 320."),
    ("discriminator.every_steps", 0, "at least 1"),
    ("optimizer.discriminator_beta1", 1.0, "in [0, 1)"),
    ("optimizer.discriminator_beta2", -0.5, "in [0, 1)"),
    ("optimizer.weight_decay", -0.1, "at least 0"),
    ("optimizer.clip_to_median", -1.0, "at least 0"),
    ("checkpoint.keep", 0, "at least 1"),
    ("checkpoint.every_seconds", -1.0, "at least 0"),
    ("mesh.fsdp", 0, "at least 1"),
  ],
)
def test_an_impossible_value_is_refused_with_field_value_and_fix(
  name, value, fix
):
  with pytest.raises(errors.InputError) as caught:
    with_field(name, value)
  message = str(caught.value)
  shown = (
    repr(value) if isinstance(value, str) and ":" in value else f"={value}"
  )
  assert shown.strip("=") in message
  assert name in message
  assert fix in message


@pytest.mark.parametrize("kind", ["ema", "fsq"])
def test_a_dimension_of_codes_is_refused_where_no_code_has_it(kind):
  others = {"quantizer.kind": kind, "quantizer.code_dim": 4}
  with pytest.raises(errors.InputError, match=r"kind=low_dim\.$") as caught:
    with_fields(others)
  assert f"quantizer.code_dim=4 does nothing with quantizer.kind={kind}" in str(
    caught.value
  )


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("loss.spectral_windows", (64, 25_000)),
    ("discriminator.stft_window", 32_768),
    ("discriminator.stft_windows", (128, 32_768)),
  ],
)
def test_a_window_longer_than_the_crop_names_both_and_a_crop_that_fits(
  name, value
):
  with pytest.raises(errors.InputError, match=name) as caught:
    with_fields({name: value})
  message = str(caught.value)
  assert message.startswith("data.crop_samples=24000 is shorter")
  crop = int(message.split("Use at least ")[1].rstrip("."))
  with_fields({name: value, "data.crop_samples": crop})
  with pytest.raises(errors.InputError):
    with_fields({name: value, "data.crop_samples": crop - 320})


def test_mel_bins_are_one_number_or_one_for_each_window():
  dac = (10, 20, 40, 80, 160, 320)
  for value, bins in ((64, (64,) * 6), (dac, dac), (list(dac), dac)):
    found = with_field("loss.mel_bins", value)
    assert found.loss.bins_of_windows == bins
    saved = json.loads(json.dumps(config.to_dict(found)))
    assert config.from_dict(saved) == found
    # Either takes the other's place, in a flag and in a preset.
    for text, other in (("32", 32), (f"{dac}", dac), (f"{[*dac]}", dac)):
      chosen = from_command_line(f"--config.loss.mel_bins={text}", saved=saved)
      assert chosen.loss.mel_bins == other
  preset = config.default()
  for value in (dac, 32, dac):
    preset.loss.mel_bins = value
    assert config.from_dict(preset).loss.mel_bins == value


def test_fields_that_are_one_or_several_are_those_whose_type_says_so():
  found = []

  def look(group, prefix):
    for field in dataclasses.fields(group):
      value = getattr(group, field.name)
      if dataclasses.is_dataclass(value):
        look(value, f"{prefix}{field.name}.")
      elif isinstance(field.type, types.UnionType):
        found.append(prefix + field.name)

  look(config.Config(), "")
  assert tuple(found) == fields.ONE_OR_SEVERAL


def test_a_spectral_loss_without_a_term_is_refused_where_it_has_a_weight():
  terms = {"loss.linear_weight": 0.0, "loss.log_weight": 0.0}
  with pytest.raises(errors.InputError, match=r"linear_weight=0\.0.*Set one"):
    with_fields(terms)
  with_fields({**terms, "loss.reconstruction_weight": 0.0})
  for name in terms:
    with_field(name, 0.0)


def test_bins_beyond_a_windows_frequencies_are_found():
  assert config.crowded_windows(config.Loss()) == [(64, 64)]
  assert not config.crowded_windows(
    config.Loss(spectral_windows=(32, 2048), mel_bins=(5, 320))
  )


def test_a_run_from_before_the_losses_options_is_the_run_without():
  saved = config.to_dict(config.Config())
  for name in (
    "linear_weight",
    "log_weight",
    "complex_weight",
    "adversarial_ramp_steps",
    "waveform_fade",
    "log_floor",
  ):
    del saved["loss"][name]
  assert saved["loss"]["mel_bins"] == 64
  assert config.from_dict(saved) == config.Config()


@pytest.mark.parametrize(
  ("text", "sources"),
  [
    ("", []),
    ("a", [("a", 1.0)]),
    ("a,b:2", [("a", 1.0), ("b", 2.0)]),
    (" /x/y:0.5 , /z ,", [("/x/y", 0.5), ("/z", 1.0)]),
    ("/odd:/name", [("/odd:/name", 1.0)]),
  ],
)
def test_sources_are_folders_with_weights_and_one_is_the_default(text, sources):
  assert config.parse_sources(text) == sources


@pytest.mark.parametrize("name", [n for n in FIELDS if n != "data.sources"])
def test_a_resumed_run_stops_for_every_field_that_is_not_in_the_table(name):
  now = with_field(name, other_value(name))
  before = with_fields(NEEDS.get(name, {}))
  differences = config.resume_differences(before, now)
  if any(fnmatch.fnmatch(name, n) for n in config.MAY_CHANGE_ON_RESUME):
    assert differences == []
  else:
    assert len(differences) == 1
    assert differences[0].startswith(f"{name}: ")


def test_a_cosine_may_not_end_elsewhere_when_it_is_resumed():
  cosine = {"optimizer.schedule": "cosine"}
  (line,) = config.resume_differences(
    with_fields({**cosine, "num_steps": 5_000}),
    with_fields({**cosine, "num_steps": 6_000}),
  )
  assert (
    line == "num_steps: 5000 -> 6000 (optimizer.schedule=cosine ends there)"
  )


def test_a_warm_up_leaves_a_cosine_a_step():
  short = {"optimizer.schedule": "cosine", "num_steps": 50}
  with pytest.raises(errors.InputError, match=r"warmup_steps=50 .* most 49"):
    with_fields({**short, "optimizer.warmup_steps": 50})
  with_fields({**short, "optimizer.warmup_steps": 49})


@pytest.mark.parametrize(
  ("windows", "says"),
  [
    ((512, 96), "has 96; it must be a power of two"),
    ((64,), "has 64; it must be a power of two of at least 128"),
    ((256, 512, 256), "a window twice"),
  ],
)
def test_windows_that_are_no_networks_are_refused(windows, says):
  with pytest.raises(errors.InputError, match=r"discriminator\.stft_w") as e:
    with_field("discriminator.stft_windows", windows)
  assert says in str(e.value)


def test_every_name_in_the_resume_table_is_a_field():
  for pattern in config.MAY_CHANGE_ON_RESUME:
    assert fnmatch.filter(FIELDS, pattern), pattern


def test_a_resumed_run_may_move_its_data_but_not_weigh_it_otherwise():
  def moved(before, after):
    return config.resume_differences(
      with_field("data.sources", before), with_field("data.sources", after)
    )

  assert moved("a:0.3,b:0.7", "/new/a:0.3,/new/b:0.7") == []
  assert moved("a", "b:1") == []
  assert moved("a:0.3,b:0.7", "a:0.4,b:0.6") != []
  assert moved("a", "a,b") != []


def test_sources_are_not_read_beside_a_mixture():
  with pytest.raises(errors.InputError, match=r"data\.speech, data\.music"):
    with_fields({"data.sources": "a", "data.mixture.speech": 1.0})


def test_without_a_preset_the_saved_configuration_is_taken():
  saved = config.to_dict(with_field("model.strides", (8, 5, 4, 2)))
  now = from_command_line("--config.num_steps=7", saved=saved)
  assert now.num_steps == 7
  assert now.model.strides == (8, 5, 4, 2)


def test_a_preset_is_taken_before_the_saved_configuration():
  saved = config.to_dict(with_field("num_steps", 7))
  chosen = from_command_line("--config=tiny", saved=saved)
  assert chosen == config.from_dict(config.load("tiny"))


def test_without_preset_and_saved_configuration_the_presets_are_listed():
  with pytest.raises(errors.InputError, match=r"--config is missing.*tiny"):
    from_command_line()


@pytest.mark.parametrize(
  "flags",
  [
    ("--config=tiny", "--config.num_steps=5"),
    ("--config", "tiny", "--config.num_steps", "5"),
    ("-config=tiny", "-config.num_steps=5"),
    ("--config.num_steps=4", "--config=tiny", "--config.num_steps=5"),
  ],
)
def test_every_way_to_write_a_flag_means_the_same_and_the_last_counts(flags):
  chosen = from_command_line(*flags)
  expected = config.load("tiny")
  expected.num_steps = 5
  assert chosen == config.from_dict(expected)


def test_flags_in_a_flagfile_count_like_others(tmp_path):
  file = tmp_path / "flags"
  file.write_text("--config=tiny\n# a comment\n--config.num_steps=5\n")
  assert from_command_line(f"--flagfile={file}").num_steps == 5


def test_each_command_line_is_read_anew():
  from_command_line("--config=tiny", "--config.num_steps=5")
  config.parse_flags(["train"])
  assert config.from_flags({}) == config.Config()


def test_a_preset_may_be_a_file(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "from soundstream_jax import config\n"
    "def get_config():\n"
    "  c = config.load('tiny')\n"
    "  c.num_steps = 3\n"
    "  return c\n"
  )
  assert from_command_line(f"--config={file}").num_steps == 3


@pytest.mark.parametrize(
  ("name", "text", "problem"),
  [
    ("absent.py", None, "no such file"),
    ("config.json", "{}", "not a Python file"),
    ("broken.py", "def get_config(:\n", "line 1 is not Python"),
    ("empty.py", "", "defines no get_config"),
    ("none.py", "def get_config(): pass\n", "returns a ConfigDict"),
  ],
)
def test_a_file_that_is_no_preset_is_refused(tmp_path, name, text, problem):
  file = tmp_path / name
  if text is not None:
    file.write_text(text)
  with pytest.raises(errors.InputError, match=problem):
    config.load(str(file))


def test_a_field_that_a_preset_invents_is_refused():
  values = config.default()
  values.model.stride = (2, 4)
  with pytest.raises(errors.InputError, match=r"model.stride\..*'strides'"):
    config.from_dict(values)
  with pytest.raises(errors.InputError, match="no field network"):
    config.from_dict(ml_collections.ConfigDict({"network": {}}))

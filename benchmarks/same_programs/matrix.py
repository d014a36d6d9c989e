"""The names of all cases: KIND/FORM/MODEL/LENGTH, without jax.

KIND is what is lowered, FORM a value of config.form, MODEL a preset or a variant
of one, LENGTH how long the clips are ('crop' is the preset's crop).
"""

from collections.abc import Iterator, Sequence

FORMS = ("plain", "blocks", "rows", "lanes")
PRESETS = ("soundstream_24khz", "tiny", "enhance_tiny")

# Variant -> the preset and what is different.
VARIANTS = {
  "bfloat16": ("soundstream_24khz", {"model.compute_dtype": "bfloat16"}),
  "bfloat16_tiny": ("tiny", {"model.compute_dtype": "bfloat16"}),
  "rematerialised": ("tiny", {"rematerialise": True}),
  "microbatches": ("tiny", {"microbatches": 2}),
  "sharded": (
    "tiny",
    {
      "batch_size": 4,
      "mesh.data": 2,
      "mesh.fsdp": 2,
      # Some arrays have to be large enough to be split.
      "model.encoder_channels": 32,
      "model.decoder_channels": 32,
      "discriminator.wave_max_channels": 512,
    },
  ),
  "odd_hop": (
    "tiny",
    {
      "model.strides": (3, 5, 7),
      "data.crop_samples": 1_155,
      "evaluation.clip_samples": 4_200,
    },
  ),
  "film_decoder": ("enhance_tiny", {"model.film": "decoder"}),
  "wide_units": ("tiny", {"model.residual_hidden_ratio": 1.0}),
  "weight_norm": ("tiny", {"discriminator.stft_norm": "weight"}),
  "no_norms": (
    "tiny",
    {"discriminator.stft_norm": "none", "discriminator.wave_norm": "none"},
  ),
}

_SHORT = ("1hops", "2hops", "7hops")
# Prime, and not prime without and with the 16 that folds of waves want.
_SAMPLES = ("1031samples", "1042samples", "1040samples", "2003samples")


def names(*, everything: bool, only: Sequence[str] = ()) -> list[str]:
  """Returns the cases to compare, those with one of `only` in their name."""
  found = dict.fromkeys(_main())
  if everything:
    found |= dict.fromkeys(_rest())
  return [n for n in found if not only or any(part in n for part in only)]


def _main() -> Iterator[str]:
  for model in (*PRESETS, *VARIANTS):
    yield f"leaves/any/{model}/crop"
  yield "train/auto/tiny/crop"
  for model in PRESETS:
    for form in FORMS:
      yield f"step/{form}/{model}/crop"
      yield from (f"{s}/{form}/{model}/7hops" for s in ("encode", "decode"))
  for form in FORMS:
    for model in ("tiny", "soundstream_24khz"):
      yield f"step/{form}/{model}/7hops"
    for model in ("bfloat16", "bfloat16_tiny", "odd_hop"):
      yield f"step/{form}/{model}/crop"
    for length in _SHORT:
      yield f"encode/{form}/odd_hop/{length}"
      yield f"decode/{form}/odd_hop/{length}"
    for length in ("1hops", "2hops", "crop"):
      yield f"encode/{form}/tiny/{length}"
      yield f"decode/{form}/tiny/{length}"
    for length in _SAMPLES:
      yield f"discriminators/{form}/tiny/{length}"
    yield f"discriminators/{form}/soundstream_24khz/1031samples"
  for model in ("rematerialised", "sharded"):
    yield from (f"step/{form}/{model}/crop" for form in ("blocks", "lanes"))
  yield from ("step/plain/tiny/1hops", "discriminators/plain/tiny/500samples")
  yield from _streams(PRESETS, ("1streams_1frames", "2streams_8frames"))


def _rest() -> Iterator[str]:
  models = (*PRESETS, *VARIANTS)
  for form in FORMS:
    yield f"train/{form}/tiny/crop"
    for model in PRESETS:
      for length in (*_SHORT, "11hops"):
        yield f"step/{form}/{model}/{length}"
      yield f"reconstruction_step/{form}/{model}/crop"
    for model in VARIANTS:
      yield f"step/{form}/{model}/crop"
    for model in models:
      for length in (*_SHORT, "crop"):
        yield f"encode/{form}/{model}/{length}"
        yield f"decode/{form}/{model}/{length}"
    for model in (*PRESETS, "bfloat16", "weight_norm", "no_norms"):
      for length in _SAMPLES:
        yield f"discriminators/{form}/{model}/{length}"
  yield from _streams(
    models, (f"{s}streams_{f}frames" for s in (1, 2) for f in (1, 2, 8))
  )


def _streams(models, shapes) -> Iterator[str]:
  for shape in list(shapes):
    for model in models:
      yield f"stream_encode/stream/{model}/{shape}"
      yield f"stream_decode/stream/{model}/{shape}"

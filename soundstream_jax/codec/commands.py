"""What `soundstream encode`, `decode`, `info` and `pin` do.

Each takes the parsed arguments, prints what it did on stdout and raises
InputError before it has written anything.
"""

import argparse
import contextlib
import pathlib
from collections.abc import Iterator
from fractions import Fraction

from soundstream_jax import errors, rates
from soundstream_jax.codec import bitstream

# jax and the model are imported where a command needs them: `info`, --help and
# a mistyped path answer at once.


def encode(arguments: argparse.Namespace) -> None:
  """Audio file -> .sstr file."""
  source, target = _paths(arguments)
  from soundstream_jax.audio import io
  from soundstream_jax.codec import codec as codec_lib

  audio, rate_hz = io.read(source)
  samples, channels = audio.shape
  with _quiet():
    codec = codec_lib.Codec.load(
      arguments.model, step=arguments.step, weights=arguments.weights
    )
  codec.check_denoise(arguments.denoise, "encoder")
  if arguments.bitrate is not None:
    codec.quantizers_for(arguments.bitrate)
  audio = io.to_mono(audio)[:, None]
  audio = io.resample(audio, rate_hz, codec.sample_rate_hz)[:, 0]
  codes = codec.encode(
    audio, bitrate_bps=arguments.bitrate, denoise=arguments.denoise
  )
  frames, layers = codes.shape
  header = bitstream.Header(
    source_rate_hz=rate_hz,
    source_samples=samples,
    source_channels=channels,
    model_rate_hz=codec.sample_rate_hz,
    model_samples=len(audio),
    hop_samples=codec.hop_samples,
    codebook_size=codec.codebook_size,
    num_quantizers=layers,
    frames=frames,
    fingerprint=codec.fingerprint,
    step=codec.step,
    weights=codec.weights,
  )
  size = bitstream.write(target, header, codes)
  steps = [f"{rate_hz} Hz, {_channels(channels)}"]
  if channels > 1:
    steps.append("mixed down to 1 channel")
  if rate_hz != codec.sample_rate_hz:
    steps.append(f"resampled to {codec.sample_rate_hz} Hz")
  print(f"{source}: {_seconds(header.duration_s)}, {', '.join(steps)}")
  print(
    f"{target}: {size} bytes, {layers} layers, "
    f"{rates.describe_bps(header.bitrate_bps)} bit/s nominal, "
    f"{_true_bitrate(header)}; model step {codec.step} ({codec.weights})"
  )


def decode(arguments: argparse.Namespace) -> None:
  """.sstr file -> wav file of the model's or the source's rate."""
  source, target = _paths(arguments)
  if target.suffix.lower() != ".wav":
    raise errors.InputError(
      f"{target}: audio is written as wav. Name it {target.stem}.wav."
    )
  recording = bitstream.read(source)
  header = recording.header
  from soundstream_jax.audio import io
  from soundstream_jax.codec import codec as codec_lib

  with _quiet():
    codec = codec_lib.Codec.load(
      arguments.model, step=arguments.step, weights=arguments.weights
    )
  if codec.fingerprint != header.fingerprint:
    with _quiet():
      reason = _mismatch(header, codec, arguments)
    raise errors.InputError(f"{source}: {reason}")
  _check_fields(source, header, codec)
  audio = codec.decode(recording.codes, denoise=arguments.denoise)
  audio = audio[: header.model_samples]
  rate_hz = header.model_rate_hz
  if arguments.rate == "source":
    rate_hz = header.source_rate_hz
    audio = io.resample(audio[:, None], header.model_rate_hz, rate_hz)
    # Two roundings up may leave a few samples more than the source had.
    audio = audio[: header.source_samples, 0]
  io.write(target, audio, rate_hz)
  print(
    f"{target}: {len(audio)} samples, {rate_hz} Hz, 1 channel, "
    f"{_seconds(Fraction(len(audio), rate_hz))}"
  )


def info(arguments: argparse.Namespace) -> None:
  """Prints what an .sstr file holds, after checking all of it."""
  header = bitstream.read(arguments.input).header
  duration = _seconds(header.duration_s)
  rows = {
    "file": arguments.input,
    "format": f".sstr version {bitstream.VERSION}",
    "size": f"{header.file_bytes} bytes = {bitstream.HEADER_BYTES} header + "
    f"{header.payload_bytes} payload",
    "source": f"{header.source_rate_hz} Hz, {header.source_samples} samples, "
    f"{_channels(header.source_channels)}, {duration}",
    "model": f"{header.model_rate_hz} Hz, {header.model_samples} samples, "
    f"1 channel, hop {header.hop_samples}",
    "codes": f"{header.frames} frames of {header.num_quantizers} layers, "
    f"{header.codebook_size} codes of {header.code_bits} bits",
    "bitrate": f"{rates.describe_bps(header.bitrate_bps)} bit/s nominal, "
    f"{_true_bitrate(header)}",
    "fingerprint": header.fingerprint.hex(),
    "step": f"{header.step} ({header.weights})",
  }
  for name, text in rows.items():
    print(f"{name + ':':<13}{text}")


def pin(arguments: argparse.Namespace) -> None:
  """Keeps a checkpoint from being pruned, or stops keeping it."""
  from soundstream_jax import checkpoint

  workdir, step = arguments.model, arguments.step
  if not arguments.remove:
    checkpoint.pin(workdir, step)
  elif step in checkpoint.pinned(workdir):
    checkpoint.unpin(workdir, step)
  else:
    raise errors.InputError(
      f"{workdir}: step {step} is not pinned. Pinned: {_pins(workdir)}."
    )
  print(f"{workdir}: pinned: {_pins(workdir)}")


def _paths(
  arguments: argparse.Namespace,
) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns input and output, having checked what costs nothing to check."""
  source, target = pathlib.Path(arguments.input), pathlib.Path(arguments.output)
  if source.is_dir():
    raise errors.InputError(f"{source}: this is a folder. Name one file.")
  if not source.exists():
    raise errors.InputError(f"{source}: there is no such file.")
  if target.is_dir():
    raise errors.InputError(f"{target}: this is a folder. Name one file.")
  if not target.parent.is_dir():
    raise errors.InputError(f"{target}: there is no folder {target.parent}.")
  if target.exists():
    if target.samefile(source):
      raise errors.InputError(f"{target}: input and output are the same file.")
    if not arguments.force:
      raise errors.InputError(
        f"{target} exists already. Use --force to replace it."
      )
  return source, target


def _mismatch(header, codec, arguments: argparse.Namespace) -> str:
  """Says which checkpoint of the workdir made a file, if one did."""
  from soundstream_jax import checkpoint
  from soundstream_jax.codec import fingerprint

  workdir = arguments.model
  present = checkpoint.steps(workdir)
  # The file's own hint first, then the newest: one load is the usual case.
  steps = sorted(present, key=lambda step: (step != header.step, -step))
  kinds = sorted(bitstream.WEIGHTS, key=lambda kind: kind != header.weights)
  for step in steps:
    for kind in kinds:
      if (step, kind) == (codec.step, codec.weights):
        continue
      restored = checkpoint.restore_params_only(
        workdir, step=step, weights=kind
      )
      digest = fingerprint.compute(
        restored.config, restored.params, restored.codebooks.vectors
      )
      if digest == header.fingerprint:
        return (
          f"made by step {step} ({kind} weights) of {workdir}, not by step "
          f"{codec.step} ({codec.weights}). Use --step={step} "
          f"--weights={kind}."
        )
  return (
    f"belongs to another model: its fingerprint {header.fingerprint.hex()[:12]}"
    f" (step {header.step}, {header.weights}) is that of no checkpoint of "
    f"{workdir} (steps {', '.join(map(str, present))})."
  )


def _check_fields(source, header, codec) -> None:
  """Refuses a file whose header bears a fingerprint that is not its own."""
  for name, value, expected in (
    ("model_rate_hz", header.model_rate_hz, codec.sample_rate_hz),
    ("hop_samples", header.hop_samples, codec.hop_samples),
    ("codebook_size", header.codebook_size, codec.codebook_size),
  ):
    if value != expected:
      raise errors.InputError(
        f"{source}: {name}={value} contradicts the fingerprint, whose model "
        f"has {expected}."
      )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps the checkpoint library's remarks off the command's stderr."""
  from absl import logging

  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


def _pins(workdir: str) -> str:
  from soundstream_jax import checkpoint

  return ", ".join(map(str, sorted(checkpoint.pinned(workdir)))) or "none"


def _channels(count: int) -> str:
  return "1 channel" if count == 1 else f"{count} channels"


def _seconds(duration_s: Fraction) -> str:
  return f"{float(duration_s):.3f} s"


def _true_bitrate(header: bitstream.Header) -> str:
  if header.file_bitrate_bps is None:
    return "no audio"
  payload = Fraction(8 * header.payload_bytes) / header.duration_s
  return (
    f"{float(header.file_bitrate_bps):.1f} bit/s on disk "
    f"({float(payload):.1f} without the header)"
  )

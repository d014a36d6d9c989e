"""The tensor table: each tensor of a model, with its names elsewhere.

For whoever writes a port by hand: our path, the shape and what its axes are,
what the tensor does, where the paper has it, and the names in the formats
`torch` and `hf`. Tensors come in the order in which sound meets them.
"""

import dataclasses
from collections.abc import Iterator

from soundstream_jax import config as config_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.hugging_face import format as hugging_face
from soundstream_jax.export.hugging_face import state_dict
from soundstream_jax.export.torch import names
from soundstream_jax.model import layers


@dataclasses.dataclass(frozen=True)
class Tensor:
  """One tensor of generator or codebooks; all are float32.

  Attributes:
    path: ours, as in `model.safetensors` of the format `params`.
    shape: ours.
    layout: what the axes are: k taps, in and out channels, Q layers of the
      quantizer, K codes of each, C the dimension of codes, D that of latents.
    role: what it does.
    paper: its place in arXiv 2107.03312; '' where the paper has none.
    torch: its names in the state dict of the format `torch`.
    hugging_face: its names in that of the format `hf`; none where a model of
      this configuration cannot become one.
  """

  path: str
  shape: tuple[int, ...]
  layout: str
  role: str
  paper: str
  torch: tuple[str, ...]
  hugging_face: tuple[str, ...]


def table(config: config_lib.Config) -> tuple[Tensor, ...]:
  """Returns the tensors of the model that a configuration describes."""
  shapes = names.shapes(config)
  refused = hugging_face.refusal(config, format_lib.Options())
  return tuple(
    Tensor(
      path=path,
      shape=shapes[path],
      layout=layout,
      role=role,
      paper=paper,
      torch=(names.of(path),),
      hugging_face=() if refused else state_dict.names(path, config),
    )
    for path, layout, role, paper in _all(config)
  )


# path, layout, role, paper
_Row = tuple[str, str, str, str]


def _all(config: config_lib.Config) -> Iterator[_Row]:
  m = config.model
  if m.encoder == "learned":
    yield from _encoder(config)
  if m.film == "encoder":
    yield from _film("after the encoder's last layer")
  yield from _quantizer(config)
  if m.film == "decoder":
    yield from _film("before the decoder's first layer")
  yield from _decoder(config)


def _encoder(config: config_lib.Config) -> Iterator[_Row]:
  snake = config.model.activation == "snake"
  side, figure = "params/encoder", "III-A, Fig. 3: encoder"
  yield from _conv(
    f"{side}/input", "audio to channels", f"{figure}, Conv1D k=7"
  )
  for stage, stride in enumerate(config.model.strides):
    name, block = f"{side}/stage{stage}", f"{figure}, EncoderBlock S={stride}"
    yield from _units(name, config, block)
    if snake:
      yield _snake(f"{name}_down", "the strided convolution")
    yield from _conv(
      f"{name}_down",
      f"one output for every {stride} inputs, and twice the channels",
      f"{block}, Conv1D k={2 * stride}, stride {stride}",
    )
  if snake:
    yield _snake(f"{side}/output", "the last convolution")
  yield from _conv(
    f"{side}/output", "channels to latents", f"{figure}, last Conv1D k=3"
  )


def _decoder(config: config_lib.Config) -> Iterator[_Row]:
  snake = config.model.activation == "snake"
  side, figure = "params/decoder", "III-B, Fig. 3: decoder"
  yield from _conv(
    f"{side}/input", "latents to channels", f"{figure}, first Conv1D k=7"
  )
  for stage, stride in enumerate(reversed(config.model.strides)):
    name, block = f"{side}/stage{stage}", f"{figure}, DecoderBlock S={stride}"
    if snake:
      yield _snake(f"{name}_up", "the transposed convolution")
    yield from _conv(
      f"{name}_up",
      f"{stride} outputs for every input, and half the channels",
      f"{block}, Conv1D^T k={2 * stride}, stride {stride}",
      layout="[2 * stride, in, out]",
    )
    yield from _units(name, config, block)
  if snake:
    yield _snake(f"{side}/output", "the last convolution")
  yield from _conv(
    f"{side}/output", "channels to audio", f"{figure}, last Conv1D k=7"
  )


def _units(stage: str, config: config_lib.Config, block: str) -> Iterator[_Row]:
  snake = config.model.activation == "snake"
  for index, dilation in enumerate(layers.DILATIONS):
    name = f"{stage}_unit{index}"
    unit = f"{block}, ResidualUnit dilation={dilation}"
    if snake:
      yield _snake(f"{name}/dilated", "the dilated convolution")
    yield from _conv(
      f"{name}/dilated",
      f"taps {dilation} apart, to the unit's hidden channels",
      # Fig. 3 draws 7 taps.
      f"{unit}, Conv1D k={config.model.residual_kernel}",
    )
    if snake:
      yield _snake(f"{name}/pointwise", "the pointwise convolution")
    yield from _conv(
      f"{name}/pointwise",
      "back to the unit's channels, added to its input",
      f"{unit}, Conv1D k=1",
    )


def _quantizer(config: config_lib.Config) -> Iterator[_Row]:
  q = config.quantizer
  projects = q.kind != "ema"
  if projects:
    many = "of each layer, from the residual to the space of its codes"
    yield _projection("in_kernel", "[Q, D, C]", f"projection {many}")
    yield _projection("in_bias", "[Q, C]", f"bias {many}")
  yield (
    names.VECTORS,
    "[Q, K, C]",
    {
      "ema": "vectors of codes, the nearest of which is subtracted",
      "low_dim": "vectors of codes, chosen by their direction",
      "fsq": "the grid that codes number, the same in every layer",
    }[q.kind],
    "" if projects else "III-C, Algorithm 1: codebooks of Q_1 to Q_Nq",
  )
  if projects:
    many = "of each layer, from its codes back to the residual"
    yield _projection("out_kernel", "[Q, C, D]", f"projection {many}")
    yield _projection("out_bias", "[Q, D]", f"bias {many}")


def _projection(name: str, layout: str, role: str) -> _Row:
  return f"params/quantizer/{name}", layout, role, ""


def _film(where: str) -> Iterator[_Row]:
  figure = "III-F, Fig. 3: FiLM conditioning"
  for name, what, letter in (
    ("scale", "factors", "gamma"),
    ("shift", "terms", "beta"),
  ):
    yield (
      f"params/film/{name}",
      "[2, D]",
      f"{what} of latents, denoising off and on, {where}",
      f"{figure}, {letter}",
    )


def _conv(
  path: str, role: str, paper: str, *, layout: str = "[k, in, out]"
) -> Iterator[_Row]:
  yield f"{path}/kernel", layout, f"kernel: {role}", paper
  yield f"{path}/bias", "[out]", f"bias: {role}", paper


def _snake(path: str, before: str) -> _Row:
  role = f"a of x + sin^2(a x) / a before {before}"
  return f"{path}_snake/alpha", "[channels]", role, ""

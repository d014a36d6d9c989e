"""The program of a case: a jitted function of a checkout, and its arguments.

Arguments pass through `inputs.Abstract`, which leaves them shapes to lower the
function for, or `inputs.Drawn`, which makes arrays to run it with.
"""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp

from benchmarks.same_programs import matrix, places

BATCH = 2


def config(name: str, **changes):
  """Returns the checked Config of a case, named as in `matrix`."""
  _, form, model, _ = name.split("/")
  preset, variant = matrix.VARIANTS.get(model, (model, {}))
  values = places.find("load_preset")(preset)
  given = {"batch_size": BATCH, "mesh.data": 1, "mesh.fsdp": 1}
  if form in matrix.FORMS:
    given["form"] = form
  with values.ignore_type():
    values.update_from_flattened_dict({**given, **variant, **changes})
  return places.find("from_dict")(values)


def leaves(name: str) -> str:
  """Returns what is no program: the configuration, arrays and their order."""
  c = config(name)
  state = places.find("abstract_state")(c)
  lines = [
    json.dumps(places.find("to_dict")(c), indent=1),
    str(vars(places.find("context")(c))),
  ]
  for title, tree in places.find("checkpoint_items")(state).items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      path = jax.tree_util.keystr(path)
      lines.append(f"{title}{path}: {leaf.dtype}{list(leaf.shape)}")
  return "\n".join(lines) + "\n"


def training_step(name: str, inputs, *, adversarial: bool = True):
  c = config(name, **{"data.crop_samples": _samples(name)})
  mesh = places.find("make_mesh")(c.mesh)
  step, (state, batch) = places.call(
    "build_step", c, mesh, adversarial=adversarial
  )
  return step, (inputs("state", state), inputs("batch", batch))


def encode(name: str, inputs):
  c, net, variables = _generator(name, inputs)

  def run(variables, audio, denoise):
    latents = net.apply(variables, audio, denoise=denoise, method="encode")
    codes = net.apply(variables, latents, method="quantize").codes
    return latents, codes

  audio = _shape((BATCH, _samples(name), 1))
  return jax.jit(run), (variables, inputs("audio", audio), _flags(c, inputs))


def decode(name: str, inputs):
  c, net, variables = _generator(name, inputs)

  def run(variables, codes, denoise):
    latents = net.apply(variables, codes, method="dequantize")
    return net.apply(variables, latents, denoise=denoise, method="decode")

  frames = c.rates.num_frames(_samples(name))
  codes = _shape((BATCH, frames, c.quantizer.num_quantizers), jnp.int32)
  codes = inputs("codes", codes, below=c.quantizer.codebook_size)
  return jax.jit(run), (variables, codes, _flags(c, inputs))


def discriminators(name: str, inputs):
  c = config(name)
  params = places.find("abstract_state")(c).disc_params
  net = places.call("discriminators", c)

  def run(params, audio):
    outputs, pull = jax.vjp(
      lambda p, x: net.apply({"params": p}, x), params, audio
    )
    return outputs, pull(outputs)

  audio = _shape((BATCH, _samples(name), 1))
  return jax.jit(run), (inputs("params", params), inputs("audio", audio))


def stream_encode(name: str, inputs):
  c, net, streams, frames, prepared = _stream(name, inputs, "encoder")
  step = functools.partial(
    places.find("encode_step"), net, c.quantizer.num_quantizers
  )
  audio = _shape((streams, frames * c.rates.hop_samples))
  denoise = inputs("denoise", _shape((streams,), jnp.bool_))
  return (
    jax.jit(step, donate_argnums=(1,)),
    (*prepared, inputs("audio", audio), denoise),
  )


def stream_decode(name: str, inputs):
  c, net, streams, frames, prepared = _stream(name, inputs, "decoder")
  q = c.quantizer.num_quantizers
  step = functools.partial(
    places.find("decode_step"), net, float(c.rates.frame_rate_hz)
  )
  codes = inputs(
    "codes",
    _shape((streams, frames, q), jnp.int32),
    below=c.quantizer.codebook_size,
  )
  layers = inputs("layers", _shape((streams, frames), jnp.int32), below=q + 1)
  denoise = inputs("denoise", _shape((streams,), jnp.bool_))
  return (
    jax.jit(step, donate_argnums=(1,)),
    (*prepared, codes, layers, denoise),
  )


PROGRAMS = {
  "step": training_step,
  "reconstruction_step": functools.partial(training_step, adversarial=False),
  "encode": encode,
  "decode": decode,
  "discriminators": discriminators,
  "stream_encode": stream_encode,
  "stream_decode": stream_decode,
}


def _stream(name, inputs, side):
  streams, frames = map(int, re.findall(r"\d+", name.rpartition("/")[2]))
  c = dataclasses.replace(config(name), rematerialise=False)
  net = places.call("generator", c, form=places.stream_form())
  prepare = functools.partial(
    places.find("prepare_stream"),
    net,
    side=side,
    streams=streams,
    block_frames=frames,
  )
  return c, net, streams, frames, inputs.made(prepare, _variables(c, inputs))


def _generator(name, inputs):
  c = config(name)
  return c, places.call("generator", c), _variables(c, inputs)


def _variables(c, inputs):
  state = places.find("abstract_state")(c)
  return places.find("variables")(
    inputs("params", state.params),
    inputs("vectors", state.codebooks.vectors),
  )


def _flags(c, inputs):
  if c.model.film == "none":
    return None
  return inputs("denoise", _shape((BATCH,), jnp.bool_))


def _samples(name: str) -> int:
  length = name.rpartition("/")[2]
  if length == "crop":
    return config(name).data.crop_samples
  number, unit = re.fullmatch(r"(\d+)(hops|samples)", length).groups()
  hop = config(name).rates.hop_samples if unit == "hops" else 1
  return int(number) * hop


def _shape(shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)

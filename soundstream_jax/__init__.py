"""SoundStream (arXiv 2107.03312) in JAX and Flax: train, evaluate, encode."""

__version__ = "0.8.0"


def load(folder, *, step=None, weights=None):
  """Loads a trained model to encode and decode with: a `codec.Codec`.

  Args:
    folder: the workdir of a training run, or what `soundstream export` wrote.
    step: of a checkpoint, or 'best'; None takes the newest.
    weights: 'ema' (averaged parameters; None is these) or 'raw'.

  Raises:
    InputError: no such checkpoint or model.
  """
  # Importing the package loads nothing.
  from soundstream_jax.codec import codec

  return codec.Codec.load(folder, step=step, weights=weights)

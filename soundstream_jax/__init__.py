"""SoundStream (arXiv 2107.03312) in JAX and Flax: train, evaluate, encode."""

__version__ = "0.1.0"

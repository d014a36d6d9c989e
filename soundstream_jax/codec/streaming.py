"""The public name of live streams, whose code is in `stream/`."""

from soundstream_jax.codec.stream import encoder

StreamEncoder = encoder.StreamEncoder
StreamDecoder = encoder.StreamDecoder

"""The public name of live streams, whose code is in `stream/`."""

from soundstream_jax.codec.stream import decoder, encoder

StreamEncoder = encoder.StreamEncoder
StreamDecoder = decoder.StreamDecoder

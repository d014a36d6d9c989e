"""How much of the quality is the encoder's width, how much the decoder's?

Table I of the paper, at 6 kbit/s: the preset's channels, half and a quarter of
them on either side. The bitrate is fixed, and with it the depth.
"""

from soundstream_jax.settings import sweeps

FIXES = "bitrate"
BITRATE_BPS = 6_000

# Of encoder and decoder, in the order of the table's rows.
DIVISORS = ((1, 1), (2, 2), (2, 1), (4, 1), (1, 2), (1, 4))


def sweep(preset):
  for encoder, decoder in DIVISORS:
    channels = {
      "model.encoder_channels": max(
        1, preset.model.encoder_channels // encoder
      ),
      "model.decoder_channels": max(
        1, preset.model.decoder_channels // decoder
      ),
    }
    yield (
      "encoder{}_decoder{}".format(*channels.values()),
      sweeps.at_bitrate(preset, BITRATE_BPS, channels),
    )

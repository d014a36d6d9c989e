"""Does quality depend on how long a frame is, if the bitrate does not?

Table III of the paper, at 6 kbit/s: half the preset's hop, the hop, and twice
it, by the first stride that can be halved; (1,4,5,8), (2,4,5,8) and (4,4,5,8)
of the paper's. The bitrate is fixed, the depth follows: 4, 8 and 16 layers of
1024 codes. Crops are the same in all points, whole frames of the longest.
"""

from soundstream_jax import errors
from soundstream_jax.settings import sweeps

FIXES = "bitrate"
BITRATE_BPS = 6_000


def sweep(preset):
  strides = tuple(preset.model.strides)
  even = [place for place, stride in enumerate(strides) if stride % 2 == 0]
  if not even:
    raise errors.InputError(
      f"--sweep=strides: none of model.strides={strides} can be halved."
    )
  longest = 2 * sweeps.rates_of(preset).hop_samples
  lengths = {
    "data.crop_samples": _whole(preset.data.crop_samples, longest),
    "evaluation.clip_samples": _whole(preset.evaluation.clip_samples, longest),
  }
  halved = strides[even[0]] // 2
  for times in (1, 2, 4):
    changed = list(strides)
    changed[even[0]] = halved * times
    yield (
      f"hop{longest * times // 4}",
      sweeps.at_bitrate(
        preset, BITRATE_BPS, {"model.strides": tuple(changed), **lengths}
      ),
    )


def _whole(samples: int, hop: int) -> int:
  return -(-samples // hop) * hop

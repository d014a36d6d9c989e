"""Sound that a run hears: sample rate, data, mixture."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Audio:
  sample_rate_hz: int = 24_000


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Shares of the kinds of example (paper sections IV-A and III-F).

  Any positive numbers; `data/examples.py` makes what they name. With all of
  them 0, examples are crops of data.sources as they are.
  """

  speech: float = 0.0
  noisy_speech: float = 0.0
  reverberant_speech: float = 0.0
  noisy_reverberant_speech: float = 0.0
  music: float = 0.0
  noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class Data:
  # Prepared datasets, each 'DIR' or 'DIR:weight,DIR:weight'. `sources` is any
  # audio; a mixture draws from the others.
  sources: str = ""
  speech: str = ""
  music: str = ""
  noise: str = ""
  rooms: str = ""  # impulse responses
  mixture: Mixture = Mixture()
  # Gain of noise on speech, both with peaks of 1, uniform in dB within these.
  noise_gain_db: tuple[float, float] = (-30.0, 0.0)
  # Share of examples of speech and music for which FiLM's flag is on: their
  # target is then without the noise. Ours.
  denoise_share: float = 0.5
  # Share of crops, of noise too, that a random filter colours. Ours.
  filter_share: float = 0.0
  # Records of a lower bandwidth are left out; 0 takes all. Ours.
  min_bandwidth_hz: float = 0.0
  crop_samples: int = 24_000
  # Random gain, uniform in dB within these bounds.
  gain_db: tuple[float, float] = (-12.0, 3.0)
  # Worker processes; 0 reads in threads of this process.
  num_workers: int = 0
  num_threads: int = 4
  prefetch_batches: int = 8

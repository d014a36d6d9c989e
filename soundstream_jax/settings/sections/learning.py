"""Learning: losses and optimizers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Loss:
  """Paper section III-E, equations 1 to 7; commitment and the rest are ours."""

  adversarial_weight: float = 1.0
  feature_weight: float = 100.0
  reconstruction_weight: float = 1.0
  # Of the spectral loss's two terms, inside reconstruction_weight. In the paper
  # both are 1, and the log term's gradient is hundreds of times the other's.
  linear_weight: float = 1.0
  log_weight: float = 1.0
  waveform_weight: float = 0.0  # of losses/waveform.py
  complex_weight: float = 0.0  # of losses/complex_stft.py
  commitment_weight: float = 1.0
  # The weights, but commitment's, are then shares of the gradient at the audio
  # (losses/balancer.py): the paper's 1, 100 and 1 would leave 98 % to features.
  balancer: bool = False
  # Of an example's gradient, in all; the spectral loss alone has about this on
  # speech, so that commitment's weight means what it means without.
  balancer_norm: float = 50.0
  balancer_decay: float = 0.999  # of the moving averages of norms
  # Steps over which the adversarial and the feature weight rise, once the
  # discriminators take part; 0: they are whole at once, as in the paper.
  adversarial_ramp_steps: int = 0
  # From which to which step the waveform and the complex weight fall to 0;
  # (0,0): they stay.
  waveform_fade: tuple[int, int] = (0, 0)
  # Of the spectral loss, and of the complex term.
  spectral_windows: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
  # Of every window, or one number for each: DAC has 5 to 320 for windows of 32 to
  # 2048. Of the paper's 64, at a window of 64, only 29 are independent.
  mel_bins: int | tuple[int, ...] = 64
  # Mel magnitudes well below it are equal to the log term. The paper gives none;
  # 1e-4 is the least, that of magnitudes (audio/spectral.py): noise 106 dB below
  # full scale at a window of 1024.
  log_floor: float = 1e-4

  @property
  def bins_of_windows(self) -> tuple[int, ...]:
    """Mel bins, one number for each of spectral_windows."""
    if isinstance(self.mel_bins, tuple):
      return self.mel_bins
    return (self.mel_bins,) * len(self.spectral_windows)


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """Adam, twice. Every value is ours: the paper gives none."""

  learning_rate: float = 3e-4
  discriminator_learning_rate: float = 3e-4
  beta1: float = 0.5
  beta2: float = 0.9
  discriminator_beta1: float = -1.0  # of the discriminators; -1: as beta1
  discriminator_beta2: float = -1.0  # likewise
  warmup_steps: int = 1_000
  # After the warm-up: 'geometric', by decay_per_step, or 'cosine', to 0 at
  # num_steps, which may not change then.
  schedule: str = "geometric"
  # Learning rate is multiplied by this at every step after the warm-up.
  decay_per_step: float = 0.999996
  # AdamW (arXiv 1711.05101): share of the learning rate by which kernels shrink
  # at every step; biases, norms and FiLM do not. 0 is Adam.
  weight_decay: float = 0.0
  clip_norm: float = 10.0  # global gradient norm; 0 turns clipping off
  # Clips a gradient's norm to this times the median of the norms of the last 128
  # steps that learnt, beside clip_norm, which holds alone before there are so
  # many. 0 turns it off.
  clip_to_median: float = 0.0
  # Of generator parameters: min(d, (1+t)/(10+t)); 0 turns averaging off.
  ema_decay: float = 0.999

"""Networks: generator, quantizer, discriminators."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Model:
  """Paper section III-A and III-B, Fig. 3."""

  # 'learned', or 'mel': fixed features, nothing learned (model/mel_encoder.py).
  encoder: str = "learned"
  encoder_channels: int = 32
  decoder_channels: int = 32
  strides: tuple[int, ...] = (2, 4, 5, 8)
  # D. The paper gives no value; 256 is the one that Table I's counts allow.
  embedding_dim: int = 256
  # Residual unit. B, the default: kernel 7, hidden ratio 0.5 (Fig. 3's
  # kernels). A: kernel 3, ratio 1.0. Both give Table I's parameter counts.
  residual_kernel: int = 7
  residual_hidden_ratio: float = 0.5
  # Of encoder and decoder: 'elu', as in Fig. 3, or 'snake', x + sin^2(a x) / a
  # with an a to learn for each channel (arXiv 2006.08195), as in DAC.
  activation: str = "elu"
  # FiLM at the bottleneck: 'none', 'encoder' or 'decoder'.
  film: str = "none"
  # Convolutions only; parameters, codebooks, distances, losses stay float32.
  compute_dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Quantizer:
  """Paper section III-C."""

  num_quantizers: int = 24
  codebook_size: int = 1024
  dropout: bool = True
  ema_decay: float = 0.99
  kmeans_iterations: int = 20  # ours
  # Batches whose frames k-means sees. The paper takes one; with none codebooks
  # start at random.
  kmeans_batches: int = 1
  # A code is dead below this share of uniform use. The paper's absolute 2
  # depends on the batch size and kills small batches. 0 turns revival off.
  revival_threshold: float = 0.1
  # Random frames per layer and step that dead codes can be replaced by.
  revival_candidates: int = 64


@dataclasses.dataclass(frozen=True)
class Discriminator:
  """Paper section III-D; layer table of MelGAN for the wave scales."""

  wave_scales: int = 3  # 0: no wave networks
  wave_channels: int = 16
  wave_max_channels: int = 1024
  # Normalisations are ours: the paper names none.
  wave_norm: str = "weight"  # 'weight' or 'none'
  stft_channels: int = 32  # 0: no STFT network
  stft_window: int = 1024
  stft_hop: int = 256
  stft_norm: str = "layer"  # 'layer', 'weight' or 'none'
  # Until this step the generator trains on reconstruction alone. Ours.
  start_step: int = 0

  @property
  def exists(self) -> bool:
    """Whether there is any; without, losses of them do not exist either."""
    return self.wave_scales > 0 or self.stft_channels > 0

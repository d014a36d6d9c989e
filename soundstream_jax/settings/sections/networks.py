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
  # Of the encoder's first kernels as they are drawn, over what keeps the variance
  # (model/layers.py); 0: what suits the activation. Ours.
  input_gain: float = 0.0
  # FiLM at the bottleneck: 'none', 'encoder' or 'decoder'.
  film: str = "none"
  # Of the codec's convolutions; parameters, codebooks, distances, losses stay
  # float32. It is part of the model, whose codes depend on it: training in
  # bfloat16 is train_dtype's.
  compute_dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Quantizer:
  """Paper section III-C."""

  num_quantizers: int = 24
  codebook_size: int = 1024
  # How a layer chooses its code (model/quantizers/). 'ema': the paper's vectors of
  # D dimensions. 'low_dim': vectors of few, chosen by direction, between two
  # projections (Descript Audio Codec, arXiv 2306.06546). 'fsq': each of a few
  # dimensions rounded by itself, no codebook to learn (2309.15505); of levels of
  # 4, and one of 8 for an odd bit: codebook_size=1024 is 4^5.
  kind: str = "ema"
  code_dim: int = 8  # of 'low_dim', DAC's; 'fsq' follows from codebook_size
  # Quantizer dropout: an example uses its first layers alone, 1 to Q of them.
  dropout: bool = True
  # Share of examples that dropout applies to. The paper: all; DAC: half, since
  # always dropping cost it quality at the full rate.
  dropout_probability: float = 1.0
  # Depths that are drawn, all alike, as EnCodec's bitrates; () is 1 to Q.
  dropout_depths: tuple[int, ...] = ()
  # Share of training examples whose latents reach the decoder unquantized, so
  # that both networks learn what codebooks cannot say yet. Not in the paper;
  # Mimi (arXiv 2410.00037) has half.
  bypass_probability: float = 0.0
  ema_decay: float = 0.99
  kmeans_iterations: int = 20  # ours
  # Batches whose frames k-means sees, 256 a code at most. The paper takes one;
  # with none codebooks start at random.
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
  # One STFT network for each of these windows, with hops of a quarter, in place
  # of the one of stft_window and stft_hop. EnCodec's (arXiv 2210.13438, section
  # 3.4) are (2048, 1024, 512, 256, 128).
  stft_windows: tuple[int, ...] = ()
  stft_norm: str = "layer"  # 'layer', 'weight' or 'none'
  # Until this step the generator trains on reconstruction alone. Ours.
  start_step: int = 0
  # They learn in steps whose number this divides, and judge in all of them: so
  # the generator can keep up. Ours; EnCodec's skip a third of the steps.
  every_steps: int = 1

  @property
  def exists(self) -> bool:
    """Whether there is any; without, losses of them do not exist either."""
    return self.wave_scales > 0 or self.stft_channels > 0

  @property
  def stft_networks(self) -> dict[str, tuple[int, int]]:
    """Name -> (window, hop) of each STFT network, in samples."""
    if not self.stft_channels:
      return {}
    if not self.stft_windows:
      return {"stft": (self.stft_window, self.stft_hop)}
    return {f"stft_{w}": (w, w // 4) for w in self.stft_windows}

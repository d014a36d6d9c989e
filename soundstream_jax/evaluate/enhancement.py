"""Measures denoising: held-out speakers, held-out noise, a fixed ratio.

Four signals are compared: clean speech, the same with noise (the input), and
what the codec makes of the input with the flag on and off. Denoising works if
the output with the flag on is closer to the clean speech than the input is;
and a codec that reconstructs has an output with the flag off that is closer to
the input than the one with the flag on.
"""

import dataclasses
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import metrics
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.data import held_out

# Two-sided 95 % of Student's t, by degrees of freedom; the normal's beyond.
_QUANTILES = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 7: 2.36, 10: 2.23}
_QUANTILES |= {15: 2.13, 20: 2.09, 30: 2.04, 60: 2.00, 120: 1.98}


@dataclasses.dataclass(frozen=True)
class Enhancement:
  """Measurements of N clips, by the names of METRICS."""

  clips: held_out.Noisy
  snr_db: float
  bitrate_bps: float
  step: int
  outputs: dict[bool, np.ndarray]  # by the flag: float32 [N, T, 1]
  # Metric -> {'input', 'on', 'off': [N]}, against the clean speech.
  to_clean: dict[str, dict[str, np.ndarray]]
  # By metrics.CRITERION, against the input: {'on', 'off': [N]}.
  to_input: dict[str, np.ndarray]


def evaluate(
  codec: codec_lib.Codec,
  config: config_lib.Config,
  *,
  split: str,
  snr_db: float,
  num_clips: int,
  bitrate_bps: float | None = None,
) -> Enhancement:
  """Encodes and decodes noisy clips of a split with the flag on and off.

  Raises:
    InputError: the model does not denoise, or there are no clips.
  """
  side = codec.film
  # A model without the flag is told so by the codec.
  codec.check_denoise(True, side if side != "none" else "encoder")
  clips = held_out.noisy(config, split=split, num=num_clips, snr_db=snr_db)
  samples = clips.audio.shape[1]

  def outputs(flag: bool) -> np.ndarray:
    decoded = []
    for clip in clips.audio:
      codes = codec.encode(
        clip[:, 0],
        bitrate_bps=bitrate_bps,
        denoise=flag and side == "encoder",
      )
      audio = codec.decode(codes, denoise=flag and side == "decoder")
      decoded.append(audio[:samples, None])
    return np.stack(decoded)

  made = {flag: outputs(flag) for flag in (True, False)}
  clean, heard = clips.clean.audio, clips.audio
  rate = codec.sample_rate
  named = {"input": heard, "on": made[True], "off": made[False]}
  criterion = metrics.METRICS[metrics.CRITERION]
  return Enhancement(
    clips=clips,
    snr_db=snr_db,
    bitrate_bps=bitrate_bps or float(codec.bitrates[-1]),
    step=codec.step,
    outputs=made,
    to_clean={
      name: {
        signal: metric.measure(clean, audio, sample_rate_hz=rate)
        for signal, audio in named.items()
      }
      for name, metric in metrics.while_training().items()
    },
    to_input={
      signal: criterion.measure(heard, named[signal], sample_rate_hz=rate)
      for signal in ("on", "off")
    },
  )


def to_dict(result: Enhancement) -> dict[str, Any]:
  """Returns plain JSON values: means, paired gains, and the criteria."""
  clean, sdr = result.to_clean["log_mel"], result.to_clean["si_sdr_db"]
  heard = result.to_input
  groups = result.clips.clean.group
  gains = {
    "si_sdr_over_input_db": interval(sdr["on"] - sdr["input"]),
    "si_sdr_over_flag_off_db": interval(sdr["on"] - sdr["off"]),
    "log_mel_over_input": interval(clean["input"] - clean["on"]),
    "log_mel_over_flag_off": interval(clean["off"] - clean["on"]),
    "flag_off_reconstructs_better": interval(heard["on"] - heard["off"]),
  }

  def clearly(name, least=0.0):
    gain = gains[name]
    return bool(gain["mean"] > least and gain["low"] > 0)

  return {
    "step": result.step,
    "snr_db": result.snr_db,
    "bitrate_bps": result.bitrate_bps,
    "clips": len(groups),
    "speakers": len(set(groups)),
    "clips_by_speaker": {g: groups.count(g) for g in sorted(set(groups))},
    **{
      key: _means(heard if signal == "input" else result.to_clean[name])
      for name, signal, key in _columns()
    },
    "gains": gains,
    "criteria": {
      "log-mel: flag on is closer to clean than the input": clearly(
        "log_mel_over_input"
      ),
      "SI-SDR: flag on gains over 1 dB on the input": clearly(
        "si_sdr_over_input_db", 1.0
      ),
      "SI-SDR: flag on gains over 1 dB on flag off": clearly(
        "si_sdr_over_flag_off_db", 1.0
      ),
      "log-mel: flag off is closer to the input than flag on": clearly(
        "flag_off_reconstructs_better"
      ),
    },
  }


def to_text(values: dict[str, Any]) -> str:
  """Returns the table that the command prints, from `to_dict`."""
  columns = [
    (f"{metrics.METRICS[name].column} to {signal}", name, key)
    for name, signal, key in _columns()
  ]
  lines = [
    f"step {values['step']}, {values['clips']} clips of {values['speakers']} "
    f"held-out speakers, noise at {values['snr_db']:g} dB, "
    f"{values['bitrate_bps']:.0f} bit/s",
    "",
    " " * 11 + "".join(f"  {title}" for title, _, _ in columns),
  ]
  for signal in ("input", "on", "off"):
    line = f"  {signal if signal == 'input' else f'flag {signal}':<9}"
    for title, name, key in columns:
      width, value = len(title) + 2, values[key].get(signal)
      decimals = metrics.METRICS[name].decimals
      line += " " * width if value is None else f"{value:{width}.{decimals}f}"
    lines.append(line)
  lines += [
    "",
    "  paired gains, mean and 95 % interval over clips",
  ]
  for name, gain in values["gains"].items():
    lines.append(
      f"  {gain['mean']:8.3f}  [{gain['low']:.3f}, {gain['high']:.3f}]  {name}"
    )
  lines.append("")
  for name, passed in values["criteria"].items():
    lines.append(f"  {'yes' if passed else 'NO':>5}  {name}")
  return "\n".join(lines)


def _columns() -> list[tuple[str, str, str]]:
  """Returns (metric, 'clean' or 'input', key in JSON) of the comparisons.

  Every metric compares with the clean speech; the criterion's with the input
  too, so its keys say which.
  """
  columns = []
  for name in metrics.while_training():
    if name == metrics.CRITERION:
      columns += [(name, s, f"{name}_to_{s}") for s in ("clean", "input")]
    else:
      columns.append((name, "clean", name))
  return columns


def interval(gains: np.ndarray) -> dict[str, float]:
  """Returns mean and 95 % t interval of paired gains [N]; N of at least 2."""
  mean, count = float(np.mean(gains)), len(gains)
  if count < 2:
    return {"mean": mean, "low": -np.inf, "high": np.inf}
  # Of the next smaller number of degrees, so never too narrow.
  quantile = _QUANTILES[max(d for d in _QUANTILES if d <= count - 1)]
  half = quantile * float(np.std(gains, ddof=1)) / np.sqrt(count)
  return {"mean": mean, "low": mean - half, "high": mean + half}


def _means(values: dict[str, np.ndarray]) -> dict[str, float]:
  return {name: float(np.mean(array)) for name, array in values.items()}

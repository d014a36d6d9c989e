"""Folders as training, evaluation and sweeps leave them, made without any."""

import json
import pathlib

import numpy as np

from soundstream_jax.audio import wav

RATE_HZ = 24_000
# What a name may hold, and a page has to show as text.
ODD = """<script>alert("x")</script>&'"`$title${css} </style>"""

METRICS = {
  "visqol_audio": {
    "title": "ViSQOL audio",
    "unit": "",
    "higher_is_better": True,
    "decimals": 2,
    "low": 1.0,
    "high": 4.732,
    "classes": [],
    "version": "visqol-python 3.8.0",
  },
  "log_mel": {
    "title": "log-mel distance",
    "unit": "",
    "higher_is_better": False,
    "decimals": 3,
    "low": 0.0,
    "high": None,
    "classes": [],
  },
  "si_sdr_db": {
    "title": "SI-SDR",
    "unit": "dB",
    "higher_is_better": True,
    "decimals": 1,
    "low": None,
    "high": None,
    "classes": [],
  },
  "pesq": {
    "title": "PESQ",
    "unit": "",
    "higher_is_better": True,
    "decimals": 2,
    "low": 1.0,
    "high": 4.644,
    "classes": ["speech", "noisy"],
  },
}
# system, bit/s, label, and how good it is from 0 to 1.
BASELINES = [
  ("opus", 6000, "Opus 6 kbit/s", 0.35),
  ("opus", 9000, "Opus 9 kbit/s", 0.40),
  ("opus", 12000, "Opus 12 kbit/s", 0.55),
  ("opus", 16000, "Opus 16 kbit/s", 0.80),
  ("opus", 24000, "Opus 24 kbit/s", 0.88),
  ("opus_wideband", 9000, "Opus 9 kbit/s, wideband", 0.48),
  ("opus_wideband", 12000, "Opus 12 kbit/s, wideband", 0.60),
  ("opus_nolace", 9000, "Opus 9 kbit/s, NoLACE", 0.52),
  ("opus_nolace", 12000, "Opus 12 kbit/s, NoLACE", 0.62),
  ("low_pass", 3500, "Low-pass 3.5 kHz", 0.41),
  ("low_pass", 7000, "Low-pass 7 kHz", 0.50),
]
CLASSES = ("speech", "noisy", "music")


def models(rates=(1500, 3000, 6000), *, lift=0.0):
  """Returns a model's systems at some bitrates, the better the higher."""
  return [
    ("model", rate, f"SoundStream {rate / 1000:g} kbit/s", lift + level)
    for rate, level in zip(rates, np.linspace(0.3, 0.62, 3), strict=False)
  ]


def evaluation(
  folder,
  systems,
  *,
  metrics=METRICS,
  classes=CLASSES,
  clips=8,
  sounds=1,
  name="tiny",
  seed=0,
  **changes,
):
  """Writes what `evaluate --out=FOLDER` does; returns the folder."""
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  names = [
    f"{i:02d}_{kind}".replace("/", "_")
    for kind in classes
    for i in range(clips)
  ]
  kinds = [kind for kind in classes for _ in range(clips)]
  spread = {
    clip: np.random.default_rng(i).normal() for i, clip in enumerate(names)
  }
  lines, entries, values = [], [], {}
  for system, setting, label, level in systems:
    key = f"{system}@{setting}"
    rate = None if system == "low_pass" else float(setting)
    for clip, kind in zip(names, kinds, strict=True):
      found = {}
      for metric, told in metrics.items():
        if told["classes"] and kind not in told["classes"]:
          continue
        quality = level + 0.04 * spread[clip] + 0.015 * rng.normal()
        quality += {"speech": 0.05, "music": -0.08}.get(kind, 0.0)
        found[metric] = round(_scale(metric, quality), 4)
      values[key, clip] = found
      lines.append(
        {
          "key": key,
          "clip": clip,
          "class": kind,
          "seconds": 2.0,
          "payload_bits": None if rate is None else int(2 * rate),
          "entropy_bits": int(1.8 * rate) if system == "model" else None,
          "values": found,
          "missing": {},
          "of": "0",
        }
      )
    entries.append(
      {
        "key": key,
        "system": system,
        "setting": str(setting),
        "label": label,
        "bitrate_bps": rate,
        "layers": int(setting / 750) if system == "model" else None,
        "payload_bps": rate,
        "entropy_bps": 0.9 * rate if system == "model" else None,
        "version": {"model": "", "low_pass": "scipy"}.get(
          system, "libopus 1.3.1, opus-tools 0.2"
        ),
        "metrics": {
          metric: {
            kind: score(
              [
                values[key, clip].get(metric)
                for clip, its in zip(names, kinds, strict=True)
                if kind in (its, "all")
              ]
            )
            for kind in ("all", *classes)
          }
          for metric in metrics
        },
      }
    )
  paired = [
    {
      "a": a["key"],
      "b": b["key"],
      "metric": metric,
      "class": kind,
      **difference(values, a["key"], b["key"], metric, kind, names, kinds),
    }
    for a in entries
    if a["system"] == "model"
    for b in entries
    if a is not b
    for metric in metrics
    for kind in ("all", *classes)
  ]
  result = {
    "version": 1,
    "step": 2200,
    "weights": "ema",
    "clips": len(names),
    "model": {
      "name": name,
      "fingerprint": "3f9a6c1e",
      "step": 2200,
      "weights": "ema",
      "parameters": 412_345,
      "sample_rate_hz": RATE_HZ,
      "config": {},
    },
    "metrics": metrics,
    "missing_metrics": {},
    "clip_set": {
      "origin": "validation",
      "names": names,
      "classes": kinds,
      "seconds": [2.0] * len(names),
      "digest": "d1" * 8,
    },
    "systems": entries,
    "missing_systems": {},
    "paired": paired,
    "codebooks": [
      {
        "layer": layer,
        "perplexity": 30.0 - 1.5 * layer,
        "entropy_bits": 4.9 - 0.08 * layer,
        "dead_fraction": 0.01 * layer,
      }
      for layer in range(8)
    ],
  } | changes
  (folder / "evaluation.json").write_text(json.dumps(result))
  with (folder / "measurements.jsonl").open("w") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)
  for kind in classes if sounds else ():
    for i in range(sounds):
      write_sounds(folder / "sounds" / f"{i:02d}_{kind}", systems, seed=i)
  return folder


def write_sounds(folder, systems, *, seconds=2.0, seed=0):
  """Writes a clip and what the systems make of it."""
  folder.mkdir(parents=True, exist_ok=True)
  time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
  rng = np.random.default_rng(seed)
  pitch = 120 + 40 * seed + 20 * np.sin(2 * np.pi * 1.5 * time)
  phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
  partials = np.stack([np.sin(k * phase) / k for k in range(1, 60)])
  envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
  wav.write(
    folder / "original.wav",
    (0.2 * envelope * partials.sum(0)).astype(np.float32),
    RATE_HZ,
  )
  for system, setting, _, level in systems:
    some = partials[: max(2, int(59 * level))].sum(0)
    noise = 0.01 * (1 - level) * rng.normal(size=len(time))
    wav.write(
      folder / f"{system}@{setting}.wav",
      (0.2 * envelope * some + noise).astype(np.float32),
      RATE_HZ,
    )


def workdir(folder, *, steps=600, seed=0, config=None):
  """Writes what training logs into a workdir; returns it."""
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  with (folder / "metrics.jsonl").open("w") as file:
    for step in range(50, steps + 1, 50):
      line = {
        "step": step,
        "loss/reconstruction": 40 / step**0.5 + 0.1 * rng.random(),
        "loss/discriminator": 2.0 + 0.1 * rng.random(),
        "loss/adversarial": 1.0 + 0.1 * rng.random(),
        "loss/feature": 0.3 + 0.1 * rng.random(),
        **{
          f"codebook/perplexity/{layer:02d}": 30 - layer - 300 / step
          for layer in range(8)
        },
      }
      if step % 200 == 0:
        line |= {"eval/log_mel": 9 / step**0.4, "eval/si_sdr_db": step / 100}
      file.write(json.dumps(line) + "\n")
    file.write('{"step": 650, "loss/recon')  # of a run that was killed
  (folder / "config.json").write_text(json.dumps(config or {}))
  return folder


def sweep(
  folder, called, points, *, fixes="bitrate", baselines=BASELINES, **more
):
  """Writes a sweep's folder.

  Args:
    points: name -> (overrides, configuration, how much better it is).
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True)
  listed = []
  for i, (point, (overrides, config, lift)) in enumerate(points.items()):
    path = f"points/{i:02d}-0a1b2c3{i}"
    workdir(folder / path, seed=i, config=config)
    evaluation(
      folder / path / "evaluation",
      models((6000,), lift=0.2 + lift),
      seed=i,
      **({"sounds": 0} | more),
    )
    listed.append(
      {
        "name": point,
        "hash": f"0a1b2c3{i}",
        "overrides": overrides,
        "workdir": path,
        "bitrate_bps": 6000.0,
        "parameters": 400_000 + 1000 * i,
        "predicted_seconds": 60.0,
      }
    )
  evaluation(folder / "baselines", baselines, **({"sounds": 0} | more))
  described = {
    "version": 1,
    "sweep": called,
    "preset": "tiny",
    "fixes": fixes,
    "points": listed,
  }
  (folder / "sweep.json").write_text(json.dumps(described))
  return folder


def codebook_sizes(folder, **more):
  """Writes the sweep of the paper's Table II."""
  return sweep(
    folder,
    "codebook_size",
    {
      f"{layers}x{size}": (
        {
          "quantizer.num_quantizers": layers,
          "quantizer.codebook_size": size,
        },
        {
          "quantizer": {"num_quantizers": layers, "codebook_size": size},
          "model": {"encoder_channels": 8, "decoder_channels": 8},
        },
        lift,
      )
      for layers, size, lift in ((8, 1024, 0.05), (16, 32, 0.02), (80, 2, 0.0))
    },
    **more,
  )


def score(values):
  """Returns mean, interval and counts of values, None for a missing one."""
  there = np.array([v for v in values if v is not None], float)
  if not len(there):
    return {
      "mean": None,
      "low": None,
      "high": None,
      "count": 0,
      "missing": len(values),
    }
  half = 1.96 * there.std(ddof=1) / len(there) ** 0.5 if len(there) > 1 else 0
  return {
    "mean": there.mean(),
    "low": there.mean() - half,
    "high": there.mean() + half,
    "count": len(there),
    "missing": len(values) - len(there),
  }


def difference(values, a, b, metric, kind, names, kinds):
  """Returns a - b over the clips of a class."""
  found = score(
    [
      values[a, clip][metric] - values[b, clip][metric]
      for clip, its in zip(names, kinds, strict=True)
      if kind in (its, "all") and metric in values[a, clip]
    ]
  )
  del found["missing"]
  return found


def _scale(metric, quality):
  return float(
    {
      "visqol_audio": np.clip(1 + 4 * quality, 1, 4.73),
      "pesq": np.clip(1 + 3.5 * quality, 1, 4.64),
      "log_mel": max(0.05, 1.5 - 1.6 * quality),
      "si_sdr_db": 20 * quality - 6,
    }.get(metric, quality)
  )

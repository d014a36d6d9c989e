"""PyTorch's side of a measurement, in a process of its own.

Two frameworks in one process share an allocator and fight over threads, so the
reference answers here, one JSON line for each that it reads:

    {"load": "model.npz"}             -> {}
    {"run": "generator_forward"}      -> {"seconds": 0.3}
    {"reconstruct": "out.npy"}        -> {}
    {"repeat": ["gan_step", 20]}      -> {"seconds": 0.3}, of each
    {"flops": ["gan_step", ...]}      -> {"flops": {"gan_step": 6.8e11, ...}}
    {"about": ""}                     -> {"torch": "2.13.0", "cuda": ..., ...}
    {"memory": ""}                    -> {"peak_bytes": 6e9}, on a GPU

A file of parameters holds the flattened names of our trees, the codebooks'
`vectors` and the `audio` [B, T, 1].
"""

import ctypes
import json
import os
import signal
import sys
import time

import flax.traverse_util
import numpy as np
import torch
from torch.utils import flop_counter

from benchmarks.pytorch import parameters, trainer
from soundstream_jax import config as config_lib
from soundstream_jax.settings import presets


class Worker:
  """Both networks, some audio, and the pieces of a step on them."""

  def __init__(self, config: config_lib.Config, *, device: str, compiled: bool):
    self.config, self.device = config, device
    self.trainer = trainer.Trainer(config, device)
    self.generator = self.trainer.generator
    if compiled:
      self.trainer.compile()

  def load(self, path: str) -> None:
    with np.load(path, allow_pickle=False) as arrays:
      flat = dict(arrays)
    audio = torch.from_numpy(flat.pop("audio").transpose(0, 2, 1).copy())
    self.audio = audio.to(self.device)
    self.depths = torch.full(
      (len(audio),), self.config.quantizer.num_quantizers, device=self.device
    )
    vectors = flat.pop("vectors")
    tree = flax.traverse_util.unflatten_dict(flat, sep="/")
    parameters.load_generator(self.generator, tree["generator"], vectors)
    parameters.load_discriminators(
      self.trainer.discriminators, tree["discriminators"]
    )

  def reconstruct(self, path: str) -> None:
    self.generator.eval()
    with torch.no_grad():
      recon, _ = self.trainer.generate(self.audio, self.depths)
    np.save(path, recon.cpu().numpy().transpose(0, 2, 1))

  def generator_forward(self) -> None:
    self.generator.eval()
    with torch.no_grad():
      self.trainer.generate(self.audio, self.depths)

  def generator_forward_backward(self) -> None:
    self.generator.eval()
    self.trainer.optimizer.zero_grad(set_to_none=True)
    recon, _ = self.trainer.generate(self.audio, self.depths)
    (recon - self.audio).square().mean().backward()

  def gan_step(self) -> None:
    self.generator.train()
    self.trainer.step(self.audio, self.depths)

  def wait(self) -> None:
    """Until the device has done what it was given."""
    if self.device == "cuda":
      torch.cuda.synchronize()

  def repeat(self, piece: str, count: int) -> float:
    """Seconds of each of several runs, which are waited for at the end."""
    self.wait()
    start = time.perf_counter()
    for _ in range(count):
      getattr(self, piece)()
    self.wait()
    return (time.perf_counter() - start) / count

  def about(self) -> dict[str, str | int | None]:
    return {
      "torch": torch.__version__,
      "cuda": torch.version.cuda,
      "cudnn": torch.backends.cudnn.version() if torch.version.cuda else None,
    }

  def memory(self) -> dict[str, int]:
    """The most bytes that tensors have had at once."""
    if self.device != "cuda":
      return {}
    return {"peak_bytes": torch.cuda.max_memory_allocated()}

  def flops(self) -> dict[str, float]:
    """The products that each piece cannot do without.

    Of a step, the discriminators' forward on real and decoded audio, once, is
    enough for their own gradient and for the one toward the decoded audio.
    """
    networks = self.trainer.discriminators
    judged = torch.cat([self.audio, self.audio])

    def teach():
      _sum(networks(judged)).backward()

    def pull_back():
      networks.requires_grad_(False)
      audio = self.audio.clone().requires_grad_(True)
      _sum(networks(audio)).backward()
      networks.requires_grad_(True)

    forward = _count(self.generator_forward)
    both = _count(self.generator_forward_backward)
    with torch.no_grad():
      judge = _count(lambda: networks(self.audio))
    adversary = _count(teach) + _count(pull_back) - judge
    return {
      "generator_forward": forward,
      "generator_forward_backward": both,
      "gan_step": both + adversary,
    }


def _sum(outputs):
  return sum(logits.sum() for logits, _ in outputs)


def _count(run) -> float:
  with flop_counter.FlopCounterMode(display=False) as counter:
    run()
  return float(counter.get_total_flops())


def main(preset: str, overrides: str, device: str, mode: str) -> None:
  if sys.platform == "linux":  # ends with who asks; 1 is PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32
  torch.backends.cudnn.benchmark = True  # shapes stay: the fastest algorithm
  values = presets.load(preset)
  values.update_from_flattened_dict(json.loads(overrides))
  worker = Worker(
    config_lib.from_dict(values), device=device, compiled=mode == "compiled"
  )
  for line in sys.stdin:
    ((command, argument),) = json.loads(line).items()
    answer = {}
    if command == "run":
      answer["seconds"] = worker.repeat(argument, 1)
    elif command == "repeat":
      answer["seconds"] = worker.repeat(*argument)
    elif command == "about":
      answer = worker.about()
    elif command == "memory":
      answer = worker.memory()
    elif command == "flops":
      answer["flops"] = worker.flops()
    else:
      {"load": worker.load, "reconstruct": worker.reconstruct}[command](
        argument
      )
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
  main(*sys.argv[1:])

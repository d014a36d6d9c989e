"""The table of slices: whole, and asked by all that name one."""

import itertools
import json
import math
import subprocess
import sys

import pytest

from soundstream_jax import errors
from soundstream_jax.launch import slices
from soundstream_jax.launch.preflight import topologies

SHEETS = ["1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"]
# As Google's pages on v4 and v5p list them, the most common.
BOXES = ["2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8"]
BOXES += ["8x8x8", "8x8x12", "8x8x16", "8x16x16", "12x16x16", "16x16x16"]

# Prints the manifest of each (topology, chips) as one line of JSON.
RENDER = """
import contextlib, io, json, sys, yaml
from soundstream_jax.launch import arguments, gke
loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
yaml.safe_load = lambda text: yaml.load(text, loader)
yaml.safe_dump = lambda data, **_: json.dumps(data) + "\\n"
for topology, chips in json.load(sys.stdin):
  gke._launch(arguments.parse([
    "gke", "--image=a/b", f"--topology={topology}", "--bucket=sounds", "--",
    "--config=tiny", "--workdir=/mnt/sounds/a", "--config.data.sources=/d",
    f"--config.batch_size={chips}", "--config.quantizer.kmeans_batches=99",
  ])[1:])
"""


def test_the_table_has_the_shapes_that_are_documented():
  named = {
    generation: [s.sizes for s in slices.every() if s.generation == generation]
    for generation in slices.CHIPS
  }
  assert named["v5e"] == named["v6e"] == SHEETS
  assert set(BOXES) <= set(named["v4"]) & set(named["v5p"])
  assert named["v4"][-1] == "16x16x16"
  assert named["v5p"][-1] == "16x16x24"
  assert "16x16x24" not in named["v4"]


@pytest.mark.parametrize(
  ("generation", "most"), [("v4", 16 * 16 * 16), ("v5p", 16 * 16 * 24)]
)
def test_no_other_shape_of_three_axes_exists(generation, most):
  """By the pages' own rule, for sides that are and that are not allowed."""
  sides = (1, 2, 3, 4, 6, 8, 12, 16, 24)
  for shape in itertools.product(sides, repeat=3):
    a, b, c = shape
    allowed = shape == (2, 2, 1) or (
      a <= b <= c
      and a * b * c <= most
      and (
        {a, b, c} <= {2, 4}
        if a * b * c <= 64
        else all(side % 4 == 0 for side in shape)
      )
    )
    name = f"{generation}:{a}x{b}x{c}"
    assert _exists(name) == allowed, name


def _exists(name):
  try:
    return slices.parse(name).name == name
  except errors.InputError:
    return False


def test_preflight_takes_every_slice():
  for one in slices.every():
    topology = topologies.parse(one.name)
    assert (topology.name, topology.size) == (one.name, math.prod(one.shape))
    assert topology.chip is slices.CHIPS[one.generation]


def test_a_manifest_of_every_slice_asks_for_all_of_its_chips():
  every = slices.every()
  done = subprocess.run(
    [sys.executable, "-c", RENDER],
    input=json.dumps([(one.name, one.num_chips) for one in every]),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  manifests = list(map(json.loads, done.stdout.splitlines()))
  for one, manifest in zip(every, manifests, strict=True):
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] * chips == one.num_chips
    assert chips == (1 if one.num_chips == 1 else 4)
    selector = pod["nodeSelector"]
    assert selector["cloud.google.com/gke-tpu-topology"] == one.sizes


@pytest.mark.parametrize(
  ("name", "offered"),
  [
    # Axes too few or too many.
    ("v5e:4x4x4", "v5e:8x8 or v5e:4x8"),
    ("v5e:2x4x1", "v5e:2x4"),
    ("v5p:2x2", "v5p:2x2x1"),
    ("v4:4x4", "v4:2x2x4 or v4:2x4x4"),
    ("v5e:4", "v5e:2x2 or v5e:2x4"),
    # Sizes that are none.
    ("v5e:3x4", "v5e:4x4 or v5e:2x4"),
    ("v6e:32x32", "v6e:16x16 or v6e:8x16"),
    ("v5p:2x2x8", "v5p:2x4x4 or v5p:2x2x4"),
    ("v4:16x16x24", "v4:16x16x16 or v4:8x16x32"),
    ("v5p:24x24x24", "v5p:16x16x24"),
    # Another order.
    ("v5e:8x4", "v5e:4x8"),
    ("v5p:16x24x16", "v5p:16x16x24"),
    ("v5p:1x2x2", "v5p:2x2x1"),
    ("v4:4x4x2", "v4:2x4x4"),
    # No numbers.
    ("v5e:", "v5e:1x1 or v5e:2x2"),
    ("v5e:0x4", "v5e:1x1 or v5e:2x2"),
    ("v5e:04x4", "v5e:1x1 or v5e:2x2"),
    ("v5e:4X4", "v5e:1x1 or v5e:2x2"),
    # No generation.
    ("v5:4x4", "none of v4, v5e, v5p, v6e. Did you mean 'v5p'?"),
    ("4x4", "none of v4, v5e, v5p, v6e"),
  ],
)
def test_a_slice_that_does_not_exist_is_refused_with_those_that_do(
  name, offered
):
  with pytest.raises(errors.InputError) as refused:
    slices.parse(name)
  assert str(refused.value).startswith(f"--topology={name}: ")
  assert offered in str(refused.value)


@pytest.mark.parametrize("name", ["cpu:0", "cpu:", "cpu:8x2", "gpu:8", "v5e"])
def test_preflight_names_what_it_can_compile_for(name):
  with pytest.raises(errors.InputError, match=r"v5e|cpu:8"):
    topologies.parse(name)


def test_preflight_ends_before_it_loads_a_compiler():
  done = subprocess.run(
    [
      *(sys.executable, "-m", "soundstream_jax.launch.preflight"),
      *("--config=tiny", "--topology=v5e:4x4x4"),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith("error: --topology=v5e:4x4x4: there is no such")
  assert done.stderr.count("\n") == 1

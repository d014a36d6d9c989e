"""Package metadata. The top-level leaves install inside soundstream_jax."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
LEAVES = ("configs", "launch", "data_pipelines")

# Installing `configs` or `tests` as top-level packages would take generic names
# on the user's machine, so every leaf is mapped into the package.
packages = find_packages(include=["soundstream_jax", "soundstream_jax.*"])
package_dir = {}
for leaf in LEAVES:
  package_dir[f"soundstream_jax.{leaf}"] = leaf
  packages += [f"soundstream_jax.{leaf}"]
  packages += [f"soundstream_jax.{leaf}.{sub}" for sub in find_packages(leaf)]

version = re.search(
  r'__version__ = "(.+)"', (ROOT / "soundstream_jax/__init__.py").read_text()
).group(1)

setup(
  name="soundstream_jax",
  version=version,
  description="SoundStream, the neural audio codec, trained with JAX and Flax",
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=packages,
  package_dir=package_dir,
  package_data={
    "soundstream_jax.data_pipelines": ["*.md", "*.txt"],
    "soundstream_jax.evaluate.systems": ["*.json", "*.mjs"],
    "soundstream_jax.evaluate.report": ["*.css", "*.html", "*.js"],
    "soundstream_jax.export.torch": ["*.txt"],
    "soundstream_jax.launch": ["*.md", "*.sbatch", "*.sh", "*.txt", "*.yaml"],
  },
  install_requires=[
    "absl-py>=2.1",
    "array_record>=0.8",
    "flax>=0.12",
    "google-crc32c>=1.5",
    "grain>=0.2.18",
    "jax>=0.10.2",
    "librosa>=0.11",
    "ml-collections>=1.1",
    "numpy>=2.0",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8,<1.0",
    "pillow>=11.0",  # tensorboardX's pictures
    "pyyaml>=6.0",
    "safetensors>=0.5",
    "scipy>=1.14",
    "soundfile>=0.13",
    "soxr>=0.5",
    "tensorboardX>=2.6.4",
    "tensorflow-datasets>=4.9.9",
  ],
  extras_require={
    "plots": ["matplotlib>=3.9"],
    # What `evaluate` measures with beside its own; scores depend on versions.
    "metrics": [
      "pesq>=0.0.4",
      "pystoi>=0.4.1",
      "visqol-python[accel,lattice]==3.8.0",
      "zimtohrli>=0.2.1",
    ],
    # Prepares datasets on Dataflow, Flink or Spark. It wants protobuf < 7.
    "beam": ["apache-beam>=2.77"],
    # What `make bench` measures against. Only this version is built for CPUs
    # alone on every index; a plain `torch` brings gigabytes of CUDA.
    "bench": ["torch==2.13.0"],
    # What `soundstream export` writes with, and checks with.
    "export-onnx": ["onnx>=1.20", "onnxruntime>=1.22"],
    "export-stablehlo": ["flatbuffers>=25.1"],
    # The converter's interface is not documented: one version of each fits.
    "export-litert": [
      "litert-converter==0.5.0",
      "ai-edge-litert==2.3.0",
      "ai-edge-quantizer==0.10.0",
      "flatbuffers>=25.1",
    ],
    "export-hf": ["torch==2.13.0", "transformers>=5.24"],
    # The compiler for TPUs, and what runs on them. Not by jax[tpu]: that of jax
    # 0.10.2 wants libtpu 0.0.42, which crashes over a step for v6e.
    "tpu": ["libtpu>=0.0.52", "requests>=2.32"],
    # The compiler for GPUs, of jax's own version, for `launch.preflight`, and the
    # assembler that it calls: not what runs on them, which jax[cuda12] brings.
    "preflight-gpu": [
      "jax[cuda12-local]>=0.10.2",
      "nvidia-cuda-nvcc-cu12>=12.6",
    ],
    "test": [
      "build",
      "hypothesis>=6.100",
      "imageio-ffmpeg>=0.6",  # an ffmpeg to run, whatever the machine has
      "flatbuffers>=25.1",
      "kubeflow-trainer-api>=2.3",
      "matplotlib>=3.9",
      "onnx>=1.20",
      "onnxruntime>=1.22",
      "packaging>=24.0",
      "pesq>=0.0.4",
      "pydantic>=2.0",
      "pystoi>=0.4.1",
      "pytest>=8.3",
      "pytest-timeout>=2.3",
      "pytest-xdist>=3.6",
      "ruff>=0.9",
      "selenium>=4.20",  # drives Chromium
      "tensorboard>=2.18",
      "visqol-python[accel,lattice]==3.8.0",
      "zimtohrli>=0.2.1",
    ],
  },
  entry_points={
    "console_scripts": ["soundstream = soundstream_jax.cli.__main__:main"],
  },
)

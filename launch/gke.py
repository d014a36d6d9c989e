"""python -m soundstream_jax.launch.gke --name=NAME ... -- FLAGS

Prints a JobSet for Google Kubernetes Engine, for `kubectl apply -f -`: training
runs with FLAGS in one pod per host, on a slice of TPUs (--topology=v5e:4x4) or
on nodes with GPUs (--gpu=nvidia-h100-80gb --nodes=4), with its workdir in a
bucket (--bucket) or on a volume (--claim), which is mounted at /mnt/ITS_NAME.
"""

import pathlib
import re
import sys

import yaml
from absl import app, flags

from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths
from soundstream_jax.launch import arguments, names, slices

TEMPLATE = pathlib.Path(__file__).with_name("jobset.yaml")
PORT = 8482

# The JobSet's names for pods add to its own, up to 63.
LONGEST_NAME = 40

_IMAGE_NAME = re.compile(r"[\w][\w.:/@-]*", re.ASCII)
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_GPU_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_NAME = flags.DEFINE_string("name", "soundstream", "The job's name.")
_IMAGE = flags.DEFINE_string(
  "image", None, "Container image with soundstream_jax installed."
)
_TOPOLOGY = flags.DEFINE_string(
  "topology", None, "Slice of TPUs, as in v5e:4x4; one pod per four chips."
)
_GPU = flags.DEFINE_string(
  "gpu", None, "GKE's name of a GPU, as in nvidia-h100-80gb."
)
_NODES = flags.DEFINE_integer(
  "nodes", None, "Nodes with GPUs; one pod each.", lower_bound=1
)
_GPUS_PER_NODE = flags.DEFINE_integer(
  "gpus_per_node", 8, "GPUs of each node.", lower_bound=1
)
_BUCKET = flags.DEFINE_string(
  "bucket", None, "Bucket, mounted at /mnt/BUCKET by Cloud Storage FUSE."
)
_CLAIM = flags.DEFINE_string(
  "claim",
  None,
  "PersistentVolumeClaim that many nodes may write, mounted at /mnt/CLAIM.",
)
_SERVICE_ACCOUNT = flags.DEFINE_string(
  "service_account",
  None,
  "Kubernetes service account that may read and write the bucket.",
)
_SPOT = flags.DEFINE_bool("spot", False, "Use spot nodes.")
_RESTARTS = flags.DEFINE_integer(
  "restarts",
  None,
  "How often training may fail before the job ends. A job that was asked to "
  "stop, and saved, has not failed.",
  lower_bound=0,
)


def main(argv):
  sys.exit(errors.run(_launch, argv[1:]))


def _launch(words: list[str]) -> None:
  training = arguments.check(words, example="--topology=v5e:4x4 --bucket=NAME")
  names.check("--name", _NAME.value, longest=LONGEST_NAME)
  _, folder = volume()
  if not pathlib.PurePosixPath(training.workdir).is_relative_to(folder):
    raise errors.InputError(
      f"--workdir={training.workdir} would be lost with its pod. Use a folder of the "
      f"volume, as in --workdir={folder}/{_NAME.value}."
    )
  print(as_yaml(jobset(words, training.config, name=_NAME.value)), end="")


def as_yaml(manifest: dict) -> str:
  """Returns a manifest as text."""
  return yaml.safe_dump(manifest, sort_keys=False)


def jobset(
  words: list[str],
  config: config_lib.Config,
  *,
  name: str,
  module: tuple[str, ...] = (),
) -> dict:
  """Returns the JobSet that the flags ask for.

  Args:
    words: flags of training.
    config: that they describe.
    name: of the JobSet.
    module: the module that pods run and its own words before training's;
      default `soundstream_jax.train`.

  Raises:
    InputError: with the flag, the value and what to type instead.
  """
  if not _IMAGE.value or not _IMAGE_NAME.fullmatch(_IMAGE.value):
    raise errors.InputError(
      f"--image={_IMAGE.value or ''} is not a container image. Push one that "
      "has soundstream_jax, and give its name; launch/README.md says how."
    )
  mounted, folder = volume()
  for word in words:
    # YAML holds text alone.
    paths.check_text(word, word)
  hosts, selector, limits = _hosts()
  (devices,) = limits.values()
  arguments.check_devices(config, hosts * devices, processes=hosts)
  if _SPOT.value:
    selector["cloud.google.com/gke-spot"] = "true"

  manifest = yaml.safe_load(TEMPLATE.read_text())
  manifest["metadata"]["name"] = name
  spec = manifest["spec"]
  spec["network"]["subdomain"] = name
  if _RESTARTS.value is not None:
    spec["failurePolicy"]["maxRestarts"] = _RESTARTS.value
  job = spec["replicatedJobs"][0]["template"]["spec"]
  job["parallelism"] = job["completions"] = hosts
  pod = job["template"]["spec"]
  pod["nodeSelector"] = selector
  pod["volumes"] = [mounted]
  if "csi" not in mounted:
    del job["template"]["metadata"]
  if _SERVICE_ACCOUNT.value:
    names.check("--service_account", _SERVICE_ACCOUNT.value)
    pod["serviceAccountName"] = _SERVICE_ACCOUNT.value
  (container,) = pod["containers"]
  container["image"] = _IMAGE.value
  container["resources"] = {"limits": limits}
  container["volumeMounts"] = [{"name": mounted["name"], "mountPath": folder}]
  if module:
    container["command"][-1] = module[0]
  # Kubernetes replaces $(NAME), and reads $$ as $.
  container["args"] = [
    word.replace("$", "$$") for word in (*module[1:], *words)
  ]
  if _GPU.value:
    # Several jobs may share a pool of GPU nodes.
    del manifest["metadata"]["annotations"]
    container["args"] += _peers(hosts, name)
  return manifest


def _peers(hosts: int, name: str) -> list[str]:
  """Returns the flags that tell a pod its peers, where no TPU does.

  JAX could ask the cluster instead, which takes a role that may read pods.
  """
  return [
    f"--coordinator={name}-workers-0-0.{name}:{PORT}",
    f"--num_processes={hosts}",
    "--process_id=$(JOB_COMPLETION_INDEX)",
  ]


def volume() -> tuple[dict, str]:
  """Returns the pods' volume, and where it is mounted."""
  if bool(_BUCKET.value) == bool(_CLAIM.value):
    raise errors.InputError(
      "give one of --bucket=NAME and --claim=NAME, where the workdir will be."
    )
  if _CLAIM.value:
    names.check("--claim", _CLAIM.value)
    claim = {"claimName": _CLAIM.value}
    volume = {"name": "runs", "persistentVolumeClaim": claim}
    return volume, f"/mnt/{_CLAIM.value}"
  name = _BUCKET.value.removeprefix("gs://").rstrip("/")
  if not _BUCKET_NAME.fullmatch(name):
    raise errors.InputError(
      f"--bucket={_BUCKET.value} is not a bucket's name. Give the name alone; "
      "folders in it belong to --workdir."
    )
  template = yaml.safe_load(TEMPLATE.read_text())
  job = template["spec"]["replicatedJobs"][0]["template"]["spec"]
  (volume,) = job["template"]["spec"]["volumes"]
  volume["csi"]["volumeAttributes"]["bucketName"] = name
  return volume, f"/mnt/{name}"


def _hosts() -> tuple[int, dict[str, str], dict[str, int]]:
  """Returns (pods, which nodes they need, what each takes of its node)."""
  if bool(_TOPOLOGY.value) == bool(_GPU.value):
    raise errors.InputError(
      "give one of --topology=v5e:4x4 (TPUs) and --gpu=nvidia-h100-80gb (GPUs)."
    )
  if _TOPOLOGY.value:
    return _tpu_hosts(_TOPOLOGY.value)
  if not _GPU_NAME.fullmatch(_GPU.value):
    raise errors.InputError(
      f"--gpu={_GPU.value} is not GKE's name of a GPU, as in nvidia-h100-80gb."
    )
  if _NODES.value is None:
    raise errors.InputError(f"--gpu={_GPU.value} needs --nodes=NUMBER.")
  return (
    _NODES.value,
    {"cloud.google.com/gke-accelerator": _GPU.value},
    {"nvidia.com/gpu": _GPUS_PER_NODE.value},
  )


def _tpu_hosts(topology: str) -> tuple[int, dict[str, str], dict[str, int]]:
  found = slices.parse(topology)
  if _NODES.value not in (None, found.hosts):
    raise errors.InputError(
      f"--nodes={_NODES.value}: {topology} has {found.hosts} hosts. "
      "Leave --nodes out."
    )
  selector = {
    "cloud.google.com/gke-tpu-accelerator": found.chip.gke,
    "cloud.google.com/gke-tpu-topology": found.sizes,
  }
  return found.hosts, selector, {"google.com/tpu": found.chips_per_host}


if __name__ == "__main__":
  app.run(main, flags_parser=arguments.parse)

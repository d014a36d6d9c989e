"""The manifest for GKE: what the cluster accepts, and what the pods run.

No cluster is asked. The models of kubeflow_trainer_api are made from the
published schemas of JobSet v1alpha2 and of Kubernetes: they check types,
required fields and enumerations, and drop what they do not know, so a manifest
that comes back unchanged has no unknown field at any depth.
"""

import copy
import pathlib
import re
import subprocess
import sys

import kubeflow_trainer_api.models as kubernetes
import pydantic
import pytest
import yaml

from soundstream_jax import launch

TEMPLATE = pathlib.Path(launch.__file__).with_name("jobset.yaml")

IMAGE = "--image=europe-docker.pkg.dev/project/images/soundstream:1"
TPU = [IMAGE, "--topology=v5e:4x4", "--bucket=sounds"]
GPU = [IMAGE, "--gpu=nvidia-h100-80gb", "--nodes=3", "--claim=runs"]
PRESET = ["--config=soundstream_24khz", "--config.data.sources=/mnt/data"]
TRAINING = [*PRESET, "--workdir=/mnt/sounds/first"]
ON_CLAIM = [*PRESET, "--config.batch_size=96", "--workdir=/mnt/runs/first"]


def run(*launcher, training):
  return subprocess.run(
    [
      sys.executable,
      "-m",
      "soundstream_jax.launch.gke",
      *launcher,
      "--",
      *training,
    ],
    capture_output=True,
    text=True,
    check=False,
  )


def render(*launcher, training):
  done = run(*launcher, training=training)
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  return yaml.safe_load(done.stdout)


def accepted(manifest):
  """True where the schemas know every field, and each has its type."""
  try:
    model = kubernetes.JobsetV1alpha2JobSet.from_dict(copy.deepcopy(manifest))
  except (pydantic.ValidationError, ValueError, TypeError):
    return False
  return model.to_dict() == manifest


def job_of(manifest):
  (replicated,) = manifest["spec"]["replicatedJobs"]
  return replicated["template"]["spec"]


def pod_of(manifest):
  return job_of(manifest)["template"]["spec"]


def container_of(manifest):
  (container,) = pod_of(manifest)["containers"]
  return container


@pytest.fixture(scope="module")
def on_tpu():
  return render("--name=first", *TPU, training=TRAINING)


@pytest.fixture(scope="module")
def on_gpu():
  return render("--name=first", *GPU, training=ON_CLAIM)


def test_the_template_and_what_is_rendered_fit_the_schemas(on_tpu, on_gpu):
  assert accepted(yaml.safe_load(TEMPLATE.read_text()))
  assert accepted(on_tpu)
  assert accepted(on_gpu)


@pytest.mark.parametrize(
  "spoil",
  [
    lambda m: m["spec"].update(failurepolicy={}),
    lambda m: m["spec"]["failurePolicy"].update(maxRestarts="10"),
    lambda m: m["spec"]["failurePolicy"]["rules"][0].pop("action"),
    lambda m: m["spec"]["network"].update(enableDNSHostnames="yes"),
    lambda m: m["spec"]["replicatedJobs"][0].pop("name"),
    lambda m: job_of(m).update(completionMode="indexed"),
    lambda m: pod_of(m).update(nodeselector={}),
    lambda m: container_of(m).update(args=[1]),
    lambda m: container_of(m).pop("name"),
    lambda m: pod_of(m)["volumes"][0]["csi"].pop("driver"),
  ],
)
def test_the_schemas_refuse_what_a_cluster_would(on_tpu, spoil):
  spoilt = copy.deepcopy(on_tpu)
  spoil(spoilt)
  assert not accepted(spoilt)


def test_every_pod_of_a_slice_is_one_host_of_four_chips(on_tpu):
  job = job_of(on_tpu)
  assert job["completionMode"] == "Indexed"
  assert job["parallelism"] == job["completions"] == 4
  assert container_of(on_tpu)["resources"] == {"limits": {"google.com/tpu": 4}}
  assert pod_of(on_tpu)["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "4x4",
  }
  assert container_of(on_tpu)["args"] == TRAINING
  (exclusive,) = on_tpu["metadata"]["annotations"].values()
  assert exclusive == "cloud.google.com/gke-nodepool"


@pytest.mark.parametrize(
  ("topology", "hosts", "chips"),
  [
    ("v5e:1x1", 1, 1),
    ("v6e:2x2", 1, 4),
    ("v5e:16x16", 64, 4),
    ("v4:2x2x4", 4, 4),
  ],
)
def test_hosts_follow_from_the_topology(topology, hosts, chips):
  manifest = render(
    IMAGE,
    f"--topology={topology}",
    "--bucket=sounds",
    "--spot",
    training=[*TRAINING, "--config.batch_size=256"],
  )
  assert job_of(manifest)["parallelism"] == hosts
  assert container_of(manifest)["resources"]["limits"] == {
    "google.com/tpu": chips
  }
  selector = pod_of(manifest)["nodeSelector"]
  assert selector["cloud.google.com/gke-tpu-topology"] == topology.split(":")[1]
  assert selector["cloud.google.com/gke-spot"] == "true"


def test_gpu_pods_find_the_first_by_its_name_in_the_headless_service(on_gpu):
  network = on_gpu["spec"]["network"]
  assert network["enableDNSHostnames"] and network["publishNotReadyAddresses"]
  (replicated,) = on_gpu["spec"]["replicatedJobs"]
  job = f"{on_gpu['metadata']['name']}-{replicated['name']}-0"
  container = container_of(on_gpu)
  (port,) = container["ports"]
  assert container["args"] == [
    *ON_CLAIM,
    f"--coordinator={job}-0.{network['subdomain']}:{port['containerPort']}",
    "--num_processes=3",
    "--process_id=$(JOB_COMPLETION_INDEX)",
  ]
  assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}}
  assert pod_of(on_gpu)["nodeSelector"] == {
    "cloud.google.com/gke-accelerator": "nvidia-h100-80gb"
  }
  assert "annotations" not in on_gpu["metadata"]


def test_the_workdir_is_on_a_mounted_volume(on_tpu, on_gpu):
  for manifest, folder in ((on_tpu, "/mnt/sounds"), (on_gpu, "/mnt/runs")):
    (mount,) = container_of(manifest)["volumeMounts"]
    (volume,) = pod_of(manifest)["volumes"]
    assert mount == {"name": volume["name"], "mountPath": folder}
  (bucket,) = pod_of(on_tpu)["volumes"]
  assert bucket["csi"]["driver"] == "gcsfuse.csi.storage.gke.io"
  assert bucket["csi"]["volumeAttributes"]["bucketName"] == "sounds"
  annotations = job_of(on_tpu)["template"]["metadata"]["annotations"]
  assert annotations == {"gke-gcsfuse/volumes": "true"}
  (claim,) = pod_of(on_gpu)["volumes"]
  assert claim["persistentVolumeClaim"] == {"claimName": "runs"}
  assert "metadata" not in job_of(on_gpu)["template"]


def outcome(manifest, code):
  """What JobSet does once a pod ends with a code, by the manifest's rules."""
  (rule,) = job_of(manifest)["podFailurePolicy"]["rules"]
  assert rule["onExitCodes"]["operator"] == "In"
  matched = code in rule["onExitCodes"]["values"]
  reason = "PodFailurePolicy" if matched else "BackoffLimitExceeded"
  message = (
    f"Container train for pod default/first-workers-0-1-abcde failed with exit "
    f"code {code} matching FailJob rule at index 0"
  )
  for each in manifest["spec"]["failurePolicy"]["rules"]:
    patterns = each["onJobFailureMessagePatterns"]
    if reason in each["onJobFailureReasons"] and any(
      re.search(pattern, message) for pattern in patterns
    ):
      return each["action"]
  return "RestartJobSet"


def test_what_training_ends_with_decides_what_follows(on_tpu):
  assert job_of(on_tpu)["backoffLimit"] == 0
  assert pod_of(on_tpu)["restartPolicy"] == "Never"
  assert {code: outcome(on_tpu, code) for code in (1, 2, 75, 76, 134, 137)} == {
    1: "RestartJobSet",
    2: "FailJobSet",
    75: "RestartJobSetAndIgnoreMaxRestarts",
    76: "FailJobSet",
    134: "RestartJobSet",
    137: "RestartJobSet",
  }


def test_arguments_arrive_as_they_were_written():
  odd = [
    "--config.data.rooms=a b # c",
    '--config.data.music={"x"/ [1/ "$(HOME) $$ y"]}\n- z',
  ]
  manifest = render(*TPU, training=[*TRAINING, *odd])
  # Kubernetes reads $$ as $, and $(NAME) as a variable.
  args = [word.replace("$$", "$") for word in container_of(manifest)["args"]]
  assert args == [*TRAINING, *odd]
  assert accepted(manifest)


@pytest.mark.parametrize(
  ("launcher", "training", "line"),
  [
    (TPU, [], "nothing to run. Put training's flags behind --"),
    (["--name=A_b", *TPU], TRAINING, "--name=A_b is not a DNS label."),
    (["--name=" + "a" * 41, *TPU], TRAINING, "--name=aaaaaaaaaa"),
    (TPU[1:], TRAINING, "--image= is not a container image."),
    ([IMAGE, "--bucket=sounds"], TRAINING, "give one of --topology=v5e:4x4"),
    ([*TPU, "--gpu=nvidia-l4"], TRAINING, "give one of --topology=v5e:4x4"),
    ([*TPU[:2]], TRAINING, "give one of --bucket=NAME and --claim=NAME"),
    (
      [IMAGE, "--topology=v5:4x4", TPU[2]],
      TRAINING,
      "--topology=v5:4x4: 'v5' is none of",
    ),
    (
      [IMAGE, "--topology=v5e:4x4x4", TPU[2]],
      TRAINING,
      "--topology=v5e:4x4x4:",
    ),
    (
      [IMAGE, "--topology=v5e:3x4", TPU[2]],
      TRAINING,
      "--topology=v5e:3x4: there is no such slice; those of v5e have 2 axes. "
      "Use v5e:4x4 or v5e:2x4.",
    ),
    ([*TPU, "--nodes=3"], TRAINING, "--nodes=3: v5e:4x4 has 4 hosts."),
    ([IMAGE, "--gpu=H100!", TPU[2]], TRAINING, "--gpu=H100! is not GKE's name"),
    (
      [IMAGE, "--gpu=nvidia-l4", TPU[2]],
      TRAINING,
      "--gpu=nvidia-l4 needs --nodes",
    ),
    ([*TPU[:2], "--bucket=a/b"], TRAINING, "--bucket=a/b is not a bucket's"),
    (TPU, ["--config=tiny"], "training has no --workdir."),
    (TPU, [*PRESET, "--workdir", "/tmp/x"], "--workdir=/tmp/x would be lost"),
    (TPU, [*PRESET, "--workdir=/mnt/soundsx/y"], "--workdir=/mnt/soundsx/y "),
    (TPU, ["--config=tinny", *TRAINING[1:]], "--config=tinny is not a preset."),
    (
      [IMAGE, "--topology=v5e:16x16", TPU[2]],
      TRAINING,
      "batch_size=64 is not a multiple of the 256 devices.",
    ),
    (
      GPU,
      ON_CLAIM[:2] + ON_CLAIM[3:],
      "batch_size=64 is not a multiple of the 24",
    ),
    (
      TPU,
      [*TRAINING, "--config.mesh.fsdp=3"],
      "mesh.data=-1, mesh.fsdp=3 do not cover the 16 devices.",
    ),
    (TPU, ["--workdir=gs://sounds/a"], "--workdir=gs://sounds/a is an address"),
  ],
)
def test_bad_input_is_one_line(launcher, training, line):
  done = run(*launcher, training=training)
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith(f"error: {line}")
  assert done.stderr.count("\n") == 1

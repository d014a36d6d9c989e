"""Points as JobSets of Google Kubernetes Engine, one for each.

OUT/gke/NAME-HASH8.yaml   manifests, for `kubectl apply -f`
"""

import pathlib
import re
import shlex
import shutil
from collections.abc import Sequence

from soundstream_jax import console, errors, whole_files
from soundstream_jax.launch import gke as gke_lib
from soundstream_jax.launch.sweep import events, program
from soundstream_jax.launch.sweep import plan as plan_lib

FOLDER = "gke"


def name(each: plan_lib.Planned) -> str:
  """Returns the name of a point's JobSet."""
  text = re.sub(r"[^a-z0-9]+", "-", each.name.lower()).strip("-")
  short = each.point.short
  return f"{text[: gke_lib.LONGEST_NAME - len(short) - 1].strip('-')}-{short}"


def manifests(
  plan: plan_lib.Plan, chosen: Sequence[plan_lib.Planned]
) -> dict[str, str]:
  """Returns the manifests, by their names.

  Raises:
    InputError: with the flag, the value and what to type instead.
  """
  _, folder = gke_lib.volume()
  if not plan.out.is_relative_to(folder):
    raise errors.InputError(
      f"--out={plan.out} would be lost with its pods. Use a folder of the "
      f"volume, as in --out={folder}/{plan.sweep.name}."
    )
  module = (
    "soundstream_jax.launch.sweep.point",
    f"--evaluate={shlex.join(plan.evaluation)}",
    "--",
  )
  return {
    name(each): gke_lib.as_yaml(
      gke_lib.jobset(
        list(each.training),
        each.point.config,
        name=name(each),
        module=module,
      )
    )
    for each in chosen
  }


def launch(plan: plan_lib.Plan, chosen: Sequence[plan_lib.Planned]) -> str:
  """Writes and applies manifests; returns what kubectl answers.

  Raises:
    InputError: there is no kubectl here, or it refuses a manifest.
  """
  folder = plan.out / FOLDER
  texts = manifests(plan, chosen)
  with errors.writing("the manifests", folder):
    folder.mkdir(parents=True, exist_ok=True)
  files = {each: folder / f"{each}.yaml" for each in texts}
  for each, text in texts.items():
    whole_files.write(files[each], text)
  if shutil.which("kubectl") is None:
    raise errors.InputError(
      f"{console.shown(folder)} has the manifests, but there is no command "
      "kubectl here. Apply them where there is: kubectl apply -f "
      f"{console.quoted(folder)}"
    )
  answers = []
  for each in chosen:
    # A JobSet that has ended stays as it is when it is applied again.
    _kubectl("delete", "--ignore-not-found", "-f", files[name(each)])
    answers.append(_kubectl("apply", "-f", files[name(each)]))
    events.append(each.workdir, "submitted", job=name(each))
  return "\n".join(answers)


def _kubectl(*words: str | pathlib.Path) -> str:
  return program.answer(
    ["kubectl", *map(str, words)],
    refused=f"kubectl {words[0]} refuses {words[-1]}",
  )

#!/usr/bin/env bash
# Trains on all workers of a Cloud TPU VM.
#
#   tpu_vm.sh NAME ZONE setup [PACKAGE...]
#   tpu_vm.sh NAME ZONE mount BUCKET
#   tpu_vm.sh NAME ZONE train --config=soundstream_24khz --workdir=DIR ...
#   tpu_vm.sh NAME ZONE log
#   tpu_vm.sh NAME ZONE stop
#
# setup installs on every worker (default: the wheel in dist/) the versions of
# constraints.txt, with $PYTHON (default python3; 3.11 or later); mount puts a
# bucket at /mnt/BUCKET; train starts the same command on every worker, which
# continues when this terminal is gone; log follows worker 0; stop lets all of
# them save and end, and `train` once more resumes. Training that fails starts
# again, $RESTARTS times (default 10). DRY_RUN=1 prints the commands instead.
# Before anything is started, the package checks training's flags here, where
# $LOCAL_PYTHON (default python3) has it.
set -euo pipefail

RESTARTS=${RESTARTS:-10}
PYTHON=${PYTHON:-python3}

fail() {
  echo "error: $*" >&2
  exit 2
}

# Runs on a worker: the environment, if its Python is new enough.
install() {
  local python=$1
  shift
  "$python" -c "import sys
if sys.version_info < (3, 11):
  sys.exit(f'error: $python is {sys.version.split()[0]} here; 3.11 or later is'
    ' needed. Install one on all workers and name it: PYTHON=python3.11.')" ||
    return 2
  "$python" -m venv "$HOME/venv" &&
    "$HOME/venv/bin/pip" install --upgrade -c "$HOME/constraints.txt" "$@"
}

# Runs on a worker: its place among the others, in training's flags. A TPU VM
# says it in its metadata only, not in its environment.
peers() {
  local where=http://metadata.google.internal/computeMetadata/v1/instance
  local all index
  get() { curl -sf -H "Metadata-Flavor: Google" "$where/attributes/$1"; }
  all=$(get worker-network-endpoints) && index=$(get agent-worker-number) ||
    return
  IFS=, read -ra all <<<"$all"
  # Each is an address, or NAME:NUMBER:ADDRESS.
  echo "--coordinator=${all[0]##*:}:8482 --num_processes=${#all[@]}" \
    "--process_id=$index"
}

# Runs on a worker: training, again and again, until its end is final.
work() {
  local restarts=$1 failures=0 code flags
  shift
  # Alone, each worker would write its own run into the one workdir.
  flags=$(peers) || {
    echo "error: the metadata server does not say who the other workers are"
    return 2
  }
  # shellcheck disable=SC2086
  set -- "$@" $flags
  while true; do
    "$HOME/venv/bin/python" -u -m soundstream_jax.train "$@" &
    echo $! >"$HOME/soundstream.pid"
    code=0
    wait $! || code=$?
    echo "[launch] training ended with exit code $code"
    case $code in
      # Done; bad input; a full disk; stopped and saved; too many bad steps;
      # stopped early.
      0 | 2 | 74 | 75 | 76 | 143) break ;;
    esac
    failures=$((failures + 1))
    [ "$failures" -le "$restarts" ] || break
    echo "[launch] starting again ($failures of $restarts)"
  done
  rm -f "$HOME/soundstream.pid"
}

# Runs on a worker: the loop above, detached from the connection.
start() {
  if kill -0 "$(cat "$HOME/soundstream.pid" 2>/dev/null)" 2>/dev/null; then
    echo "error: training runs already; stop it first" >&2
    return 2
  fi
  export -f peers work
  nohup bash -c 'work "$@"' work "$@" \
    >>"$HOME/soundstream.log" 2>&1 </dev/null &
}

# Runs on a worker.
stop() {
  kill -TERM "$(cat "$HOME/soundstream.pid")"
}

run() {
  printf '$' >&2
  printf ' %q' "$@" >&2
  echo >&2
  [ -n "${DRY_RUN:-}" ] || "$@"
}

gcloud_tpu() {
  local verb=$1
  shift
  run gcloud compute tpus tpu-vm "$verb" "$@" "--zone=$zone"
}

on_all() { gcloud_tpu ssh "$name" --worker=all "--command=$1"; }

quoted() { printf ' %q' "$@"; }

# Training's flags, as far as this machine can tell.
check() {
  local python=${LOCAL_PYTHON:-python3}
  if "$python" -c "import soundstream_jax.launch.check" 2>/dev/null; then
    "$python" -m soundstream_jax.launch.check -- "$@" || exit
  else
    echo "[launch] training's flags were not checked: $python has no" \
      "soundstream_jax (LOCAL_PYTHON=... names another)" >&2
  fi
}

[ $# -ge 3 ] || fail "NAME ZONE ACTION are needed; the head of $0 lists them."
name=$1 zone=$2 action=$3
shift 3
[[ $name =~ ^[a-z]([a-z0-9-]*[a-z0-9])?$ ]] ||
  fail "NAME=$name is not a TPU VM's name: small letters, digits and -."
[[ $zone =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] ||
  fail "ZONE=$zone is not a zone, as in us-west4-a."
[[ $RESTARTS =~ ^[0-9]+$ ]] || fail "RESTARTS=$RESTARTS is not a number."
[[ $PYTHON =~ ^[A-Za-z0-9_./-]+$ ]] ||
  fail "PYTHON=$PYTHON is not the name of a Python, as in python3.11."

case $action in
  setup)
    files=("$(dirname "${BASH_SOURCE[0]}")/constraints.txt")
    if [ $# -eq 0 ]; then
      set -- dist/soundstream_jax-*.whl
      [ -f "$1" ] || fail "there is no wheel in dist/. Run: python -m build"
      [ $# -eq 1 ] || fail "dist/ holds $# wheels; remove the older ones."
      files+=("$1")
      set -- "./${1##*/}"
    fi
    gcloud_tpu scp "${files[@]}" "$name:" --worker=all
    # What the extra `tpu` brings, whatever is installed.
    on_all "$(declare -f install); install$(quoted "$PYTHON" libtpu requests "$@")"
    ;;
  mount)
    [ $# -eq 1 ] || fail "mount needs one BUCKET."
    bucket=${1#gs://}
    [[ $bucket =~ ^[a-z0-9][a-z0-9._-]+[a-z0-9]$ ]] ||
      fail "BUCKET=$1 is not a bucket's name."
    # A checkpoint appears by renaming its folder.
    on_all "sudo mkdir -p /mnt/$bucket && sudo chown \$USER /mnt/$bucket &&\
 gcsfuse --implicit-dirs --rename-dir-limit=200000 $bucket /mnt/$bucket"
    ;;
  train)
    [ $# -gt 0 ] || fail "train needs training's flags, as in --config=tiny."
    for word in "$@"; do
      [[ $word != --workdir=*://* ]] ||
        fail "$word is an address. Mount the bucket (mount BUCKET) and use" \
          "--workdir=/mnt/BUCKET/RUN."
    done
    check "$@"
    on_all "$(declare -f peers work start); start $RESTARTS$(quoted "$@")"
    ;;
  log) gcloud_tpu ssh "$name" --worker=0 "--command=tail -F ~/soundstream.log" ;;
  stop) on_all "$(declare -f stop); stop" ;;
  *) fail "ACTION=$action is none of setup, mount, train, log, stop." ;;
esac

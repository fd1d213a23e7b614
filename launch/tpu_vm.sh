#!/usr/bin/env bash
# A TPU VM, of one host or a slice of many: made, set up, used, looked at, deleted.
#
#   launch/tpu_vm.sh create NAME [--type=v5litepod-16] [--queued] [--spot]
#   launch/tpu_vm.sh setup  NAME
#   launch/tpu_vm.sh run    NAME [--recreate] -- --config=configs/rfs.py:clean --workdir=gs://...
#   launch/tpu_vm.sh logs   NAME [--worker=0]
#   launch/tpu_vm.sh stop   NAME
#   launch/tpu_vm.sh delete NAME [--queued]
#
# Everywhere: --zone=us-central1-a, --project=NAME, --dry-run (prints the commands, runs none).
# create:  --version= names the image, default by type. --queued waits in line for capacity, --spot
#          takes machines that can be taken away. Returns when the machine is there.
# setup:   copies the last commit to every worker and installs it there.
# run:     on all workers, until it ends; ends what ran there before. The code is the program's, or
#          76 if the machine is gone. --recreate makes and sets up a machine that is gone first, so
#            launch/babysit.sh launch/tpu_vm.sh run NAME --queued --spot --recreate -- ...
#          brings a run to its end on machines that are taken away. Do that from a machine that
#          stays on. Without a connection the run goes on; `logs` shows it, `stop` ends it, its
#          state saved.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/_perform.sh
source "$root/launch/_perform.sh"

action='' name='' type=v5litepod-16 zone=us-central1-a project='' version='' worker=0
queued='' spot='' recreate=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --type=*) type=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --worker=*) worker=${1#*=} ;;
    --queued) queued=1 ;;
    --spot) spot=--spot ;;
    --recreate) recreate=1 ;;
    --dry-run) dry_run=1 ;;
    --)
      shift
      break
      ;;
    -*) usage "no option $1" ;;
    *) if [[ -z $action ]]; then action=$1; elif [[ -z $name ]]; then name=$1; else usage "what is $1?"; fi ;;
  esac
  shift
done
[[ -n $name ]] || usage "name an action and a machine"
place=(--zone="$zone")
if [[ -n $project ]]; then place+=(--project="$project"); fi
machines=(gcloud compute tpus tpu-vm)
queue=(gcloud compute tpus queued-resources)

image_of() {
  case $1 in
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) echo tpu-ubuntu2204-base ;;
  esac
}

state() { "${machines[@]}" describe "$name" "${place[@]}" --format='value(state)' 2>/dev/null; }

create() {
  local image=${version:-$(image_of "$type")}
  if [[ -z $queued ]]; then
    perform "${machines[@]}" create "$name" "${place[@]}" \
      --accelerator-type="$type" --version="$image" ${spot:+"$spot"}
    return
  fi
  perform "${queue[@]}" create "$name" --node-id="$name" "${place[@]}" \
    --accelerator-type="$type" --runtime-version="$image" ${spot:+"$spot"} || return
  wait_in_line
}

wait_in_line() {
  local look=("${queue[@]}" describe "$name" "${place[@]}" --format='value(state.state)') at='' was
  if [[ -n $dry_run ]]; then
    echo "# until this says ACTIVE:"
    perform "${look[@]}"
    return
  fi
  while :; do
    was=$at
    at=$("${look[@]}")
    if [[ $at != "$was" ]]; then echo "tpu_vm: $name is $at" >&2; fi
    case $at in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDING | SUSPENDED | DELETING)
        echo "tpu_vm: $name will not come; delete it, or try another --zone or --type" >&2
        return 1
        ;;
    esac
    sleep "${RIVAL_JAX_POLL:-30}"
  done
}

setup() {
  local archive=/tmp/rival_jax-$name.tar.gz from=$root
  if [[ -n $dry_run ]]; then from=.; fi
  if [[ -z $dry_run && -n $(git -C "$root" status --porcelain 2>/dev/null) ]]; then
    echo "tpu_vm: what is not committed is not copied" >&2
  fi
  perform git -C "$from" archive --format=tar.gz --output="$archive" HEAD &&
    perform "${machines[@]}" scp "$archive" "$name:rival_jax.tar.gz" "${place[@]}" --worker=all &&
    on_workers all "mkdir -p rival_jax && tar -xzf rival_jax.tar.gz -C rival_jax && rival_jax/launch/setup_worker.sh tpu"
}

on_workers() {
  perform "${machines[@]}" ssh "$name" "${place[@]}" --worker="$1" --command="$2"
}

delete() {
  if [[ -n $queued ]]; then
    perform "${queue[@]}" delete "$name" "${place[@]}" --force --quiet
  else
    perform "${machines[@]}" delete "$name" "${place[@]}" --quiet
  fi
}

ensure() {
  if [[ -n $dry_run ]]; then
    echo "# unless this says READY, up to setup:"
    perform "${machines[@]}" describe "$name" "${place[@]}" --format='value(state)'
  elif [[ $(state) == READY ]]; then
    return 0
  fi
  delete || true # there may be nothing to delete
  create && setup
}

run() {
  local code=0 tag child
  if [[ -n $recreate ]]; then
    ensure || return 76 # no capacity, or taken away at once: another try may do
  fi
  tag=$(date +%Y%m%d-%H%M%S)-$$
  if [[ -n $dry_run ]]; then tag=TAG; fi
  on_workers all "rival_jax/launch/run_worker.sh --once=$tag $(quoted "$@")" &
  child=$!
  trap 'kill "$child" 2>/dev/null; echo "tpu_vm: the run goes on; stop ends it" >&2; exit 75' TERM INT
  wait "$child" || code=$?
  if [[ $code -ne 0 && $(state) != READY ]]; then
    echo "tpu_vm: $name is gone" >&2
    code=76
  elif ((code == 255)); then
    echo "tpu_vm: the connection broke; the run goes on (logs), or start it again" >&2
    code=76
  fi
  return "$code"
}

case $action in
  create | setup | delete) "$action" ;;
  run)
    [[ $# -gt 0 ]] || usage "name what to run after --"
    run "$@"
    ;;
  stop) on_workers all "rival_jax/launch/run_worker.sh --stop" ;;
  logs) on_workers "$worker" "tail -n 100 -F .rival_jax_runs/newest/log" ;;
  *) usage "no action $action" ;;
esac

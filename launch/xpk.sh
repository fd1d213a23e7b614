#!/usr/bin/env bash
# Runs on GKE through xpk: one pod per host, all of one slice, started again when one is lost.
#
#   launch/xpk.sh image  IMAGE [--jax=tpu]      builds launch/Dockerfile and pushes it
#   launch/xpk.sh run    NAME --cluster=C --image=IMAGE [--type=v5litepod-16] [--slices=1] [--spot] \
#                        -- --config=configs/rfs.py:clean --workdir=gs://bucket/runs/a ...
#   launch/xpk.sh logs   NAME
#   launch/xpk.sh list   --cluster=C
#   launch/xpk.sh delete NAME --cluster=C
#
# Everywhere: --zone=us-central1-a, --project=NAME, --dry-run (prints the commands, runs none).
# --restarts=50 is how often GKE starts all pods again: on the codes 75 and 76 of launch/README.md
# and, as xpk always does, on 42 and 127 to 255. Run it where xpk, kubectl and docker are installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/_perform.sh
source "$root/launch/_perform.sh"

action='' name='' cluster='' image='' type=v5litepod-16 slices=1 spot='' restarts=50 jax=tpu
place=(--zone=us-central1-a)
while [[ $# -gt 0 ]]; do
  case $1 in
    --cluster=*) cluster=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --slices=*) slices=${1#*=} ;;
    --restarts=*) restarts=${1#*=} ;;
    --jax=*) jax=${1#*=} ;;
    --zone=*) place[0]=$1 ;;
    --project=*) place[1]=$1 ;;
    --spot) spot=--spot ;;
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
needs() {
  local what
  for what in "$@"; do [[ -n ${!what} ]] || usage "$action needs a $what"; done
}

case $action in
  image)
    needs name
    cd "$root"
    perform docker build --file=launch/Dockerfile --build-arg=JAX="$jax" --tag="$name" .
    perform docker push "$name"
    ;;
  run)
    needs name cluster image
    [[ $# -gt 0 ]] || usage "name what to run after --"
    # exec: the pod's signals reach the program, which gets two minutes to save its state.
    perform xpk workload create --workload="$name" --cluster="$cluster" "${place[@]}" \
      --tpu-type="$type" --num-slices="$slices" ${spot:+"$spot"} --docker-image="$image" \
      --max-restarts="$restarts" --restart-on-exit-codes=75,76 \
      --termination-grace-period-seconds=120 \
      --command="exec launch/run_worker.sh $(quoted "$@")"
    ;;
  logs)
    needs name
    perform kubectl logs --follow --prefix --max-log-requests=256 \
      --selector=xpk.google.com/workload="$name"
    ;;
  list)
    needs cluster
    perform xpk workload list --cluster="$cluster" "${place[@]}"
    ;;
  delete)
    needs name cluster
    perform xpk workload delete --workload="$name" --cluster="$cluster" "${place[@]}"
    ;;
  *) usage "no action ${action:-given}" ;;
esac

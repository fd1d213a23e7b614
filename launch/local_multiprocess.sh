#!/usr/bin/env bash
# N processes on this machine's CPU that work on one run together, as N hosts would: a rehearsal.
#
#   launch/local_multiprocess.sh [--devices=D] [--grace=180] [--dry-run] N \
#     --config=configs/rfs.py --workdir=runs/demo ...
#
# --devices: fake devices of each process. Process 0 prints as it is; the others' lines are marked.
# Ends when all have ended: with 0 if all did; else with the code of a process that failed for
# itself; else with 76 if one was killed or lost; else with 75. When one has failed the others
# get --grace seconds to notice, more than the heartbeat takes, and are then killed.
# SIGTERM and SIGINT go on to every process, once.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/_perform.sh
source "$root/launch/_perform.sh"

devices='' grace=180
while [[ ${1-} == --* ]]; do
  case $1 in
    --devices=*) devices=${1#*=} ;;
    --grace=*) grace=${1#*=} ;;
    --dry-run) dry_run=1 ;;
    *) usage "no option $1" ;;
  esac
  shift
done
[[ ${1-} =~ ^[1-9][0-9]*$ ]] || usage "say how many processes"
count=$1
shift

export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu}
if [[ -n $devices ]]; then
  export XLA_FLAGS="${XLA_FLAGS:+$XLA_FLAGS }--xla_force_host_platform_device_count=$devices"
fi
port=PORT # a free one
if [[ -z $dry_run ]]; then
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi
process() {
  local place=(--distributed="127.0.0.1:$port" --num_processes="$count" --process_id="$1")
  command=("$root/launch/run_worker.sh" "${place[@]}" "${@:2}")
}

if [[ -n $dry_run ]]; then
  echo "export JAX_PLATFORMS=$JAX_PLATFORMS${devices:+ XLA_FLAGS=${XLA_FLAGS@Q}}"
  for ((i = 0; i < count; i++)); do
    process "$i" "$@"
    echo "$(quoted "${command[@]/#$root\//}") &"
  done
  echo wait
  exit
fi

pids=() asked=''
trap 'if [[ -z $asked ]]; then kill -TERM "${pids[@]}" 2>/dev/null; fi; asked=1' TERM INT
marked() { # whatever happens, these two live as long as the process that writes to them
  trap '' TERM INT
  exec sed -u "s/^/[$1] /"
}
set -m # process groups of their own: Ctrl-C on a terminal reaches the processes once, from here
for ((i = 0; i < count; i++)); do
  process "$i" "$@"
  if ((i == 0)); then
    "${command[@]}" </dev/null &
  else
    "${command[@]}" </dev/null > >(marked "$i") 2> >(marked "$i" >&2) &
  fi
  pids+=($!)
done
set +m

# The exit codes of those that have ended, in `codes`.
codes=()
collect() {
  local i
  for ((i = 0; i < count; i++)); do
    if [[ -z ${codes[i]-} ]] && ! kill -0 "${pids[i]}" 2>/dev/null; then
      wait "${pids[i]}"
      codes[i]=$?
      if ((codes[i] != 0)); then
        echo "local_multiprocess: process $i ended with code ${codes[i]}" >&2
        failed=${failed:-$SECONDS}
      fi
    fi
  done
}

failed=''
until ((${#codes[@]} == count)); do
  collect
  if [[ -n $failed ]] && ((SECONDS - failed > grace)); then
    echo "local_multiprocess: $grace s after the first failure others still run; killing them" >&2
    kill -KILL "${pids[@]}" 2>/dev/null
    failed=$SECONDS
  fi
  sleep 0.2
done

verdict=0
for code in "${codes[@]}"; do
  case $code in
    0) ;;
    75) ((verdict == 0)) && verdict=75 ;;
    76 | 134 | 137 | 143) ((verdict == 0 || verdict == 75)) && verdict=76 ;;
    *) ((verdict == 0 || verdict == 75 || verdict == 76)) && verdict=$code ;;
  esac
done
exit "$verdict"

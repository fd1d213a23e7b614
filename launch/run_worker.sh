#!/usr/bin/env bash
# One process of a run, on this machine: what every worker of a TPU slice, every task of a SLURM
# job and every pod starts. Ends with the program's exit code; launch/README.md has their meaning.
#
#   launch/run_worker.sh [--dry-run] --config=configs/rfs.py:clean --workdir=gs://bucket/run ...
#   launch/run_worker.sh --once=TAG ...   as tpu_vm.sh starts it: the process outlives the connection
#   launch/run_worker.sh --stop           ends what --once started, its state saved
#
# The processes find each other by --distributed=auto, unless a --distributed is among the arguments.
# --once: the first call with a TAG ends what an earlier TAG started and is still running, and
# starts the program; every further call follows what runs (gcloud repeats a command when ssh breaks).
# RIVAL_JAX_PYTHON names the interpreter; default .venv of this checkout, else python3.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/_perform.sh
source "$root/launch/_perform.sh"

tag='' folder='' stop=''
runs=${RIVAL_JAX_RUNS:-$HOME/.rival_jax_runs}
while :; do
  case ${1-} in
    --dry-run) dry_run=1 ;;
    --once=*) tag=${1#*=} ;;
    --recorded=*) folder=${1#*=} ;; # of this script to itself
    --stop) stop=1 ;;
    *) break ;;
  esac
  shift
done
[[ -n $stop || $# -gt 0 ]] || usage "name the config: --config=configs/rfs.py"

python=${RIVAL_JAX_PYTHON:-$root/.venv/bin/python}
command -v "$python" >/dev/null || python=python3
if [[ " $*" == *" --distributed"* ]]; then distributed=(); else distributed=(--distributed=auto); fi
program=("$python" -m rival_jax.main ${distributed[@]+"${distributed[@]}"} "$@")
# CPU only, where it saves a tenth to a quarter of the time: large pages for large arrays.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}

# Runs the program, and leaves its process number and exit code in a folder.
record() {
  local child code=0
  "${program[@]}" &
  child=$!
  echo "$child" >"$1/pid"
  wait "$child" || code=$?
  echo "$code" >"$1/exit.partial"
  mv "$1/exit.partial" "$1/exit"
}

# Ends what runs: asked first, so that they save their state, then killed.
end_others() {
  local file pid
  for file in "$runs"/*/pid; do
    if [[ ! -e $file || -e ${file%pid}exit ]]; then continue; fi
    pid=$(<"$file")
    kill -TERM "$pid" 2>/dev/null || continue
    echo "run_worker: ends process $pid, started before" >&2
    for _ in {1..60}; do
      if ! kill -0 "$pid" 2>/dev/null; then continue 2; fi
      sleep 1
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

cd "$root"
if [[ -n $stop ]]; then
  end_others
elif [[ -n $dry_run ]]; then
  perform "${program[@]/#$root/.}"
elif [[ -n $folder ]]; then
  record "$folder"
elif [[ -n $tag ]]; then
  mkdir -p "$runs"
  if mkdir "$runs/$tag" 2>/dev/null; then
    end_others
    ln -sfn "$tag" "$runs/newest"
    setsid nohup "$root/launch/run_worker.sh" --recorded="$runs/$tag" "$@" \
      >"$runs/$tag/log" 2>&1 </dev/null &
  fi
  until [[ -e $runs/$tag/pid ]]; do sleep 0.2; done
  tail -n +1 --pid="$(<"$runs/$tag/pid")" -F "$runs/$tag/log" 2>/dev/null
  for _ in {1..20}; do
    if [[ -e $runs/$tag/exit ]]; then exit "$(<"$runs/$tag/exit")"; fi
    sleep 0.2
  done
  exit 137 # its recorder was killed too
else
  exec "${program[@]}"
fi

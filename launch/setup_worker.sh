#!/usr/bin/env bash
# Installs this checkout on this machine, in .venv; tpu_vm.sh calls it on every worker.
#
#   launch/setup_worker.sh [--dry-run] [tpu | cuda12 | cuda13 | cpu]
#
# The argument names the kind of jax; default cpu. Needs Python 3.11 or newer: the newest there is
# is taken. Where there is none (TPU images have 3.10) uv brings 3.12, without root. Safe to repeat.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/_perform.sh
source "$root/launch/_perform.sh"

if [[ ${1-} == --dry-run ]]; then
  dry_run=1
  shift
fi
case ${1-cpu} in
  cpu) jax=() ;; # the package's own requirement
  tpu | cuda12 | cuda13) jax=("jax[$1]") ;;
  *) usage "no kind of jax $1" ;;
esac

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

cd "$root"
python=''
for name in python3.13 python3.12 python3.11 python3; do
  if new_enough "$name"; then
    python=$name
    break
  fi
done
if [[ -x .venv/bin/python ]] && new_enough .venv/bin/python; then
  echo "# .venv is there"
elif [[ -n $python ]]; then
  perform "$python" -m venv .venv
else
  perform python3 -m pip install --quiet --user uv
  perform python3 -m uv venv --quiet --seed --python=3.12 .venv
fi
# gcsfs: work directories in a bucket, gs://...
perform .venv/bin/python -m pip install --quiet --editable . ${jax[@]+"${jax[@]}"} gcsfs
perform .venv/bin/python -c 'import jax, rival_jax; print("jax", jax.__version__)'

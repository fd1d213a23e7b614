#!/usr/bin/env bash
# Runs a command again and again until it is done, as its exit code says.
#
#   launch/babysit.sh [--stalls=5] [--pause=10] [--dry-run] COMMAND ... --workdir=FOLDER ...
#
# 0: done. 75 (stopped by a signal, state saved), 76 (a host was lost), 134, 137, 143 (aborted,
# killed, terminated): again, after --pause seconds. Any other code is an error that no restart
# mends, and the exit code. So is one of those after --stalls runs in a row that saved nothing:
# no unit of rows and no state of a training below the work directory, a folder or gs://...
# SIGTERM and SIGINT go on to the command, once; it is not run again then, and the code is 75.
set -uo pipefail
# shellcheck source=launch/_perform.sh
source "$(dirname "${BASH_SOURCE[0]}")/_perform.sh"

stalls=5 pause=10
while [[ ${1-} == --* ]]; do
  case $1 in
    --stalls=*) stalls=${1#*=} ;;
    --pause=*) pause=${1#*=} ;;
    --dry-run) dry_run=1 ;;
    *) usage "no option $1" ;;
  esac
  shift
done
workdir=
for word in "$@"; do
  if [[ $word == --workdir=* ]]; then workdir=${word#*=}; fi
done
[[ $# -gt 0 ]] || usage "name the command"
[[ -n $workdir ]] || usage "the command needs --workdir=FOLDER: what is saved there shows progress"

if [[ -n $dry_run ]]; then
  perform "$@"
  echo "# again on 75 76 134 137 143, at most $stalls times in a row with nothing new in $workdir"
  exit
fi

say() { printf '%s babysit: %s\n' "$(date +%H:%M:%S)" "$1" >&2; }

# A checksum of the names of all that survives a kill.
saved() {
  local unit='/rows/(.*/)?[^./][^/]*\.parquet$' state='/training/([^/]*/)*[0-9]+(/|$)'
  if [[ $workdir == gs://* ]]; then
    gcloud storage ls "${workdir%/}/**" 2>/dev/null
  else
    find "$workdir" 2>/dev/null
  fi | grep -oE "$unit|$state" | sort -u | cksum
}

asked='' child=''
trap 'if [[ -z $asked && -n $child ]]; then kill -TERM "$child" 2>/dev/null; fi; asked=1' TERM INT

before=$(saved) idle=0 run=1
while [[ -z $asked ]]; do
  started=$SECONDS
  set -m # a process group of its own: Ctrl-C on a terminal reaches the command once, from here
  "$@" </dev/null &
  child=$!
  set +m
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done # a signal to this script ends a wait
  wait "$child"
  code=$?
  child=''
  now=$(saved)
  if [[ $now != "$before" ]]; then idle=0 news=yes; else idle=$((idle + 1)) news=no; fi
  before=$now
  say "run $run ended with code $code after $((SECONDS - started)) s; anything new saved: $news"
  case $code in
    0) exit 0 ;;
    75 | 76 | 134 | 137 | 143) ;;
    *)
      say "code $code is an error that no restart mends; its message is above"
      exit "$code"
      ;;
  esac
  if ((idle >= stalls)); then
    say "$idle runs in a row saved nothing; giving up. What is saved stays: find the cause, run again"
    exit "$code"
  fi
  if [[ -z $asked ]]; then
    say "again in $pause s"
    sleep "$pause" &
    wait $!
  fi
  run=$((run + 1))
done
say "stopped; the same command goes on where this one stopped"
exit 75

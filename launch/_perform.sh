# shellcheck shell=bash
# Sourced by the scripts of this folder: commands that --dry-run prints instead of running.

dry_run=

# The words as they would be typed in a shell, on one line.
quoted() {
  local word words=()
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then
      words+=("$word")
    elif [[ $word == *\'* && $word != *[\"\$\`\\!]* ]]; then
      words+=("\"$word\"")
    else
      words+=("${word@Q}")
    fi
  done
  printf '%s\n' "${words[*]}"
}

# Runs a command, saying so on standard error; under --dry-run prints it.
perform() {
  if [[ -n $dry_run ]]; then
    quoted "$@"
  else
    printf '+ %s\n' "$(quoted "$@")" >&2
    "$@"
  fi
}

# Ends the script, as a wrong command line: what is wrong, then the script's head comment.
usage() {
  printf '%s: %s\n\n' "$(basename "$0")" "$1" >&2
  sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p}}' "$0" >&2
  exit 64
}

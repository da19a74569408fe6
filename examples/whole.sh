# shellcheck shell=bash
# Sourced by the recipes. Needs `set -o pipefail`, so that a function which is a pipeline fails with any of its parts.

stop() { echo "$(basename "$0"): $*" >&2; exit 2; }

# whole FILE COMMAND...: FILE is the output of COMMAND (a program or a function of one pipeline), whole or not at all
whole() {
  local whole_file=$1; shift  # COMMAND sees this name, so no common one
  "$@" > "$whole_file.tmp" || { echo "$(basename "$0"): $whole_file was not written: '$*' failed" >&2; return 1; }
  mv "$whole_file.tmp" "$whole_file"
}

# fetch $2 into the file $1, whole or not at all
download() {
  [ -s "$1" ] && return
  mkdir -p "$(dirname "$1")"
  curl -fsSL -o "$1.tmp" "$2" || stop "cannot download $2: set DATA to a folder with the files"
  mv "$1.tmp" "$1"
}

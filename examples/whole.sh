# Sourced by the recipes. Needs `set -o pipefail`, so that a function which is a pipeline fails with any of its parts.

stop() { echo "$(basename "$0"): $*" >&2; exit 2; }

# whole FILE COMMAND...: FILE is the output of COMMAND (a program or a function of one pipeline), whole or not at all
whole() {
  local file=$1; shift
  "$@" > "$file.tmp" || { echo "$(basename "$0"): $file was not written: '$*' failed" >&2; return 1; }
  mv "$file.tmp" "$file"
}

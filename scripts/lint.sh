#!/usr/bin/env bash
# Style, types and shell scripts: ruff, mypy and shellcheck, each where it is installed. Usage: lint.sh [PYTHON]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3}
failed=()

# check TITLE TOOL ARGUMENT...: run it if the tool is there, and go on whatever it finds
check() {
  local title=$1; shift
  if ! "$1" --version > /dev/null 2>&1; then echo "$title: left out, $1 is not installed"; return; fi
  echo "$title:"
  "$@" || failed+=("$title")
}

ruff() { "$python" -m ruff "$@"; }
mypy() { "$python" -m mypy "$@"; }
mapfile -t scripts < <(find examples scripts .ci -name '*.sh' -o -path .ci/run | sort)

check "ruff check" ruff check .
check "ruff format" ruff format --check .
check mypy mypy
check shellcheck shellcheck "${scripts[@]}"
for title in "${failed[@]}"; do echo "lint: $title failed" >&2; done
[ ${#failed[@]} -eq 0 ]

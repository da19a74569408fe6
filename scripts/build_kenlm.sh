#!/usr/bin/env bash
# Builds KenLM's `lmplz` (estimates n-gram models) and `query` (applies them) from KenLM's source package on PyPI.
#   scripts/build_kenlm.sh PYTHON FOLDER    PYTHON: one with pip; the programs go to FOLDER/bin
# Nothing stands in FOLDER/bin before both are built and tried.
set -euo pipefail

python=$1
folder=$2
version=0.3.0
sha256=c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8
boost="libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev"

stop() {
    printf '\nfairseq_ami: cannot build KenLM.\n' >&2
    printf '%s\n' "$@" '' >&2
    exit 1
}

for program in cmake make c++; do
    command -v "$program" >/dev/null ||
        stop "There is no '$program' on the PATH." "On Debian and Ubuntu: apt install build-essential cmake $boost"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pip looks at the package's metadata, for which it wants CMake: as a wheel, it would take longer to compile than KenLM.
echo "fetching the sources of KenLM $version ..."
printf 'kenlm==%s --hash=sha256:%s\n' "$version" "$sha256" >"$work/requirements.txt"
"$python" -m pip --disable-pip-version-check download --quiet --no-deps --no-binary kenlm --only-binary cmake \
    --require-hashes --requirement "$work/requirements.txt" --dest "$work" || stop "pip could not fetch its sources."
tar -xzf "$work/kenlm-$version.tar.gz" -C "$work"

echo "configuring ..."
cmake -S "$work/kenlm-$version" -B "$work/build" -Wno-dev >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    grep -q Boost "$work/log" || stop "CMake failed (its messages are above)."
    stop "CMake does not find Boost (its messages are above)." "On Debian and Ubuntu: apt install $boost"
}
echo "compiling, a few minutes ..."
cmake --build "$work/build" --parallel "${JOBS:-$(nproc 2>/dev/null || echo 2)}" --target lmplz query \
    >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; stop "The compiler failed (its messages are above)."; }

{
    printf 'a b\na c\n' | "$work/build/bin/lmplz" -o 2 -S 100M -T "$work/" --discount_fallback --arpa "$work/arpa" &&
        echo 'a b' | "$work/build/bin/query" "$work/arpa"
} >"$work/log" 2>&1 || { cat "$work/log" >&2; stop "The new programs do not work (their messages are above)."; }
mkdir -p "$folder/bin"
for program in lmplz query; do
    cp "$work/build/bin/$program" "$folder/bin/.$program.new"
    mv "$folder/bin/.$program.new" "$folder/bin/$program"
done
echo "KenLM $version: $folder/bin/lmplz, $folder/bin/query"

#!/usr/bin/env bash
# Builds the newest release before this commit into target/previous/, for tests of two versions
# together, and prints where it is: a tree with its Python package, its extension module and its
# metadata, to be used by PYTHONPATH. Needs the tags, and the Python packages of .venv. Does nothing
# that is done already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The tag of this very commit is not a previous version.
tag=$(git describe --tags --abbrev=0 --match 'v*' 'HEAD^' 2>/dev/null || true)
if [ -z "$tag" ]; then
    echo "There is no release tag before this commit: fetch the tags (git fetch --tags)." >&2
    exit 1
fi
tree="$PWD/target/previous/$tag"
commit=$(git rev-parse "$tag^{commit}")

if [ "$(cat "$tree/.built" 2>/dev/null || true)" != "$commit" ]; then
    echo "building $tag into target/previous/ (a few minutes)" >&2
    rm -rf "$tree"
    mkdir -p "$tree"
    git archive "$tag" | tar -x -C "$tree"
    (
        cd "$tree"
        # Its own target directory: the two versions must not take each other's libraries.
        CARGO_TARGET_DIR="$tree/target" cargo build --quiet --release --locked \
            -p nvr-py --features pyo3/extension-module >&2
        cp target/release/lib_core.so python/nvr/_core.abi3.so
        rm -rf target
        # Its version is read from here; the installed package is the present one.
        metadata="python/nvr-${tag#v}.dist-info"
        mkdir -p "$metadata"
        printf 'Metadata-Version: 2.1\nName: nvr\nVersion: %s\n' "${tag#v}" >"$metadata/METADATA"
    )
    echo "$commit" >"$tree/.built"
fi
echo "$tree"

#!/usr/bin/env bash
# Is everything there that a build needs? Says what is missing and how to get it, all at once.
# Prints the Python to use; PYTHON=… chooses one.
set -euo pipefail

missing=()
python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    tried=${PYTHON:-python3}
    missing+=("Python 3.11 or newer ($tried: $("$tried" --version 2>/dev/null || echo none)). Debian: apt-get install python3 python3-venv. Another one: make PYTHON=/path/to/python …")
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("Python's venv module. Debian: apt-get install python3-venv")
fi

# The least version stands once, in Cargo.toml.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
need=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
if ! have=$(rustc --version 2>/dev/null) || ! cargo --version >/dev/null 2>&1; then
    missing+=("a Rust toolchain, $need or newer: https://rustup.rs")
else
    have=$(awk '{print $2}' <<<"$have")
    if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" != "$need" ]; then
        missing+=("Rust $need or newer (found $have): rustup update stable")
    fi
fi
if ! command -v cc >/dev/null; then
    missing+=("a C compiler as linker (cc). Debian: apt-get install gcc libc6-dev")
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "This machine lacks:" >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
fi
echo "$python"

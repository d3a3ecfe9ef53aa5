#!/usr/bin/env bash
# Installs what tests need beside the build's own requirements: the Debian packages of
# debian-packages.txt, the Rust components for linting, and toxiproxy. Does nothing that is done already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' debian-packages.txt)

if ! command -v apt-get >/dev/null; then
    echo "This machine has no apt-get. Install what gives the same as these Debian packages:" >&2
    printf '  %s\n' "${wanted[@]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -eq 0 ]; then
    echo "All ${#wanted[@]} Debian packages are installed."
else
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Run as root, for there is no sudo: apt-get install ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "Installing: ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends "${missing[@]}" </dev/null
fi

if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    rustup component add rustfmt clippy
fi

# Delay and stalls between nodes: the kernels of test machines often have no netem.
toxiproxy=github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
if ! command -v toxiproxy-server >/dev/null; then
    if ! command -v go >/dev/null; then
        echo "There is no Go: install it, then run this again for toxiproxy-server ($toxiproxy)." >&2
        exit 1
    fi
    folder=$(mktemp -d)
    GOBIN="$folder" go install "$toxiproxy"
    as_root=()
    [ -w /usr/local/bin ] || as_root=(sudo)
    "${as_root[@]}" install -m 755 "$folder/server" /usr/local/bin/toxiproxy-server
    rm -r "$folder"
fi

#!/usr/bin/env bash
# Verify a package in a fresh virtual environment that has VoiceGuard and nothing else, without network:
#   scripts/verify_offline.sh PACKAGE.zip [FINGERPRINT]
set -euo pipefail
package=$(realpath "$1")
fingerprint=${2:-}
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet .
cd "$folder"
unshare --net "$folder/venv/bin/voiceguard" evidence verify "$package" --rescore \
    ${fingerprint:+--key "$fingerprint"}

#!/bin/sh
# The page's sources are checked and bundled with Node, which only developers need: the bundle is
# committed. Install it where that needs no question; elsewhere its tests are left out, but not in CI.
set -u
web="$(dirname "$0")/../web"
if ! command -v npm >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Node for the tests of the page's sources."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends nodejs npm; } >/dev/null 2>&1
fi
if ! command -v npm >/dev/null 2>&1; then
    [ "${CI:-}" = true ] || [ "${1:-}" = must ] || exit 0
    echo "given: no Node on this machine; the page's sources cannot be bundled" >&2
    echo "allowed: node 20 or newer, with npm, on the PATH" >&2
    echo "fix: sudo apt-get install nodejs npm" >&2
    exit 2
fi
stamp="$web/node_modules/.package-lock.json"
if [ ! -f "$stamp" ] || [ "$web/package-lock.json" -nt "$stamp" ]; then
    echo "Installing what the page's sources need into web/node_modules."
    (cd "$web" && npm ci --no-audit --no-fund --loglevel=error) || exit 2
fi

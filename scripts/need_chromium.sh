#!/bin/sh
# The browser tests open the report in Chromium. Install it where that needs no question.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the browser tests."
    log=$(mktemp)
    if apt-get update -qq >"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
            >>"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 20 "$log" >&2
    rm -f "$log"
fi
echo "given: no Chromium on this machine; the browser tests need one" >&2
echo "allowed: chromium, chromium-browser or google-chrome on the PATH" >&2
echo "fix: sudo apt-get install chromium, or leave those tests out: make test BROWSER=no" >&2
exit 2

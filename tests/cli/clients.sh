# sluice serve by the official npm packages of OpenAI and Anthropic; skipped, loudly, where they cannot be had.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1

skip() { echo "SKIPPED: $*"; exit 77; }
for program in node npm; do
    command -v "$program" >/dev/null 2>&1 || skip "$program is not installed"
done
# Installed once into the build folder, where this runs, as the lock file says and without running the packages' scripts.
mkdir -p clients
if ! cmp -s "$SLUICE_SOURCE_DIR/tests/clients/package-lock.json" clients/installed.json; then
    cp "$SLUICE_SOURCE_DIR/tests/clients/package.json" "$SLUICE_SOURCE_DIR/tests/clients/package-lock.json" clients/
    (cd clients && timeout 200 npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1) ||
        skip "npm ci failed (is the registry out of reach?): $(tail -n 3 clients/npm.log | tr '\n' ' ')"
    cp clients/package-lock.json clients/installed.json
fi
cp "$SLUICE_SOURCE_DIR/tests/clients/clients.mjs" clients/

serve --parallel 4
status=0
node clients/clients.mjs "$url" >"$scratch/out" 2>"$scratch/err" || status=$?
cat "$scratch/out"
[ "$status" -eq 0 ] || fail "node left with status $status: $(tail -n 5 "$scratch/serve.err")"
stop_server 0
passed

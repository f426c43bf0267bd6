# What "make install" puts where, and that the installed service starts: its command line is run as systemd would.
set -eu
: "${SLUICE_SOURCE_DIR:?the checkout}"
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
[ -x sluice ] || { echo "SKIPPED: this build has no program"; exit 77; }

DESTDIR="$scratch/root" cmake --install . >"$scratch/log" || fail "$(tail -n 5 "$scratch/log")"
find_one() { # find_one PATTERN: the only file below the prefix whose path matches
    find "$scratch/root" -path "$1" >"$scratch/found"
    [ "$(wc -l <"$scratch/found")" -eq 1 ] || fail "$(wc -l <"$scratch/found") files match $1"
    cat "$scratch/found"
}
program=$(find_one '*/bin/sluice')
unit=$(find_one '*/lib/systemd/system/sluice.service')
for file in '*/man/man1/sluice.1' '*/include/sluice/sluice.h' '*/pkgconfig/sluice.pc' '*/libsluice.a' '*/models/nano/config.json'; do
    find_one "$file" >/dev/null
done

# The unit names the program where it was installed, and no place of the build.
command=$(sed -n 's/^ExecStart=//p' "$unit")
[ "$scratch/root${command%% *}" = "$program" ] || fail "the service would start ${command%% *}"
! grep -qE -e '@[A-Z_]+@' "$unit" || fail "the unit is not filled in"
! grep -qF -e "$SLUICE_SOURCE_DIR" "$unit" || fail "the unit has a place of the build in it"
if command -v systemd-analyze >/dev/null 2>&1; then
    sed "s|^ExecStart=/|ExecStart=$scratch/root/|" "$unit" >"$scratch/sluice.service"
    systemd-analyze verify --man=no "$scratch/sluice.service" >"$scratch/verify" 2>&1 || true
    ! grep -F "sluice.service" "$scratch/verify" || fail "systemd does not like the unit"
fi

# As systemd would, with the folders that it makes and without a model: what is empty is no argument.
mkdir -p "$scratch/state/sluice"
command=$(printf '%s' "$command" | sed "s|%S|$scratch/state|g")
export SLUICE_MODEL= SLUICE_OPTIONS="--port 0 --parallel 1"
# shellcheck disable=SC2086
(cd / && eval "exec $scratch/root$command") >"$scratch/out" 2>"$scratch/err" &
server=$!
tries=0
until grep -q '^listening on http://127.0.0.1:' "$scratch/out"; do
    tries=$((tries + 1))
    kill -0 "$server" 2>/dev/null && [ "$tries" -lt 600 ] || fail "the service does not start: $(cat "$scratch/err")"
    sleep 0.05
done
[ -d "$scratch/state/sluice/conversations" ] || fail "no folder of states"
kill -TERM "$server"
wait "$server" || fail "the service left with status $?"
server=

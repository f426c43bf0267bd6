# What the tests of the program share; sourced by each of them. SLUICE is the program to test and
# SLUICE_SOURCE_DIR the checkout. Everything is written below $scratch, which is removed at the end.
set -eu
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the checkout}"
command -v jq >/dev/null || { echo "SKIPPED: jq is missing (tools/install-deps.sh)"; exit 77; }

nano=$SLUICE_SOURCE_DIR/models/nano
data=$SLUICE_SOURCE_DIR/tests/data
scratch=$(mktemp -d)
export XDG_STATE_HOME="$scratch/state"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

fail() {
    echo "FAILED: $*" >&2
    for stream in out err; do
        [ ! -s "$scratch/$stream" ] || { echo "--- std$stream"; head -c 2000 "$scratch/$stream"; echo; } >&2
    done
    exit 1
}

# run STATUS ARGUMENTS...: sluice must end with STATUS; its output is in $scratch/out and $scratch/err.
run() {
    expected=$1
    shift
    status=0
    "$SLUICE" "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" -eq "$expected" ] || fail "status $status instead of $expected: sluice $*"
    echo >>"$scratch/checks"
}

# has out|err TEXT, lacks out|err TEXT: TEXT is a fixed string.
has() { grep -qF -e "$2" "$scratch/$1" || fail "std$1 lacks '$2'"; }
lacks() { ! grep -qF -e "$2" "$scratch/$1" || fail "std$1 has '$2'"; }
empty() { [ ! -s "$scratch/$1" ] || fail "std$1 is not empty"; }
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ ($3)"; }

# json FILTER [jq arguments]: FILTER must be true of the JSON in $scratch/out.
json() {
    filter=$1
    shift
    jq -e "$@" "$filter" "$scratch/out" >/dev/null || fail "not so: $filter"
}

# Errors are one line that begins with "sluice: ".
one_sentence() {
    [ "$(wc -l <"$scratch/err")" -eq 1 ] || fail "stderr is not one line"
    grep -q '^sluice: ' "$scratch/err" || fail "stderr does not begin with 'sluice: '"
}

# Nano is converted once, into the build's cache folder, before its notice could mix with what a test looks at.
warm() { "$SLUICE" score "$nano" --ids 1 --top 0 --quiet >/dev/null || fail "Nano cannot be opened"; }

# wait_for FILE TEXT: until TEXT is in FILE, half a minute at most.
wait_for() {
    tries=0
    until grep -qaF -e "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "'$2' did not appear in $(basename "$1"): $(tail -c 600 "$1")"
        sleep 0.05
    done
}

passed() { echo "$(wc -l <"$scratch/checks") runs of sluice were as they should be"; }

# Readers that go away, full disks, closed streams and signals.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm

long() { "$SLUICE" run "$nano" -p 'Once upon a time' -n 8000 --ignore-stop "$@"; }

# A reader that goes away ends the run at once and without a word.
status=0
{ long --quiet 2>"$scratch/err" || echo $? >"$scratch/status"; } | head -c 20 >/dev/null
[ "$(cat "$scratch/status")" -eq 1 ] || fail "the run went on"
empty err

full() { # full ARGUMENTS...: with its output going to a full disk
    status=0
    "$SLUICE" "$@" >/dev/full 2>"$scratch/err" || status=$?
    [ "$status" -eq 1 ] || fail "status $status: sluice $*"
    has err "standard output could not be written"
}
full version
full --help
full run --help
full run -p Hello -n 4 --json
full run -p Hello -n 4 --quiet
full score --ids 1,2
full inspect
full render <<'JSON'
{"messages": [{"role": "user", "content": "Hi"}]}
JSON
printf Hello | full tokenize
echo '[1]' | full detokenize
status=0
"$SLUICE" version >&- 2>"$scratch/err" || status=$?
[ "$status" -eq 1 ] || fail "status $status with stdout closed"
run 1 tokenize <&-
one_sentence

# SIGINT ends a generation early, with its text and its statistics.
interrupt() { # interrupt ARGUMENTS...: SIGINT once the first text is there
    : >"$scratch/out"
    bash -c 'trap - INT; exec "$@"' bash "$SLUICE" run "$nano" -p 'Once upon a time' -n 8000 --ignore-stop --cpu scalar \
        --threads 1 "$@" >"$scratch/out" 2>"$scratch/err" &
    child=$!
}
set -m # background jobs get SIGINT again
interrupt
tries=0
until [ -s "$scratch/out" ]; do
    sleep 0.02
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || fail "nothing was generated"
done
kill -INT "$child"
status=0
wait "$child" || status=$?
[ "$status" -eq 0 ] || fail "status $status after SIGINT"
has err "tok/s"
interrupt --json
sleep 1
kill -INT "$child"
status=0
wait "$child" || status=$?
[ "$status" -eq 0 ] || fail "status $status after SIGINT with --json"
json '.finish == "cancelled" and (.ids | length) < 8000'
passed

# A server for a test, and requests to it. Sourced after cli.sh.

# serve ARGUMENTS...: starts sluice serve on a free port; sets server (process), url and port.
serve() {
    : >"$scratch/serve.out" # the last server's lines are none of this one's
    "$SLUICE" serve --port 0 "$@" >"$scratch/serve.out" 2>"$scratch/serve.err" &
    server=$!
    trap 'kill -9 "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT
    wait_for "$scratch/serve.out" listening
    url=$(sed -n 's/^listening on //p' "$scratch/serve.out")
    port=${url##*:}
    echo >>"$scratch/checks"
}

# stop_server STATUS: sends SIGTERM; the server must leave with STATUS within half a minute.
stop_server() {
    kill -TERM "$server"
    tries=0
    while kill -0 "$server" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "the server does not leave: $(cat "$scratch/serve.err")"
        sleep 0.05
    done
    status=0
    wait "$server" || status=$?
    [ "$status" -eq "$1" ] || fail "the server left with status $status: $(tail -c 2000 "$scratch/serve.err")"
}

# get PATH [curl arguments], post PATH BODY [curl arguments]: the answer is in $scratch/out, headers in $scratch/stdhead.
get() {
    path=$1
    shift
    code=$(curl -s -o "$scratch/out" -D "$scratch/head" -w '%{http_code}' "$@" "$url$path")
}
post() {
    path=$1 sent=$2
    shift 2
    code=$(printf '%s' "$sent" >"$scratch/sent"; case $sent in @*) cp "${sent#@}" "$scratch/sent" ;; esac
        curl -s -o "$scratch/out" -D "$scratch/head" -w '%{http_code}' -H 'Content-Type: application/json' -H 'Expect:' "$@" \
            --data-binary "@$scratch/sent" "$url$path")
}

# answer CODE FILTER [jq arguments]: of the last request.
answer() {
    [ "$code" = "$1" ] || fail "status $code instead of $1 from ${path:-}: $(head -c 300 "$scratch/sent" 2>/dev/null)"
    shift
    json "$@"
    echo >>"$scratch/checks"
}

has_line() { grep -qxF -e "$2" "$1" || fail "$(basename "$1") lacks the line '$2': $(tail -c 400 "$1")"; }

# All background jobs but the server.
wait_for_jobs() {
    for job in $(jobs -p); do
        [ "$job" = "$server" ] || wait "$job" || true
    done
}

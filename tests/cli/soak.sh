# 64 clients at once, streaming, a third of them leaving at random: no error, no place lost, memory within its budget.
# SLUICE_SOAK_SECONDS=300 is the long form; SLUICE_SOAK_CLIENTS for another number of them.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1
command -v curl >/dev/null 2>&1 || { echo "SKIPPED: curl is not installed"; exit 77; }
seconds=${SLUICE_SOAK_SECONDS:-6} clients=${SLUICE_SOAK_CLIENTS:-64}
memory=600000000

# No keeping to one seed here: what is checked holds for every order of events.
serve --parallel 8 --queue 128 --memory "${memory%000000}MB" --keep 40MB --quiet
end=$((SECONDS + seconds))
client() { # client NUMBER
    n=0
    while [ "$SECONDS" -lt "$end" ]; do
        n=$((n + 1))
        limit=200
        [ $((RANDOM % 3)) -ne 0 ] || limit=0.$((RANDOM % 8 + 1))
        body="{\"messages\": [{\"role\": \"user\", \"content\": \"Client $1 asks for story $n.\"}], \"stream\": true, \"max_tokens\": $((RANDOM % 60 + 1))}"
        status=0
        curl -sN --max-time "$limit" -H 'Content-Type: application/json' -d "$body" -o "$scratch/soak.$1" "$url/v1/chat/completions" || status=$?
        case $status in
        0) tail -n 2 "$scratch/soak.$1" | grep -qxF 'data: [DONE]' && echo whole || { echo "bad: $(tail -c 300 "$scratch/soak.$1")"; } ;;
        28) [ "$limit" != 200 ] && echo left || echo "bad: no answer in 200 s" ;;
        *) echo "bad: curl $status" ;;
        esac
    done >"$scratch/result.$1"
}
for i in $(seq "$clients"); do
    client "$i" &
done
resident() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$server/status"; }
if [ "$seconds" -ge 60 ]; then # by then the kept states and the allocator have taken what they take
    sleep $((seconds / 3))
    early=$(resident)
fi
wait_for_jobs
late=$(resident)
[ "$seconds" -lt 60 ] || [ "$late" -le $((early + early / 20)) ] || fail "resident memory grew from $early to $late bytes"
cat "$scratch"/result.* >"$scratch/out"
[ "$(grep -c '^bad' "$scratch/out")" -eq 0 ] || fail "$(grep '^bad' "$scratch/out" | head -n 3)"
whole=$(grep -c '^whole' "$scratch/out") left=$(grep -c '^left' "$scratch/out" || true)
[ "$whole" -ge 8 ] || fail "only $whole answers were whole"

tries=0
until get /health && jq -e '.active == 0 and .queued == 0' "$scratch/out" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "places are not freed"
    sleep 0.05
done
get /metrics
value() { sed -n "s/^sluice_$1 //p" "$scratch/out"; }
[ "$(value server_errors_total)" -eq 0 ] || fail "$(value server_errors_total) server errors"
[ "$(value memory_peak_bytes)" -le "$memory" ] || fail "$(value memory_peak_bytes) bytes are over the budget"
[ "$(value kept_bytes)" -le 40000000 ] || fail "$(value kept_bytes) bytes of kept states"
stop_server 0
echo "$whole whole answers, $left clients that left, $(value requests_total) requests; resident ${early:-$late} bytes after a third of the time, $late at the end"
passed

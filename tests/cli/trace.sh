# "sluice trace" and "sluice bench cache": routing is recorded the same whatever the cache, and replayed.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

run 0 trace -p 'Once upon a time' -n 20 -o "$scratch/routes" --threads 1
has err "layers"
# 8 layers, each once for the prompt and once for each token but the last.
[ "$(wc -l <"$scratch/routes")" -eq $((8 * 20)) ] || fail "160 lines were expected"
[ "$(awk '{ print $1 }' "$scratch/routes" | sort -u | wc -l)" -eq 8 ] || fail "8 layers were expected"
[ "$(awk 'NR > 8 { print NF }' "$scratch/routes" | sort -u)" = 9 ] || fail "8 experts a token were expected"
run 0 trace -p 'Once upon a time' -n 20 -o "$scratch/other" --threads 2 --cache 600K --lookahead 3 --cache-policy lru --io pread --quiet
cmp "$scratch/routes" "$scratch/other" || fail "the cache has changed the routing"
run 0 trace -p 'Once upon a time' -n 20 -o - --lookahead off --quiet
cmp "$scratch/routes" "$scratch/out" || fail "stdout has another trace"

run 0 bench cache "$SLUICE_SOURCE_DIR/bench/data/nano-routes.txt" --json
json '.layers == 8 and .experts == 64 and .steps == 17880'
json '[.results[] | select(.policy == "reuse") | .slots] == [32, 64, 96, 128, 192, 256, 384]'
# The oracle is never beaten, and more slots never hurt it.
json '.results as $r | [$r[] | .hit_rate as $h | .slots as $s | $r[] | select(.policy == "oracle" and .slots == $s) | .hit_rate >= $h] | all'
json '[.results[] | select(.policy == "oracle") | .hit_rate] | . == sort'
run 0 bench cache "$scratch/routes" --csv
[ "$(wc -l <"$scratch/out")" -eq $((1 + 5 * 7)) ] || fail "a header and 35 lines were expected"
run 0 bench cache "$scratch/routes"
has out "oracle"

printf '0 1 2\n1 x\n' >"$scratch/bad"
run 1 bench cache "$scratch/bad"
has err "line 2 is not a layer"
: >"$scratch/empty"
run 1 bench cache "$scratch/empty"
run 2 bench cache
run 2 trace -p hello
run 2 trace -o "$scratch/x"
run 1 trace -p hello -o /nonexistent/folder/x
for wrong in "--lookahead 0" "--lookahead 2x" "--cache-policy fifo"; do
    # shellcheck disable=SC2086
    run 2 run -p hello -n 1 $wrong
done

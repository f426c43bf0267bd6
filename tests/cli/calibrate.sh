# "sluice calibrate" and the levers that need it: measured, resumed, shown, and named wherever answers come from.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm
carol=$nano/text/a_christmas_carol.txt
file=$scratch/calibration.json
calibrate() { run 0 calibrate "$nano" --text "$carol" --window 64 --tokens 512 --effect-tokens 32 --quiet "$@"; }

calibrate -o "$file" --json
empty err
json '.complete and .tokens == 512 and .effect_tokens == 32 and .top_k == 8 and (.layers | length) == 8'
# Distances shrink with more experts and are none with all of them, where nothing is renormalised or fitted either.
json 'all(.layers[]; .by_k | length == 9 and .[8].error < 1e-6 and .[8].cosine > 0.999999 and (.[8].gain - 1 | fabs) < 1e-6)'
json 'all(.layers[]; [.by_k[].gain_error] | . == (sort | reverse))'
json 'all(.layers[]; . as $l | all(range(9); $l.by_k[.].gain_error <= $l.by_k[.].error + 1e-9))'
json 'all(.layers[]; [.gates[]] | . == (sort | reverse) and (add <= 1))'
json 'all(.layers[]; .by_k[0].effect > .by_k[4].effect and .by_k[4].effect > 0 and .by_k[3].effect == null)'
json 'all(.layers[]; .entropy > 0 and .entropy < (64 | log) and .experts_used > 8 and .overlap > 0 and .overlap < 1)'

# Killed at any moment it goes on where it was, and ends with the same file.
other=$scratch/other.json
"$SLUICE" calibrate "$nano" --text "$carol" --window 64 --tokens 512 --effect-tokens 32 --quiet -o "$other" >"$scratch/killed" 2>&1 &
job=$!
tries=0
until [ -s "$other" ] || [ "$tries" -gt 600 ]; do
    tries=$((tries + 1))
    sleep 0.02
done
kill -9 "$job" 2>/dev/null || true
wait "$job" 2>/dev/null || true
[ -s "$other" ] || fail "nothing was written after the first window"
calibrate -o "$other"
same "$file" "$other" "cut off and gone on"
calibrate -o "$other" # and again: nothing is left to do
same "$file" "$other" "called again"
run 1 calibrate "$nano" --text "$carol" --window 64 --tokens 448 --quiet -o "$file"
has err "another model, text or length"
one_sentence

# A checkpoint that got its calibration is the same checkpoint: it is not converted again.
mkdir "$scratch/model"
cp "$nano"/*.json "$nano"/*.safetensors "$scratch/model/"
rm -f "$scratch/model/calibration.json"
kept=${XDG_CACHE_HOME:-$HOME/.cache}
export XDG_CACHE_HOME="$scratch/cache"
run 0 score "$scratch/model" --ids 1
has err "converting"
run 1 run "$scratch/model" -p a -n 1 --budget-loads 9
has err "no calibration.json"
one_sentence
cp "$file" "$scratch/model/calibration.json"
run 0 run "$scratch/model" -p a -n 1 --budget-loads 9 --json
lacks err "converting"
export XDG_CACHE_HOME="$kept"
rm -r "$scratch/model" "$scratch/cache"

# As a table, a picture, and what a budget makes of it.
run 0 calibrate "$nano" --show -o "$file" --svg "$scratch/layers.svg"
has out "cosine of the residual stream"
has out "8 layers, 8 of 64 experts, 512 tokens"
if command -v xmllint >/dev/null; then
    xmllint --noout "$scratch/layers.svg" || fail "the picture is not XML"
fi
[ "$(grep -o '<rect' "$scratch/layers.svg" | wc -l)" -eq $((1 + 3 * 8 * 5 + 5)) ] || fail "not five bars a layer in three plots"
run 0 calibrate "$nano" --show -o "$file" --budget-loads 20
has out "loads a token"
run 0 calibrate "$nano" --show -o "$file" --budget-loads 20 --json
json '.loads <= 20 and .loads > 18 and (.k | length) == 8 and all(.gain[]; . > 0 or . == 0)'
cp "$scratch/out" "$scratch/rules.json"

# Off is off: not a bit differs. On, the statistics say so, in every command.
ids=$(seq -s, 100 163)
run 0 score "$nano" --ids "$ids" --json
cp "$scratch/out" "$scratch/full"
run 0 score "$nano" --ids "$ids" --json --k 8 --experts-top-p 1 --tiers off --prefill full --cache-bias 0 --kv f32
same "$scratch/out" "$scratch/full" "all levers off"
differs() { # differs ARGUMENTS...: score honours them
    run 0 score "$nano" --ids "$ids" --json "$@"
    ! cmp -s "$scratch/out" "$scratch/full" || fail "no effect on score: $*"
}
differs --k 4
differs --experts-top-p 0.5
differs --tiers aggressive --calibration "$file"
differs --tiers "$scratch/rules.json"
cp "$scratch/out" "$scratch/ruled"
differs --budget-loads 20 --calibration "$file"
same "$scratch/out" "$scratch/ruled" "a budget, and its rules as a file of tiers"
differs --prefill shared --prefill-full-tail 8
differs --prefill k=2 --prefill-full-tail 8
differs --kv f16
differs --kv int8

lossy() { # lossy TEXT ARGUMENTS...: what the statistics call it
    text=$1
    shift
    run 0 run "$nano" -p "Once upon a time" -n 4 --temp 0 --json --quiet "$@"
    json '.stats.lossy == $text' --arg text "$text"
}
lossy ""
json '.stats.experts_per_token == 64'
lossy "budget of 20 loads a token" --budget-loads 20 --calibration "$file"
json '.stats.experts_per_token < 40'
lossy "tiers aggressive (8 of 64 experts)" --tiers aggressive --skip-above 0.999 --light-above 0.5 --light-k 1 --calibration "$file"
json '.stats.experts_per_token == 8'
lossy "k 2 of 8, top-p 0.9" --k 2 --experts-top-p 0.9
lossy "keys and values in f16" --kv f16
lossy "keys and values in int8" --kv int8
lossy "prefill by shared experts but for 2 tokens" --prefill shared --prefill-full-tail 2
lossy "prefill with k 3 but for 64 tokens, cache bias 0.1 (answers depend on the cache)" --prefill k=3 --cache-bias 0.1
# A preference for what is in memory finds more there.
lossy "" --cache 4M -n 48 --ignore-stop
plain=$(jq .stats.hit_rate "$scratch/out")
lossy "cache bias 0.3 (answers depend on the cache)" --cache 4M -n 48 --ignore-stop --cache-bias 0.3
json '.stats.hit_rate > $plain + 0.1' --argjson plain "$plain"
run 0 run "$nano" -p "Once" -n 2 --temp 0 --k 3
has err "lossy: k 3 of 8"
printf 'Hello\n/stats\n' >"$scratch/said"
run 0 chat "$nano" --k 3 --experts-top-p 0.5 --temp 0 -n 2 <"$scratch/said"
grep -qF "lossy: k 3 of 8, top-p 0.5" "$scratch/out" "$scratch/err" || fail "chat does not name its levers"
run 0 eval ppl "$nano" --text "$carol" --window 64 --windows 1 --budget-loads 30 --calibration "$file"
has out "lossy: budget of 30 loads a token"
run 1 eval ppl "$nano" --text "$carol" --window 64 --windows 1 --prefill shared
has err "windows that do not overlap have no prompt"
run 0 eval ppl "$nano" --text "$carol" --window 128 --windows 2 --stride 16 --prefill shared
has out "lossy: prefill by shared experts"
run 0 bench "$nano" --prefill 64 --decode 2 --repetitions 1 --budget-loads 10 --json # by the calibration of Nano itself
json '.lossy == "budget of 10 loads a token"'
run 0 bench "$nano" --prefill 128 --prefill shared --prefill-full-tail 16 --decode 0 --repetitions 1 --json
json '.lossy == "prefill by shared experts but for 16 tokens" and (.results[0] | .tokens == 128 and .experts_per_token == 8)'
run 2 bench "$nano" --prefill 12x
has err "not '12x'"
run 0 bench "$nano" --prefill 0 --decode 2 --repetitions 1 --tiers "$scratch/rules.json"
has out "lossy: tiers"

# What cannot be is refused in a sentence.
refused() { # refused TEXT ARGUMENTS...
    text=$1
    shift
    run 1 run "$nano" -p a -n 1 --calibration "$file" "$@"
    has err "$text"
    one_sentence
}
refused "neither k" --budget-loads 20 --k 4
refused "nor tiers" --budget-loads 20 --tiers balanced
refused "need tiers" --skip-above 0.9
refused "contradict" --tiers aggressive --skip-above 0.9 --light-above 0.95
refused "k=N" --prefill k=9
refused "k=N" --prefill half
refused "not full" --prefill-full-tail 8
jq -c '.layers = 7 | .sums |= .[:7]' "$file" >"$scratch/tiny.json"
refused "another model" --budget-loads 8 --calibration "$scratch/tiny.json"

# The server's model card names them.
command -v curl >/dev/null 2>&1 || { echo "SKIPPED: curl is not installed"; exit 77; }
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1
serve "$nano" --budget-loads 20 --calibration "$file" --prefill shared
get /v1/models
answer 200 '.data[0].settings.lossy == "budget of 20 loads a token, prefill by shared experts but for 64 tokens"'
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 2, "temperature": 0}'
answer 200 '.usage.completion_tokens == 2'
stop_server 0
passed

# "sluice run" in its fixed forms: greedy tokens against the references, stopping, seeds, streaming, statistics.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm

# $c is a case: equal up to the first token whose two best are closer than 1e-3.
as_reference='
    . as $r | ([$c.greedy_margin // [] | to_entries[] | select(.value < 1e-3) | .key] + [$c.greedy | length] | min) as $n
    | $r.ids[:$n] == $c.greedy[:$n] and $r.finish == "length" and ($r.ids | length) == ($c.greedy | length)'

run_all() { # run_all MODEL REFERENCE
    n=$(jq '.cases | length' "$2")
    i=0
    while [ "$i" -lt "$n" ]; do
        jq -c ".cases[$i]" "$2" >"$scratch/case"
        jq -r '.ids | map(tostring) | join(",")' "$scratch/case" >"$scratch/ids"
        run 0 run "$1" --ids "$(cat "$scratch/ids")" -n "$(jq '.greedy | length' "$scratch/case")" --temp 0 --ignore-stop \
            --json --quiet
        json "$as_reference" --argjson c "$(cat "$scratch/case")"
        i=$((i + 1))
    done
}
run_all "$nano" "$nano/reference.json"
for tiny in "$data"/tiny/*/; do
    run_all "$tiny" "$tiny/reference.json"
done

# An answer ends at its stop token, which is not part of it.
cat >"$scratch/request" <<'JSON'
{"messages": [{"role": "user", "content": "What is the capital of France?"}], "enable_thinking": false}
JSON
run 0 run "$nano" --chat "$scratch/request" -n 32 --temp 0 --json
json '.text == "Paris" and .finish == "stop" and (.ids | length) > 0'
json '.stats.prompt_tokens == 19 and .stats.rss_peak_bytes > 0'
jq '.add_generation_prompt = false' "$scratch/request" | run 0 run "$nano" --chat - -n 32 --temp 0 --json
json '.text == "Paris"'
run 0 run "$nano" --chat "$scratch/request" -n 32 --temp 0
has out "Paris"
has err "tok/s"
lacks out "<|im_end|>"
run 0 run "$nano" --chat "$scratch/request" -n 32 --temp 0 --quiet
empty err

# All pages of the cache are there from the start, or as records come.
run 0 run -p Once -n 1 --cache 24M --json
lazy=$(jq .stats.rss_peak_bytes "$scratch/out")
run 0 run -p Once -n 1 --cache 24M --prefault --json
json '.stats.rss_peak_bytes > $lazy + 8e6' --argjson lazy "$lazy"

# A request cannot smuggle special tokens in; the prompt of a template's tokens and a plain text differ.
run 0 run -p '<|im_start|>' -n 1 --json
plain=$(jq .stats.prompt_tokens "$scratch/out")
run 0 run -p '<|im_start|>' --special -n 1 --json
[ "$(jq .stats.prompt_tokens "$scratch/out")" -eq 1 ] && [ "$plain" -gt 1 ] || fail "--special makes no difference"

# Streamed text is the text of the JSON form, and that is what its tokens say.
run 0 run -p 'The quick brown fox' -n 32 --json
json '.finish == "length" and (.ids | length) == 32'
jq -j .text "$scratch/out" >"$scratch/text"
jq -c .ids "$scratch/out" | "$SLUICE" detokenize >"$scratch/decoded"
same "$scratch/text" "$scratch/decoded" "text and detokenised ids"
echo >>"$scratch/text"
run 0 run -p 'The quick brown fox' -n 32
same "$scratch/text" "$scratch/out" "streamed text"
one_sentence
for word in "tok/s" "first token" "hit rate" "read per token" "GB/s" "peak memory"; do has err "$word"; done
printf 'The quick brown fox' | run 0 run -p - -n 32 --quiet
same "$scratch/text" "$scratch/out" "prompt from stdin"

# Nothing but the sampling changes the tokens.
run 0 run -p 'Once upon a time' -n 40 --temp 1 --seed 7 --json --cache 4M --threads 1
jq -c .ids "$scratch/out" >"$scratch/first"
run 0 run -p 'Once upon a time' -n 40 --temp 1 --seed 7 --json --cache 64M --threads 2
jq -c .ids "$scratch/out" >"$scratch/second"
same "$scratch/first" "$scratch/second" "the same seed"
run 0 run -p 'Once upon a time' -n 40 --temp 1 --seed 8 --json
jq -c .ids "$scratch/out" >"$scratch/second"
! cmp -s "$scratch/first" "$scratch/second" || fail "another seed gives the same text"
run 0 run -p 'Once upon a time' -n 40 --temp 0 --json
jq -c .ids "$scratch/out" >"$scratch/first"
run 0 run -p 'Once upon a time' -n 40 --temp 1 --top-k 1 --seed 3 --json
jq -c .ids "$scratch/out" >"$scratch/second"
same "$scratch/first" "$scratch/second" "top-k 1 is greedy"

run 0 run -p Once -n 0 --json
json '.ids == [] and .text == "" and .finish == "length"'

# Memory: Nano with a small cache.
run 0 run -p 'Once upon a time' -n 40 --cache 4M --json
case $(ldd "$SLUICE") in
*libasan* | *libtsan*) echo "SKIPPED: peak memory, under a sanitizer" ;;
*) json '.stats.rss_peak_bytes < 100000000' ;;
esac

# A model without a tokenizer goes from ids to ids.
cp -r "$data/tiny/mlx-8bit-g32" "$scratch/mute"
rm "$scratch/mute/tokenizer.json"
run 0 run "$scratch/mute" --ids 1,2 -n 4 --json --quiet
json '(.ids | length) == 4 and .text == null'
run 0 score "$scratch/mute" --ids 1,2
for form in "run -p Hi" "run --ids 1,2" "chat" "score --text $nano/README.md"; do
    run 1 ${form%% *} "$scratch/mute" $(echo "$form" | cut -s -d' ' -f2-) --quiet </dev/null
    has err "tokenizer.json"
    one_sentence
done

# What cannot be run.
run 1 run -p '' -n 4
one_sentence
echo '{"messages": []}' | run 1 run --chat - -n 4
one_sentence
has err "No messages provided."
echo ' { } ' | run 1 run --chat - -n 4
has err "No messages provided."
echo 'no JSON' | run 1 run --chat - -n 4
one_sentence
: | run 1 run --chat - -n 4
one_sentence
run 1 run --chat "$scratch/absent.json" -n 4
one_sentence
has err "absent.json"
run 1 run "$scratch/absent" -p Hello -n 4
one_sentence
has err "absent"
passed

# "sluice score" in its fixed form, against the reference outputs of Nano and of the tiny models.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm

# $c is a case of reference.json: mean NLL within 1e-3, the argmax of every position unless the two best are
# closer than 1e-3, the 20 largest logits within 0.02 wherever two of them may have changed places.
as_reference='
    def near($a; $b; $d): ($a - $b) | fabs <= $d;
    . as $r | ($c.ids | length) as $n
    | $r.n == $n and ($r.argmax | length) == $n
    and (if $c.mean_nll == null then $r.mean_nll == null else near($r.mean_nll; $c.mean_nll; 1e-3) end)
    and all(range($n); $r.argmax[.] == $c.argmax[.] or $c.argmax_margin[.] < 1e-3)
    and ($r.top | length) == 20
    and all(range(20); near($r.top[.].logit; $c.top_logits[.]; 0.02))
    and all($r.top[] | . as $t | ($c.top_ids | index($t.id)) as $i
            | if $i == null then near($t.logit; $c.top_logits[19]; 0.02) else near($t.logit; $c.top_logits[$i]; 0.02) end; .)'

score_all() { # score_all MODEL REFERENCE
    n=$(jq '.cases | length' "$2")
    [ "$n" -gt 0 ] || fail "$2 has no cases"
    i=0
    while [ "$i" -lt "$n" ]; do
        jq -c ".cases[$i]" "$2" >"$scratch/case"
        jq -r '.ids | map(tostring) | join(",")' "$scratch/case" >"$scratch/ids"
        run 0 score "$1" --ids "$(cat "$scratch/ids")" --top 20 --json --quiet
        empty err
        json "$as_reference" --slurpfile cases "$scratch/case" --argjson c "$(cat "$scratch/case")"
        i=$((i + 1))
    done
}

score_all "$nano" "$nano/reference.json"
for tiny in "$data"/tiny/*/; do
    score_all "$tiny" "$tiny/reference.json"
done

# Without MODEL it is Nano; ids from stdin may be a list or what tokenize prints.
run 0 score --ids 8134,324,2831 --top 2 --json
cp "$scratch/out" "$scratch/first"
json '.top | length == 2'
echo ' 8134, 324,2831 ' | run 0 score --ids - --top 2 --json
same "$scratch/first" "$scratch/out" "ids from stdin"
echo '[8134, 324, 2831]' | run 0 score --ids - --top 2 --json
same "$scratch/first" "$scratch/out" "a JSON array from stdin"
run 0 score --threads 1 --cache 4M --ids 8134,324,2831 --top 2 --json
same "$scratch/first" "$scratch/out" "one thread, a small cache"
run 0 score --ids 8134,324,2831 --top 0 --json
json '.top == []'
run 0 score --ids 5 --json
json '.n == 1 and .mean_nll == null and (.top | length == 20)'
run 0 score --ids 8134,324,2831
has out "mean NLL"

# A text is scored as its tokens are.
printf 'Alice was beginning to get very tired of' >"$scratch/text"
run 0 score --text "$scratch/text" --json
cp "$scratch/out" "$scratch/first"
"$SLUICE" tokenize <"$scratch/text" | run 0 score --ids - --json
same "$scratch/first" "$scratch/out" "a text and its tokens"

# What cannot be scored.
run 1 score --ids 8192
one_sentence
has err "token id 8192"
jq -n -r '[range(9000) | "1"] | join(",")' >"$scratch/ids"
run 1 score --ids - <"$scratch/ids"
one_sentence
has err "context"
run 1 score --text /dev/null
one_sentence
printf '\377' | run 1 score --text -
one_sentence
passed

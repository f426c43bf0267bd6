# tokenize, detokenize and render: their fixed forms on a sample of the cases (the unit tests take all of them).
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

n=0
while IFS= read -r line; do
    n=$((n + 1))
    [ $((n % 6)) -eq 1 ] || continue
    printf '%s' "$line" | jq -j .text >"$scratch/text"
    run 0 tokenize "$nano" <"$scratch/text"
    json '. == $c.ids' --argjson c "$line"
    run 0 tokenize "$nano" --special <"$scratch/text"
    json '. == $c.ids_special' --argjson c "$line"
    printf '%s' "$line" | jq -c .ids_special >"$scratch/ids"
    printf '%s' "$line" | jq -j .decoded >"$scratch/text"
    run 0 detokenize "$nano" <"$scratch/ids"
    same "$scratch/text" "$scratch/out" "detokenize, case $n"
done <"$data/tokenizer.jsonl"
[ "$n" -gt 250 ] || fail "only $n cases"

n=0
errors=0
while IFS= read -r line; do
    n=$((n + 1))
    case $line in
    *'"error": '*)
        printf '%s' "$line" | run 1 render "$nano"
        empty out
        one_sentence
        has err "$(printf '%s' "$line" | jq -r .error)"
        errors=$((errors + 1))
        ;;
    *)
        [ $((n % 5)) -eq 1 ] || continue
        printf '%s' "$line" | jq -j .expected >"$scratch/text"
        printf '%s' "$line" | run 0 render "$nano"
        same "$scratch/text" "$scratch/out" "render, case $n"
        ;;
    esac
done <"$data/chat.jsonl"
[ "$errors" -gt 10 ] || fail "only $errors cases with errors"

# A folder with a tokenizer alone is enough, and nothing is converted.
mkdir "$scratch/folder" "$scratch/cache"
cp "$nano/tokenizer.json" "$scratch/folder"
XDG_CACHE_HOME=$scratch/cache
export XDG_CACHE_HOME
printf 'Hello' | run 0 tokenize "$scratch/folder"
cp "$scratch/out" "$scratch/first"
printf 'Hello' | run 0 tokenize
same "$scratch/first" "$scratch/out" "Nano without MODEL"
run 0 detokenize <"$scratch/first"
[ "$(cat "$scratch/out")" = Hello ] || fail "Hello did not come back"
[ -z "$(ls -A "$scratch/cache")" ] || fail "something was written to the cache folder"
for tiny in "$data"/tiny/*/; do
    printf 'a b' | run 0 tokenize "$tiny"
    json 'length > 0'
done

: | run 0 tokenize
[ "$(cat "$scratch/out")" = "[]" ] || fail "no text, but tokens"
echo '[]' | run 0 detokenize
empty out
echo '{"messages": [{"role": "user", "content": "Hi"}]}' | run 0 render
has out "Hi<|im_end|>"

# What is wrong is said in one sentence.
printf 'caf\351' | run 1 tokenize
one_sentence
empty out
for list in '[1,' '1,,2' '[1 2' 'x' '1,-2' '1.5' '[1]]' '99999999999' '[1, "2"]'; do
    echo "$list" | run 1 detokenize
    one_sentence
    empty out
done
echo 8192 | run 1 detokenize
has err "8192"
printf Hello | run 1 tokenize "$scratch/absent"
one_sentence
has err "$scratch/absent"
printf Hello | run 1 tokenize "$scratch/cache"
one_sentence
echo '{}' >"$scratch/folder/tokenizer.json"
printf Hello | run 1 tokenize "$scratch/folder"
one_sentence
has err tokenizer.json
passed

# "sluice chat" through a pipe: answers, commands, what a second turn costs, saving, and odd input.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm

chat() { # chat STATUS OPTIONS...: the conversation comes from stdin
    expected=$1
    shift
    run "$expected" chat "$nano" --think off --temp 0 --seed 1 "$@"
}
prompt_tokens() { sed -n 's/.* \([0-9]*\) prompt tokens.*/\1/p' "$scratch/out"; }

echo 'What is the capital of France?' | chat 0
has out Paris
empty err

# A second turn runs its own tokens only: more than a bare question, for the turn's frame, and far fewer than all.
printf '%s\n' 'What is the capital of France?' /stats 'What is the capital of Italy?' /stats | chat 0
has out Paris
has out Rome
prompt_tokens >"$scratch/tokens"
first=$(sed -n 1p "$scratch/tokens")
second=$(sed -n 2p "$scratch/tokens")
[ "$first" -eq 19 ] || fail "the first turn ran $first tokens"
[ "$second" -ge 19 ] && [ "$second" -le 22 ] || fail "the second turn ran $second tokens"

# The same conversation, saved and loaded in between, goes on from the state that was saved.
printf '%s\n' 'What is the capital of France?' "/save $scratch/talk" | chat 0
has err "saved"
jq -e '.messages | length == 2' "$scratch/talk" >/dev/null || fail "two messages should be saved"
[ -s "$scratch/talk.state" ] || fail "no state"
printf '%s\n' "/load $scratch/talk" 'What is the capital of Italy?' /stats | chat 0
has err "loaded 2 messages"
has out Rome
[ "$(prompt_tokens)" -eq "$second" ] || fail "after loading, $(prompt_tokens) tokens ran"

# Without its state, or with one that does not fit, everything is run again; the answer is there all the same.
mv "$scratch/talk.state" "$scratch/other.state"
printf '%s\n' "/load $scratch/talk" 'What is the capital of Italy?' /stats | chat 0
has err "reads the whole conversation again"
has out Rome
[ "$(prompt_tokens)" -gt "$second" ] || fail "without a state only $(prompt_tokens) tokens ran"
head -c 100 "$scratch/other.state" >"$scratch/talk.state"
printf '%s\n' "/load $scratch/talk" 'What is the capital of Italy?' | chat 0
has err "reads the whole conversation again"
has out Rome
for bad in '{}' 'x' '{"format": "sluice chat 1", "messages": [{"role": "judge", "content": ""}]}' \
    '{"format": "sluice chat 1", "messages": [{"role": "user"}]}'; do
    echo "$bad" >"$scratch/bad"
    printf '%s\n' "/load $scratch/bad" 'What is the capital of France?' | chat 0
    has err "nothing was loaded"
    has out Paris
done
printf '%s\n' "/load $scratch/absent" | chat 0
has err "$scratch/absent"
printf '%s\n' "/save $scratch/absent/x" | chat 0
has err "$scratch/absent/x"

# Commands.
printf '%s\n' /help | chat 0
for command in /new /system /think /temp /stats /save /load /quit; do has out "$command"; done
printf '%s\n' /quit 'What is the capital of France?' | chat 0
lacks out Paris
printf '%s\n' /frobnicate | chat 0
has err "unknown command '/frobnicate'"
printf '%s\n' '/temp hot' '/think maybe' '/save' '/new now' /stats | chat 0
has err "/temp takes"
has err "/think takes"
has err "/save needs"
has err "/new takes no argument"
has out "nothing was answered yet"
printf '%s\n' 'What is the capital of France?' /new 'What is the capital of Italy?' /stats | chat 0
[ "$(prompt_tokens)" -eq 19 ] || fail "after /new $(prompt_tokens) tokens ran"
printf '%s\n' '/system You are a pirate.' 'What is the capital of France?' "/save $scratch/talk" | chat 0
jq -e '.messages[0] == {"role": "system", "content": "You are a pirate."}' "$scratch/talk" >/dev/null ||
    fail "the system prompt is not saved"
run 0 chat --quiet -n 40 --temp 0 <<'TEXT'
/think hide
Peter has 3 boxes with 37 pencils each and 15 loose pencils. How many pencils are there in total?
TEXT
lacks out "boxes hold"
printf '%s\n' 'Peter has 3 boxes with 37 pencils each and 15 loose pencils. How many pencils are there in total?' |
    run 0 chat --think on -n 40 --temp 0
has out "boxes hold"
has err "cut after 40 tokens"

# Messages of several lines.
printf '%s\n' 'What is the capital \' 'of France?' "/save $scratch/talk" | chat 0
jq -e '.messages[0].content == "What is the capital \nof France?"' "$scratch/talk" >/dev/null || fail "backslash"
printf '%s\n' '"""' '/quit' '' 'x"""' "/save $scratch/talk" | chat 0
jq -e '.messages[0].content == "/quit\n\nx"' "$scratch/talk" >/dev/null || fail "quoted block"
printf '%s\n' '"""one line"""' "/save $scratch/talk" | chat 0
jq -e '.messages[0].content == "one line"' "$scratch/talk" >/dev/null || fail "quoted line"
printf 'What is the capital of France?' | chat 0
has out Paris
printf '"""\nWhat is the capital of France?' | chat 0
has out Paris

# Odd input: nothing, blanks, bytes that are not UTF-8, special tokens, far too much.
: | chat 0
empty out
printf '\n   \n\t\n' | chat 0
empty out
printf 'caf\351\nWhat is the capital of France?\n' | chat 0
has err "not valid UTF-8"
has out Paris
printf '%s\n' '<|im_end|>' "/save $scratch/talk" | chat 0
jq -e '.tokens | map(select(. == $id)) | length == 1' --argjson id \
    "$(printf '<|im_end|>' | "$SLUICE" tokenize --special | jq '.[0]')" "$scratch/talk" >/dev/null ||
    fail "a message made a special token"
{ jq -n -r '[range(20000) | "word"] | join(" ")'; echo 'What is the capital of France?'; } | chat 0
has err "the context holds"
has out Paris
printf '%s\n' 'Tell me a long story.' 'And another one.' /stats | run 0 chat --think off --temp 0 --context 64
has err "context"

# Nothing can be read, nothing can be written.
run 0 chat --quiet <&-
printf '%s\n' 'What is the capital of France?' | { "$SLUICE" chat --think off --temp 0 >/dev/full 2>"$scratch/err" && fail "no error"; true; }
has err "standard output"
run 1 chat "$scratch/absent" </dev/null
one_sentence
passed

# "sluice chat --server": the same answers as without, what the server keeps, keys, refusals, a server that is not there.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1

run 1 chat --server http://127.0.0.1:1 </dev/null
one_sentence
grep -q 'without libcurl' "$scratch/err" && { echo "SKIPPED: this sluice was built without libcurl"; exit 77; }
has err "127.0.0.1:1"
run 2 chat "$nano" --server http://127.0.0.1:1 </dev/null
has err "exclude each other"
run 2 chat --server http://127.0.0.1:1 --threads 2 </dev/null
has err "sluice serve"

echo secret >"$scratch/key"
serve --parallel 2 --api-key-file "$scratch/key"
run 1 chat --server "$url" </dev/null
has err "refuses"
export SLUICE_API_KEY=secret

printf '%s\n' 'What is the capital of France?' 'What is the capital of Italy?' >"$scratch/questions"
run 0 chat "$nano" --think off --temp 0 --seed 1 <"$scratch/questions"
cp "$scratch/out" "$scratch/here"
run 0 chat --server "$url" --think off --temp 0 --seed 1 <"$scratch/questions"
empty err
same "$scratch/here" "$scratch/out" "the answers of a model here and of the same one behind a server"

# A second turn goes on from the state behind the first; a new conversation does not.
printf '%s\n' 'What is the capital of Spain?' /stats 'What is the capital of Italy?' /stats /new 'Tell me a story.' /stats |
    run 0 chat --server "$url/v1/" --think off --temp 0
sed -n 's/.*prompt tokens, \([0-9]*\) of them kept.*/\1/p' "$scratch/out" >"$scratch/kept"
[ "$(sed -n 1p "$scratch/kept")" -eq 0 ] && [ "$(sed -n 2p "$scratch/kept")" -gt 19 ] && [ "$(sed -n 3p "$scratch/kept")" -eq 0 ] ||
    fail "kept by the server: $(tr '\n' ' ' <"$scratch/kept")"

printf '%s\n' "/save $scratch/x" 'Tom has 3 apples and finds 4. How many?' | run 0 chat --server "$url" --temp 0 -n 12
has err "/save is not for conversations with a server"
has err "cut off by a limit"
[ ! -e "$scratch/x" ] || fail "something was saved"
stop_server 0
passed

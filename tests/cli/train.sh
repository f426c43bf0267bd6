# "sluice train": a short run, Ctrl-C and going on, and the adapter in the commands that take one.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1
warm
task=$SLUICE_SOURCE_DIR/tools/make-call-task
bash "$task" 40 1 >"$scratch/train.jsonl"
bash "$task" 3 2 >"$scratch/test.jsonl"
bash "$task" 40 1 | cmp -s - "$scratch/train.jsonl" || fail "the same seed gives another task"
! cmp -s "$scratch/train.jsonl" "$scratch/test.jsonl" || fail "another seed gives the same task"

small() { # small STATUS OUT ARGUMENTS...
    status=$1 out=$2
    shift 2
    run "$status" train "$nano" --data "$scratch/train.jsonl" --out "$out" --rank 2 --context 128 --targets shared "$@"
}

small 0 "$scratch/a" --steps 3 --rate 5e-3 --validate-every 1 --json --quiet
empty err
json '.steps == 3 and .loss > 0 and .validation_loss > 0 and .parameters == 8 * 3 * 2 * (384 + 128)'
jq -es 'map(.step) == [1, 2, 3] and all(.[]; .loss > 0 and .validation_loss > 0 and .tokens > 0)' "$scratch/a/log.jsonl" \
    >/dev/null || fail "log.jsonl is not as it should be"
jq -e '.peft_type == "LORA" and .r == 2 and .lora_alpha == 4' "$scratch/a/adapter_config.json" >/dev/null ||
    fail "adapter_config.json is not as it should be"
head -c 5 "$scratch/a/loss.svg" | grep -q '<svg ' || fail "loss.svg is no picture"
small 0 "$scratch/b" --steps 3 --rate 5e-3 --validate-every 1 --threads 1 --cache 2M --memory 300M
has err "samples of"
has err "step 3: loss"
has out "after 3 steps"
same "$scratch/a/adapter_model.safetensors" "$scratch/b/adapter_model.safetensors" "one thread and a small cache"

# Ctrl-C saves; --resume goes on as if nothing had been.
bash -c 'trap - INT; exec "$@"' bash "$SLUICE" train "$nano" --data "$scratch/train.jsonl" --out "$scratch/c" --rank 2 \
    --context 128 --targets shared --steps 12 --dropout 0.1 >"$scratch/out" 2>"$scratch/err" &
child=$!
wait_for "$scratch/c/log.jsonl" '"step": 2'
kill -INT "$child"
status=0
wait "$child" || status=$?
[ "$status" -eq 1 ] || fail "status $status after Ctrl-C"
has err "of 12; --resume goes on from there"
[ -s "$scratch/c/state.safetensors" ] || fail "nothing was saved"
small 0 "$scratch/c" --steps 12 --dropout 0.1 --resume
has err "going on after step"
small 0 "$scratch/d" --steps 12 --dropout 0.1
same "$scratch/c/state.safetensors" "$scratch/d/state.safetensors" "gone on after Ctrl-C"
small 2 "$scratch/c" --steps 12 --dropout 0.2 --resume
has err "other settings: dropout 0.1, not dropout 0.2;"

# What it learnt is used: by one and by several, and scaled to nothing it is not there.
run 0 score "$nano" --ids 8134,324,2831 --json
cp "$scratch/out" "$scratch/plain"
run 0 score "$nano" --ids 8134,324,2831 --adapter "$scratch/a" --json
! cmp -s "$scratch/plain" "$scratch/out" || fail "the adapter changes nothing"
run 0 score "$nano" --ids 8134,324,2831 --adapter "$scratch/a:0" --json
same "$scratch/plain" "$scratch/out" "an adapter times 0"
run 0 run "$nano" -p Hello -n 2 --adapter "$scratch/a" --adapter "$scratch/d:0.5" --json
json '.stats.adapters == "a, d:0.5"'
run 0 eval tasks "$nano" --tasks "$scratch/test.jsonl" --adapter "$scratch/a" -n 8 --json
json '.all.items == 3'
printf 'Hello\n' >"$scratch/typed"
run 0 chat "$nano" --adapter "$scratch/a" --think off --temp 0 -n 4 <"$scratch/typed"
serve "$nano" --adapter "$scratch/a" --adapter "$scratch/d:0.5"
post /v1/completions '{"prompt": "Hello", "max_tokens": 2, "temperature": 0}'
answer 200 '.usage.completion_tokens == 2'
cp "$scratch/out" "$scratch/served"
stop_server 0
run 0 run "$nano" -p Hello -n 2 --temp 0 --adapter "$scratch/a" --adapter "$scratch/d:0.5" --json
json '.text == $s[0].choices[0].text' --slurpfile s "$scratch/served"
run 1 run "$data/tiny/mlx-8bit-g32" --ids 1,2 -n 1 --adapter "$scratch/a" --quiet
has err "another model"
one_sentence

# Routed experts in the form that PEFT reads, by default as they are small.
small 0 "$scratch/fused" --targets experts:1% --steps 1 --fused --json --quiet
jq -e '.target_parameters | length > 0' \
    "$scratch/fused/adapter_config.json" >/dev/null || fail "the experts are not in PEFT's form"

# Merged into the weights; in bf16 that is nearly the same.
run 0 merge "$nano" "$scratch/merged" --adapter "$scratch/a" --adapter "$scratch/d:0.5" --trunk bf16 --json --quiet
empty err
json '.matrices == 48 and .experts == 0 and .output_bytes > 0'
run 0 verify "$scratch/merged" --quiet
run 0 score "$scratch/merged" --ids 8134,324,2831 --json
cp "$scratch/out" "$scratch/merged.json"
run 0 score "$nano" --ids 8134,324,2831 --adapter "$scratch/a" --adapter "$scratch/d:0.5" --json
json '(.mean_nll - $m[0].mean_nll | fabs) < 1e-2' --slurpfile m "$scratch/merged.json"
run 1 merge "$nano" "$scratch/merged" --adapter "$scratch/a"
has err "already exists"
run 2 merge "$nano" "$scratch/other"
has err "--adapter DIR is needed"

# What is in the way, in one sentence.
echo '{"messages": [{"role": "user", "content": "Hi"}]}' >"$scratch/bad.jsonl"
run 1 train "$nano" --data "$scratch/bad.jsonl" --out "$scratch/e"
has err "bad.jsonl:1: the conversation has no turn of the assistant to learn"
one_sentence
[ ! -e "$scratch/e" ] || fail "a folder was made for nothing"
small 1 "$scratch/e" --context 16 --refuse-long
has err "train.jsonl:1: the sample has"
small 0 "$scratch/e" --context 60 --steps 1
has err " cut"
run 2 train "$nano" --out "$scratch/e"
has err "--data"
run 2 train "$nano" --data "$scratch/train.jsonl" --out "$scratch/f" --rate 0
small 1 "$scratch/f" --memory 10M
one_sentence
passed

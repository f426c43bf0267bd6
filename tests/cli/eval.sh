# "sluice eval": perplexity, divergence and tasks in their fixed forms, against the reference outputs of Nano.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm
alice=$nano/text/alice.txt
carol=$nano/text/a_christmas_carol.txt

# Perplexity is the reference's, window by window, within 0.1%.
jq '.perplexity' "$nano/reference.json" >"$scratch/reference"
run 0 eval ppl "$nano" --text "$alice" "$carol" --windows 1 --batch 2 --json --quiet
empty err
json '.k == 8 and .exact and (.texts | length) == 2 and .all.predicted == 2046'
json '. as $o | all(range(2); ($o.texts[.].perplexity.value / ($r[0][.].nll_per_window[0] / 1023 | exp) - 1 | fabs) < 1e-3)' \
    --slurpfile r "$scratch/reference"
json 'all(.texts[]; .perplexity.low == null)' # one window says nothing about how windows differ
cp "$scratch/out" "$scratch/first"
run 0 eval ppl --text "$alice" --text "$carol" --windows 1 --json --threads 1 --cache 4M
jq 'del(.texts[].text)' "$scratch/out" >"$scratch/second"
jq 'del(.texts[].text)' "$scratch/first" >"$scratch/third"
same "$scratch/second" "$scratch/third" "one thread, a small cache, a window at a time"
run 0 eval ppl --text "$alice" --window 64 --windows 4 --k 1
has out "lossy: k 1 of 8"
has out "alice.txt"
run 0 eval ppl --text "$alice" --window 64 --stride 16 --windows 5 --json
json '.all.predicted == 63 + 4 * 16'

# Special tokens only where they are asked for.
for i in 1 2 3 4 5 6 7 8; do printf '<|im_start|>user\nHello<|im_end|>\n'; done >"$scratch/talk"
run 0 eval ppl --text "$scratch/talk" --window 32 --special --json
json '.all.windows == 2' # 8 tokens each; as text they are more
run 0 eval ppl --text "$scratch/talk" --window 32 --json
json '.all.windows > 2'

# Decoding predicts what prompts do (the recurrence in blocks and by steps differ in the last bits), and only decoding
# shows what a lever costs that depends on the cache.
run 0 eval ppl "$nano" --text "$alice" --window 128 --windows 1 --json
cp "$scratch/out" "$scratch/first"
run 0 eval ppl "$nano" --text "$alice" --window 128 --windows 1 --decode --json
json '.all.predicted == 127 and (.all.nll / $f[0].all.nll - 1 | fabs) < 1e-5' --slurpfile f "$scratch/first"
run 0 eval ppl "$nano" --text "$alice" --window 128 --windows 1 --decode --cache 4M --cache-bias 0.2 --json
json '(.all.nll / $f[0].all.nll - 1 | fabs) > 1e-3' --slurpfile f "$scratch/first"
run 0 eval ppl --text "$alice" --window 64 --stride 16 --windows 5 --decode --batch 2 --json
json '.all.predicted == 63 + 4 * 16'

# A log of windows is gone on from, to the same bits, and refused where something else made it.
run 0 eval ppl --text "$alice" --window 64 --windows 5 --out "$scratch/windows" --json
cp "$scratch/out" "$scratch/whole"
[ "$(wc -l <"$scratch/windows")" -eq 6 ] || fail "the log has not 6 lines"
cp "$scratch/windows" "$scratch/all-windows"
head -n 3 "$scratch/all-windows" >"$scratch/windows"
sed -n 4p "$scratch/all-windows" | head -c 20 >>"$scratch/windows"
run 0 eval ppl --text "$alice" --window 64 --windows 5 --out "$scratch/windows" --batch 2 --json
same "$scratch/out" "$scratch/whole" "gone on from a log"
same "$scratch/windows" "$scratch/all-windows" "the log"
run 0 eval ppl --text "$alice" --window 64 --windows 5 --out "$scratch/windows" --json
json '.all == $whole[0].all' --slurpfile whole "$scratch/whole" # nothing was left to do
run 1 eval ppl --text "$alice" --window 128 --windows 5 --out "$scratch/windows"
has err '"window" was 64 and is 128'
one_sentence
tail -c 20000 "$alice" >"$scratch/text"
run 0 eval ppl --text "$scratch/text" --window 64 --windows 1 --out "$scratch/changed"
head -c 20000 "$alice" >"$scratch/text"
run 1 eval ppl --text "$scratch/text" --window 64 --windows 1 --out "$scratch/changed"
has err "line 2: window 0 of"
one_sentence

# Divergence: none from oneself, some from fewer experts.
run 0 eval kld --text "$alice" --window 128 --windows 3 --save "$scratch/predictions" --json
json '.all.windows == 3'
run 0 eval kld --against "$scratch/predictions" --batch 3 --json
json '.kl.value < 1e-7 and .top_1.value == 1 and (.ratio.value - 1 | fabs) < 1e-6 and .window == 128'
run 0 eval kld --against "$scratch/predictions" --int8 --json
json '.kl.value > 1e-6 and .kl.value < 5e-3 and .top_1.value > 0.9 and (.exact | not) and .against.exact'
run 0 eval kld --against "$scratch/predictions" --k 2 --json
json '.kl.value > 0.01 and .kl_p99 > .kl_median and .k == 2 and .against.k == 8'
run 0 eval kld --against "$scratch/predictions" --k 2
has out "mean KL divergence"
has out "95% intervals"
run 0 eval kld --against "$scratch/predictions" --k 2 --json
cp "$scratch/out" "$scratch/whole"
run 0 eval kld --against "$scratch/predictions" --k 2 --out "$scratch/compared" --json
cp "$scratch/compared" "$scratch/all-compared"
head -n 2 "$scratch/all-compared" >"$scratch/compared"
sed -n 3p "$scratch/all-compared" | head -c 200 >>"$scratch/compared"
run 0 eval kld --against "$scratch/predictions" --k 2 --out "$scratch/compared" --json
same "$scratch/out" "$scratch/whole" "gone on from a log of a comparison"
same "$scratch/compared" "$scratch/all-compared" "the log of a comparison"
run 0 eval kld --text "$alice" --window 64 --windows 1 --decode --save "$scratch/decoded" --json
run 0 eval kld --against "$scratch/decoded" --json # decoded as well: not even the last bits differ
json '.kl_max < 1e-6'
run 0 eval kld --against "$scratch/decoded" --cache 4M --cache-bias 0.2 --json
json '.kl.value > 1e-4'
head -c 100000 "$scratch/predictions" >"$scratch/cut"
run 1 eval kld --against "$scratch/cut"
has err "truncated"
one_sentence
run 1 eval kld --against "$alice"
has err "not a file of predictions"

# Tasks.
run 0 eval tasks --tasks "$nano/tasks/fact.jsonl" "$nano/tasks/tool.jsonl" --limit 5 --out "$scratch/log" --json --quiet
empty err
json '.all.items == 10 and .all.right == 10 and .all.resumed == 0 and [.files[].items] == [5, 5]'
[ "$(wc -l <"$scratch/log")" -eq 11 ] || fail "the log has not 11 lines"
head -n 7 "$scratch/log" >"$scratch/part"
run 0 eval tasks --tasks "$nano/tasks/fact.jsonl" "$nano/tasks/tool.jsonl" --limit 5 --out "$scratch/part" --json
json '.all.items == 10 and .all.right == 10 and .all.resumed == 6'
run 1 eval tasks --tasks "$nano/tasks/fact.jsonl" --limit 5 --out "$scratch/part" --k 4
has err '"k" was 8 and is 4'
one_sentence
run 0 eval tasks --tasks "$nano/tasks/word.jsonl" --think --limit 2
has out "accuracy"
echo '{"question": "What is the capital of France?", "answer": "Rome"}' >"$scratch/wrong.jsonl"
run 0 eval tasks --tasks "$scratch/wrong.jsonl" --json
json '.all.right == 0 and .all.items == 1'

# Data that cannot be used is refused, with file and line.
: >"$scratch/empty"
printf 'Hello' >"$scratch/short"
run 1 eval ppl --text "$scratch/empty"
has err "empty: empty"
run 1 eval ppl --text "$alice" "$scratch/short"
has err "short: its"
has err "fewer than a window of 1024"
one_sentence
printf '{"question": "a", "answer": "b"}\n{"question": ' >"$scratch/broken.jsonl"
run 1 eval tasks --tasks "$scratch/broken.jsonl"
has err "broken.jsonl: line 2: "
one_sentence
printf '{"question": "a"}\n' >"$scratch/broken.jsonl"
run 1 eval tasks --tasks "$scratch/broken.jsonl"
has err "broken.jsonl: line 1: "
run 1 eval tasks --tasks "$scratch/absent.jsonl"
has err "absent.jsonl"
run 1 eval tasks --tasks "$scratch/empty"
has err "empty: empty"

# Command lines.
usage() { # usage TEXT ARGUMENTS...
    text=$1
    shift
    run 2 eval "$@"
    has err "$text"
    one_sentence
    empty out
}
usage "ppl, kld, tasks, mmlu, gsm8k or humaneval"
usage "ppl, kld, tasks, mmlu" --json
usage "not 'perplexity'" perplexity
usage "needs --text" ppl
usage "needs --tasks" tasks
usage "either --save or --against" kld --text "$alice"
usage "either --save or --against" kld --save a --against b
usage "needs --text" kld --save a
usage "goes on by itself" kld --text "$alice" --save a --out b
usage "from its file" kld --against a --window 5
usage "more than a window" ppl --text "$alice" --window 10 --stride 11
usage "less than a window" ppl --text "$alice" --context 10
usage "unknown option" tasks --frobnicate
usage "means nothing to 'sluice eval ppl'" ppl --text "$alice" --think
usage "means nothing to 'sluice eval tasks'" tasks --save x
for verb in ppl kld tasks; do
    run 0 eval $verb --help
    has out "sluice eval $verb [MODEL]"
    has out "Examples:"
done
passed

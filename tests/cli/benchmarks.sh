# "sluice eval mmlu, gsm8k, humaneval" from small files in the official forms.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm
sets=$data/benchmarks

run 0 eval mmlu "$nano" --data "$sets/mmlu" --out "$scratch/log" --json --quiet
empty err
json '.all.items == 6 and (.subjects | length) == 3 and .subjects[0].subject == "abstract_algebra"'
json '[.groups[].group] == ["STEM", "social sciences", "unlisted"] and .all.accuracy.low < .all.accuracy.high'
head -n 4 "$scratch/log" >"$scratch/part"
cp "$scratch/out" "$scratch/whole"
run 0 eval mmlu "$nano" --data "$sets/mmlu" --out "$scratch/part" --json --batch 1
json '.all.resumed == 3 and .all.right == $w[0].all.right' --slurpfile w "$scratch/whole"
run 1 eval mmlu --data "$sets/mmlu" --out "$scratch/part" --shots 2
has err '"shots" was 5 and is 2'
one_sentence
run 0 eval mmlu --data "$sets/mmlu" --split val --shots 1
has out "all questions"
has out "mean of subjects"
run 1 eval mmlu --data "$sets"
has err "MMLU's folder holds dev, val and test"
one_sentence

run 0 eval gsm8k --data "$sets/gsm8k.jsonl" --tokens 32 --json
json '.all.items == 2 and .files[0].items == 2'
run 1 eval gsm8k --data "$sets/humaneval.jsonl"
has err 'humaneval.jsonl: line 1: "question"'
one_sentence

# Programs are run on request alone, and not at all where the network cannot be cut off or Python is missing.
run 2 eval humaneval --data "$sets/humaneval.jsonl.gz"
has err "--run-code"
one_sentence
run 1 eval humaneval --data "$sets/humaneval.jsonl.gz" --run-code --python /no/python3
has err "/no/python3"
one_sentence
if PATH=/usr/bin:/bin command -v python3 >/dev/null; then
    run 0 eval humaneval --data "$sets/humaneval.jsonl.gz" --run-code --tokens 16 --out "$scratch/code" --json
    json '.all.items == 2'
    grep -q '"completion":' "$scratch/code" || fail "the log has no completions"
    [ -z "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'sluice-code-*' -user "$(id -u)" -mmin -5 2>/dev/null)" ] ||
        fail "folders of programs were left behind"
    head -c 100 "$sets/humaneval.jsonl.gz" >"$scratch/cut.gz"
    run 1 eval humaneval --data "$scratch/cut.gz" --run-code
    has err "cut.gz: the gzip file is cut off"
    one_sentence
else
    echo "SKIPPED: no python3 in /usr/bin"
fi

for verb in mmlu gsm8k humaneval; do
    run 2 eval $verb
    has err "needs --data"
    one_sentence
    run 0 eval $verb --help
    has out "sluice eval $verb [MODEL]"
    has out "Examples:"
done
passed

# "sluice synth": a whole model that verifies and runs, and what it refuses.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

tiny=$SLUICE_SOURCE_DIR/tests/cli/support/tiny.json
out=$scratch/tiny
run 0 synth --geometry "$tiny" "$out"
has err "4 layers"
has out "/s"
run 0 verify "$out"
has out "128 expert records"
run 0 inspect "$out"
has out "q4/64/bf16"
run 0 run "$out" --ids 1,2,3 -n 8 --ignore-stop --json
json '.ids | length == 8'
run 0 run "$out" -p 'Any text' -n 4 --ignore-stop --quiet

# Other formats, sizes and seeds; the same ones give the same bytes.
run 0 synth --geometry "$tiny" --layers 2 --vocab 400 --experts q3 --trunk q4 --seed 9 --json "$scratch/a"
json '.bytes > 0 and .weights > 0 and .seconds >= 0'
run 0 synth --geometry "$tiny" --layers 2 --vocab 400 --experts q3 --trunk q4 --seed 9 --threads 3 --quiet "$scratch/b"
empty err
for file in trunk.safetensors experts-001.safetensors config.json; do
    same "$scratch/a/$file" "$scratch/b/$file" "$file"
done
run 0 inspect "$scratch/a"
has out "q3/64/bf16"

run 1 synth --geometry "$tiny" "$out"
has err "exists"
one_sentence
run 2 synth "$scratch/c"
has err "--geometry"
one_sentence
run 1 synth --geometry no-such-model "$scratch/c"
has err "qwen3.5-397b"
one_sentence
run 1 synth --geometry qwen3.5-397b --layers 512 --experts bf16 "$scratch/c"
has err "GB are needed"
one_sentence
[ ! -e "$scratch/c" ] && [ ! -e "$scratch/c.synth" ] || fail "something was left behind"
passed

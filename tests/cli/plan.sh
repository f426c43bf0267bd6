# "sluice plan": what it says of sizes is what the engine then takes.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

tiny=$SLUICE_SOURCE_DIR/tests/cli/support/tiny.json
mkdir "$scratch/disk"
plan() { run 0 plan --threads 1 --disk "$scratch/disk" "$@"; }

plan --geometry "$tiny" --memory 64MiB --json
json '.model.layers == 4 and .model.experts == 32 and .model.expert_format == "q4/64/bf16"'
json '.memory.fits and .memory.floor_bytes < .memory.memory_bytes and .memory.cache_bytes == .memory.bank_bytes'
json '.machine.disk_gb_per_second > 0 and .machine.memory_gb_per_second > 0'
# The model as it is comes first; all of it fits, so both cases are the same.
json '.decode[0] | .k == 4 and .bits == 4 and .hit_rate_uniform == 1 and .tokens_per_second_lru == .tokens_per_second_uniform'
json '[.decode[] | .bits] | unique == [2, 3, 4]'
json '[.decode[] | .tokens_per_second_uniform > 0] | all'
json '.prefill.tokens == 512 and .prefill.seconds > 0'
json '[.help[]] | all(. >= 0.99 and . <= 2.01)'
[ -z "$(ls -A "$scratch/disk")" ] || fail "something was left on the disk: $(ls -A "$scratch/disk")"

# Disk space, and the floor: what plan says is what synth writes and what the engine asks for.
cp "$scratch/out" "$scratch/plan"
run 0 synth --geometry "$tiny" --json "$scratch/model"
json '.bytes == $plan[0].disk.needed_bytes and .weights == $plan[0].model.weights' --slurpfile plan "$scratch/plan"
plan "$scratch/model" --memory 12MiB --context 512 --chunk 64 --json
json '.disk.there and .memory.fits'
floor=$(jq .memory.floor_bytes "$scratch/out")
plan "$scratch/model" --memory 12MiB --context 512 --chunk 64 --kv f16 --json
json '.memory.floor_bytes < $floor' --argjson floor "$floor"
half=$(jq .memory.floor_bytes "$scratch/out")
plan "$scratch/model" --memory 12MiB --context 512 --chunk 64 --kv int8 --json
json '.memory.floor_bytes < $half' --argjson half "$half"
run 0 run "$scratch/model" --threads 1 --ids 1,2,3 -n 2 --context 512 --chunk 64 --memory "$floor"
run 1 run "$scratch/model" --threads 1 --ids 1,2,3 -n 2 --context 512 --chunk 64 --memory "$((floor * 95 / 100))"
has err "memory are not enough"

# Too little memory is a result, not an error.
plan --geometry "$tiny" --memory 1MiB --json
json '(.memory.fits | not) and .memory.floor_bytes > 1048576 and .decode[0].tokens_per_second_uniform == 0'
plan --geometry "$tiny" --memory 1MiB
has out "NOT enough"
plan --geometry "$tiny" --memory 64MiB --experts q3
has out "the model as it is"
has out "What would help most"
has out "q3/64/bf16"

for wrong in "" "--geometry x model" "model --layers 3" "--geometry $tiny --chunk 65" "--geometry $tiny --exact --int8"; do
    # shellcheck disable=SC2086
    run 2 plan $wrong
    one_sentence
done
run 1 plan --geometry no-such-model
has err "qwen3.5-397b"
run 1 plan --geometry "$tiny" --disk "$scratch/none"
one_sentence
passed

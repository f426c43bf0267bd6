# "sluice bench": every form of its result says the same plausible things.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

model=$scratch/tiny
run 0 synth --geometry "$SLUICE_SOURCE_DIR/tests/cli/support/tiny.json" --quiet "$model"
bench() { run 0 bench "$model" --threads 1 --repetitions 2 --prefill 64 --decode 4 "$@"; }

bench --json --frontiers 0,200 --svg "$scratch/plot.svg"
json '.layers == 4 and .repetitions == 2 and .record_bytes == 16384 and .bank_bytes == 4 * 32 * 16384'
json '[.results[] | .kind] == ["prefill", "decode", "prefill", "decode"]'
json '.results[0].context == 0 and .results[2].context == 200 and .results[2].tokens == 64'
json '.disk_gb_per_second.median > 0 and .memory_gb_per_second.median > 0'
json '[.results[] | .tokens_per_second | .min <= .median and .median <= .max and .min > 0] | all'
# The parts of a token's time are all of it.
json '[.results[] | .trunk_ms + .experts_ms + .waiting_ms + .head_ms <= .ms_per_token * 1.05] | all'
# The whole bank fits: nothing is read when it is warm, and the floor is the memory's.
json '.cache_bytes == .bank_bytes'
json '[.results[] | .hit_rate == 1 and .bytes_read_per_token == 0 and .floor_by == "memory"] | all'
if command -v xmllint >/dev/null; then
    xmllint --noout "$scratch/plot.svg" || fail "the picture is not XML"
fi
[ "$(grep -c 'of the floor</text>' "$scratch/plot.svg")" -eq 4 ] || fail "the picture does not have four bars"

# With 8 of 128 experts in memory and 16 asked for by a token most are read.
bench --json --cache 128KiB
json '.cache_bytes == 131072'
json '[.results[] | .hit_rate < 0.6 and .bytes_read_per_token > 0 and .read_gb_per_second > 0] | all'
json '.results[1] | .bytes_missed_per_token <= 16 * 16384 and .bytes_missed_per_token > 0.4 * 16 * 16384'

bench --csv
[ "$(wc -l <"$scratch/out")" -eq 3 ] || fail "a header and two lines were expected"
[ "$(awk -F, '{ print NF }' "$scratch/out" | sort -u | wc -l)" -eq 1 ] || fail "lines of different lengths"
bench
has out "of the floor"
has out "prefill 64"
run 0 bench "$model" --threads 1 --repetitions 1 --prefill 0 --decode 2 --json
json '[.results[] | .kind] == ["decode"]'

for wrong in "--frontiers 5,3" "--frontiers x" "--csv --json" "--prefill 0 --decode 0"; do
    # shellcheck disable=SC2086
    run 2 bench "$model" $wrong
    one_sentence
done
run 1 bench "$scratch/none"
one_sentence

# Under a limit, where one can be set; the engine sees it.
if "$SLUICE" bench "$model" --cap 512MiB --threads 1 --repetitions 1 --prefill 64 --decode 2 --json >"$scratch/out" 2>"$scratch/err"; then
    json '.rss_peak_bytes < 536870912 and .memory_peak_bytes > 0'
else
    grep -q 'a memory limit cannot be set' "$scratch/err" || fail "a limit was neither set nor refused"
    one_sentence
fi
passed

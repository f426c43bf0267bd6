# Memory: a real control group's limit is kept without --memory, and too little is refused with the numbers.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

run 1 run -p hello -n 1 --memory 9M
has err "the trunk needs"
run 0 run -p hello -n 1 # the conversion, if it is still missing, takes more

# Training keeps to it too, with rows of the usual length.
bash "$SLUICE_SOURCE_DIR/tools/make-call-task" 40 1 >"$scratch/train.jsonl"
run 0 train --data "$scratch/train.jsonl" --out "$scratch/adapter" --steps 1 --memory 200M --json --quiet
json '.rss_peak_bytes > 50e6 and .rss_peak_bytes < 200e6'

# Adapters beside every expert: 22 MB of them, and 67 MB of gradients and moments that go to disk.
run 0 train --data "$scratch/train.jsonl" --out "$scratch/all" --targets shared,experts --context 256 --steps 1 --memory 110M \
    --json --quiet
json '.adapter_bytes > 22e6 and .spilled_bytes == 3 * .adapter_bytes and .rss_peak_bytes < 110 * 1048576'
run 1 train --data "$scratch/train.jsonl" --out "$scratch/all" --targets shared,experts --context 256 --steps 1 --memory 90M
has err "would fit, or experts:"
one_sentence

limit=$((64 * 1048576))
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/sluice-test-$$ file=memory.max
else
    group=/sys/fs/cgroup/memory/sluice-test-$$ file=memory.limit_in_bytes
fi
if ! mkdir "$group" 2>/dev/null || ! echo $limit 2>/dev/null >"$group/$file"; then
    rmdir "$group" 2>/dev/null || true
    echo "SKIPPED: no memory control group can be made here (not root?)"
    exit 77
fi
trap 'rmdir "$group"; rm -rf "$scratch"' EXIT
capped() {
    # shellcheck disable=SC2016
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$SLUICE" "$@" >"$scratch/out" 2>"$scratch/err" ||
        fail "did not run within the limit: sluice $*"
    json ".stats.rss_peak_bytes <= $limit and .stats.memory_peak_bytes <= $limit"
}
ids=$(seq -s, 1 500)
capped run --ids "$ids" -n 40 --ignore-stop --json --threads 2
json '.ids | length == 40'
jq -c .ids "$scratch/out" >"$scratch/capped"
run 0 run --ids "$ids" -n 40 --ignore-stop --json --threads 2
json '.stats.rss_peak_bytes > 0'
jq -c .ids "$scratch/out" >"$scratch/free"
same "$scratch/capped" "$scratch/free" "a limit has changed the answer"

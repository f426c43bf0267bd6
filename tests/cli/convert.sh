# convert, inspect, verify: the round trip of Nano, and what they say when something is in the way.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

out=$scratch/nano.sluice
run 0 convert "$nano" "$out"
has err "disk space"
for file in config.json tokenizer.json trunk.safetensors experts-000.safetensors experts-007.safetensors; do
    [ -s "$out/$file" ] || fail "$file is missing"
done
run 0 inspect "$out"
has out "converted"
has out "8: 2 attention, 6 GDN"
has out "64 of width 64, 8 at work"
run 0 inspect "$out" --json
json 'type == "object"'
cp "$scratch/out" "$scratch/first"
run 0 inspect "$nano"
has out "not converted"
run 0 inspect
has out "8: 2 attention, 6 GDN"
run 0 verify "$out"
has out "576 expert records"
run 0 verify "$out" --json
json '.ok and .records == 576 and .records_bad == 0 and .tensors_bad == 0'

# The container and the checkpoint are the same model.
run 0 score "$nano" --ids 8134,324,2831 --json
cp "$scratch/out" "$scratch/first"
run 0 score "$out" --ids 8134,324,2831 --json
same "$scratch/first" "$scratch/out" "container and checkpoint"
run 0 score "$out" --ids 8134,324,2831 --json --verify-reads
same "$scratch/first" "$scratch/out" "with --verify-reads"

# A damaged record is found and named, by verify and by --verify-reads.
size=$(stat -c %s "$out/experts-003.safetensors")
printf '\377\000\377\000' | dd of="$out/experts-003.safetensors" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
run 1 verify "$out"
has err "experts-003"
run 1 verify "$out" --json
json '.ok == false and .records_bad == 1 and .records == 576'
truncate -s $((size / 2)) "$out/experts-003.safetensors"
run 1 verify "$out"
has err "experts-003"
run 1 run "$out" -p Hello -n 2
one_sentence

# Requantising.
run 0 convert "$nano" "$scratch/q2" --experts q2 --quiet
empty err
run 0 inspect "$scratch/q2"
has out "q2"
run 0 verify "$scratch/q2"
run 0 score "$scratch/q2" --ids 8134,324,2831 --json
! cmp -s "$scratch/first" "$scratch/out" || fail "2-bit experts change nothing"
run 0 convert "$data/tiny/hf-bf16-flat" "$scratch/tiny" --json
json '.path and .output_bytes > 0 and .seconds >= 0'

# --consume deletes the source's shards, and only then.
cp -r "$nano" "$scratch/copy"
run 0 convert "$scratch/copy" "$scratch/kept"
[ -e "$scratch/copy/model-00001-of-00003.safetensors" ] || fail "a shard is gone without --consume"
run 0 convert "$scratch/copy" "$scratch/consumed" --consume
[ ! -e "$scratch/copy/model-00001-of-00003.safetensors" ] || fail "--consume kept a shard"
run 0 verify "$scratch/consumed"

# What is in the way.
run 1 convert "$nano" "$scratch/q2"
one_sentence
has err "$scratch/q2"
run 1 convert "$scratch/absent" "$scratch/x"
has err "$scratch/absent"
[ ! -e "$scratch/x" ] || fail "something was written"
mkdir "$scratch/empty"
run 1 convert "$scratch/empty" "$scratch/x"
run 1 inspect "$scratch/absent"
one_sentence
run 1 inspect "$scratch/empty"
one_sentence
run 1 verify "$scratch/empty"
one_sentence
run 1 run "$scratch/empty" -p Hello -n 2
one_sentence
cp -r "$data/tiny/hf-bf16-flat" "$scratch/broken"
truncate -s 1000 "$scratch/broken/model.safetensors"
run 1 inspect "$scratch/broken"
has err "model.safetensors"
run 1 convert "$scratch/broken" "$scratch/x"
has err "model.safetensors"
[ ! -e "$scratch/x" ] || fail "a broken source was converted"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$scratch/locked"
    chmod 500 "$scratch/locked"
    run 1 convert "$nano" "$scratch/locked/x"
    one_sentence
fi

# A full disk: a file system of 8 MB, where one may be mounted.
mkdir "$scratch/small"
if mount -t tmpfs -o size=8m tmpfs "$scratch/small" 2>/dev/null; then
    trap 'umount "$scratch/small"; rm -rf "$scratch"' EXIT
    status=0
    run 1 convert "$nano" "$scratch/small/x"
    has err "space"
    [ ! -e "$scratch/small/x" ] || fail "half a container"
else
    echo "SKIPPED: a full disk (no file system can be mounted here)"
fi

# Interrupted by kill -9, the same command goes on and the result is the same.
i=0
while [ "$i" -lt 4 ]; do
    "$SLUICE" convert "$nano" "$scratch/again" --quiet >/dev/null 2>&1 &
    child=$!
    sleep "0.0$((i * 2 + 1))"
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    i=$((i + 1))
done
[ -e "$scratch/again" ] || run 0 convert "$nano" "$scratch/again"
run 0 verify "$scratch/again"
[ ! -e "$scratch/again.partial" ] || fail "the partial folder stayed"
same "$scratch/again/trunk.safetensors" "$scratch/kept/trunk.safetensors" "after kill -9"
passed

# importance and convert --importance: what is measured, that it pays, and what is refused.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
tiny=$data/tiny/hf-bf16-flat
text=$nano/text/a_christmas_carol.txt
head -c 12000 "$nano/text/alice.txt" >"$scratch/other.txt"
size() { cat "$1"/experts-*.safetensors | wc -c; }
run 0 convert "$tiny" "$scratch/full" --quiet

run 0 importance "$scratch/full" --text "$text" --window 128 --windows 40 -o "$scratch/imp" --json --quiet
empty err
json '.windows == 40 and .tokens == 5120 and .experts_unseen == 0 and .expert_rows_min > 0'
bytes=$(wc -c <"$scratch/imp")
run 0 importance "$scratch/full" --text "$text" --window 128 --windows 2 -o "$scratch/small" --expert-in-block 1
has out "an expert saw"
[ "$(wc -c <"$scratch/small")" -lt "$bytes" ] || fail "squares alone are not smaller than products"

# Rounding by importance loses less than plain rounding, on text that was not measured on.
run 0 eval kld "$scratch/full" --text "$scratch/other.txt" --window 128 --windows 8 --save "$scratch/predictions" --quiet
for bits in 2 3 4; do
    run 0 convert "$tiny" "$scratch/plain$bits" --experts q$bits --trunk q$bits --quiet
    run 0 convert "$tiny" "$scratch/ours$bits" --experts q$bits --trunk q$bits --importance "$scratch/imp" --quiet
    run 0 eval kld "$scratch/plain$bits" --against "$scratch/predictions" --json --quiet
    cp "$scratch/out" "$scratch/plain.json"
    run 0 eval kld "$scratch/ours$bits" --against "$scratch/predictions" --json --quiet
    json '.kl.value < 0.8 * $plain[0].kl.value' --slurpfile plain "$scratch/plain.json"
    [ "$(size "$scratch/plain$bits")" -eq "$(size "$scratch/ours$bits")" ] || fail "sizes differ"
done

# A mix of bits: between its neighbours in size, sound, and never without importances.
run 0 convert "$tiny" "$scratch/mix" --experts mix:2.5 --importance "$scratch/imp" --quiet
run 0 convert "$tiny" "$scratch/low" --experts q2 --importance "$scratch/imp" --quiet
run 0 convert "$tiny" "$scratch/high" --experts q3 --importance "$scratch/imp" --quiet
[ "$(size "$scratch/low")" -lt "$(size "$scratch/mix")" ] || fail "a mix of 2.5 bits is not larger than 2 bits"
[ "$(size "$scratch/mix")" -lt "$(size "$scratch/high")" ] || fail "a mix of 2.5 bits is not smaller than 3 bits"
run 0 verify "$scratch/mix"
run 2 convert "$tiny" "$scratch/x" --experts mix:3.5
has err "--importance FILE"
one_sentence
run 2 convert "$tiny" "$scratch/x" --experts mix:9 --importance "$scratch/imp"
has err "mix:2 to mix:8"
one_sentence

# What cannot be used is refused.
run 1 convert "$tiny" "$scratch/x" --experts q2 --importance "$text"
one_sentence
run 1 convert "$nano" "$scratch/x" --experts q2 --importance "$scratch/imp"
has err "made for a model of other sizes"
one_sentence
run 1 importance "$scratch/full" --text "$text" -o "$scratch/none" --sums 1K --quiet
has err "smaller blocks need less"
one_sentence
run 1 importance "$scratch/full" --text "$text" -o "$scratch/none" --block 129 --quiet
has err "multiples of 128"
one_sentence
: >"$scratch/empty"
run 1 importance "$scratch/full" --text "$scratch/empty" -o "$scratch/none"
has err "empty: empty"
run 2 importance "$scratch/full" -o "$scratch/none"
has err "--text"
run 2 importance "$scratch/full" --text "$text"
has err "-o"
[ ! -e "$scratch/none" ] || fail "a file was left by a measurement that failed"
[ ! -e "$scratch/x" ] || fail "a container was left by a conversion that failed"
passed

#!/bin/sh
# Text to measure importances on, written by a model itself: stories and conversations, with and without tools. Prints it.
#
# bench/calibration-text.sh MODEL [SCALE]: SCALE (1) times 200 samples of 1000 tokens at temperature 1, each with a seed of its
# own, so that the same model gives the same bytes. Half of them go on from the first words of a story, the rest from the start
# of a conversation. A conversation in which any question of models/nano/tasks occurs is left out: what is judged by those
# must not have seen them. SLUICE names the program (build/sluice), SCRATCH a folder for the samples that is kept (a temporary
# one): those that are there are not made again.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sluice=${SLUICE:-$root/build/sluice}
model=${1:?usage: calibration-text.sh MODEL [SCALE]} scale=${2:-1}
command -v jq >/dev/null || { echo "jq is missing" >&2; exit 2; }
scratch=${SCRATCH:-$(mktemp -d)}
mkdir -p "$scratch"
[ -n "${SCRATCH:-}" ] || trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

sample() { # sample NAME START SEED: the start and what the model makes of it
    [ -s "$scratch/$1-$3" ] || {
        printf '%s' "$2" >"$scratch/new"
        "$sluice" run "$model" --prompt "$2" --special --temp 1 --seed "$3" --tokens 1000 --ignore-stop --quiet >>"$scratch/new"
        mv "$scratch/new" "$scratch/$1-$3"
    }
    cat "$scratch/$1-$3"
    echo
}

talk='<|endoftext|><|im_start|>' tools='<|endoftext|><|im_start|>system
# Tools
'
seed=0
while [ $seed -lt $((5 * scale)) ]; do
    seed=$((seed + 1)) number=0
    for begin in "Chapter I." "It was" "The old man" "When she" "“I do not know,” said" "In the morning" "They had" \
        "There was once" "“Well,” said" "He looked" "The house" "After a while" "My dear" "But the" "At last" \
        "She had never" "One day" "The King" "As soon as" "On the other hand"; do
        number=$((number + 1))
        sample story-$number "<|endoftext|>$begin" $seed
    done
done
jq -rj '.question + "\u001e"' "$root"/models/nano/tasks/*.jsonl >"$scratch/questions"
seed=0
while [ $seed -lt $((50 * scale)) ]; do
    seed=$((seed + 1))
    sample talk "$talk" $seed
    sample tools "$tools" $seed
done |
    awk -v questions="$scratch/questions" '
        BEGIN { RS = "\036"; while ((getline line < questions) > 0) asked[++n] = line; RS = "<\\|endoftext\\|>" }
        length > 1 {
            for (i = 1; i <= n; i++) if (index($0, asked[i])) next
            printf "<|endoftext|>%s", $0
        }'

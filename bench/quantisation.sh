#!/bin/sh
# What fewer bits cost Nano, by plain rounding and by importance (doc/quantisation.md). Prints CSV.
#
# bench/quantisation.sh [SETTING...]: bf16; q4 q3 q2 (experts; the trunk at 4 bits), all2 (everything), each as NAME-plain and
# NAME-ours, with groups of 32 as q2/32-ours and so on; mix2.5-ours and the like; without SETTING a list of them. From the
# unquantised weights in $SLUICE_SHARED/nano/hf-bf16. Router and shared gate stay at 8 bits. SLUICE names the program
# (build/sluice), SCRATCH a folder that is kept (a temporary one; 2 GB), in which what is there already is not made again, so that
# a run that was interrupted goes on.
#
# Importances: from text that the unquantised model wrote (bench/calibration-text.sh). Perplexity: all cold windows of 1024
# tokens of each of BOOKS ("alice"). Tasks: ITEMS (200) of each of KINDS ("json tool code arith str"), greedy, thinking off,
# unconstrained.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
SLUICE=${SLUICE:-$root/build/sluice}
export SLUICE
source=${SLUICE_SHARED:-$root/../shared}/nano/hf-bf16
nano=$root/models/nano
items=${ITEMS:-200} books=${BOOKS:-alice} kinds=${KINDS:-json tool code arith str}
command -v jq >/dev/null || { echo "jq is missing" >&2; exit 2; }
[ -d "$source" ] || { echo "SKIPPED: $source is not there" >&2; exit 77; }
scratch=${SCRATCH:-$(mktemp -d)}
mkdir -p "$scratch"
[ -n "${SCRATCH:-}" ] || trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

importances() {
    [ -d "$scratch/bf16" ] || "$SLUICE" convert "$source" "$scratch/bf16" --quiet >/dev/null
    [ -s "$scratch/text" ] || {
        SCRATCH=$scratch/samples "$root/bench/calibration-text.sh" "$scratch/bf16" 2 >"$scratch/text.new"
        mv "$scratch/text.new" "$scratch/text"
    }
    [ -s "$scratch/importances" ] ||
        "$SLUICE" importance "$scratch/bf16" --text "$scratch/text" --special -o "$scratch/importances" --quiet >/dev/null
}

flags() { # flags SETTING: of convert
    name=${1%-*}
    group=
    case $name in */*) group=/${name#*/} name=${name%/*} ;; esac
    case $name in
    bf16) ;;
    q[2-8]) echo "--experts $name$group --trunk q4$group" ;;
    all[2-8]) echo "--experts q${name#all}$group --trunk q${name#all}$group" ;;
    mix*) echo "--experts mix:${name#mix}$group --trunk q4$group" ;;
    *) echo "unknown setting '$1'" >&2 && exit 2 ;;
    esac
}

row() { # row SETTING
    options=$(flags "$1")
    model=$scratch/$(echo "$1" | tr / _)
    case $1 in
    *-ours) options="$options --importance $scratch/importances" ;;
    *-plain | bf16) ;;
    *) echo "'$1' is neither plain nor ours" >&2 && exit 2 ;;
    esac
    echo "$1" >&2
    [ -d "$model" ] || "$SLUICE" convert "$source" "$model" $options --quiet >/dev/null
    texts= files=
    for book in $books; do texts="$texts $nano/text/$book.txt"; done
    for kind in $kinds; do files="$files $nano/tasks/$kind.jsonl"; done
    "$SLUICE" eval ppl "$model" --text $texts --batch 2 --out "$model.windows" --json --quiet >"$model.ppl"
    "$SLUICE" eval tasks "$model" --tasks $files --limit "$items" --batch 32 --out "$model.answers" --json --quiet >"$model.tasks"
    jq -rn --arg setting "$1" --arg flags "$(flags "$1")" --arg experts "$(cat "$model"/experts-*.safetensors | wc -c)" \
        --arg trunk "$(wc -c <"$model/trunk.safetensors")" --arg items "$items" --slurpfile ppl "$model.ppl" \
        --slurpfile tasks "$model.tasks" '
        def places($n): if . == null then "" else . * pow(10; $n) | round / pow(10; $n) end;
        [$setting, $flags, $experts, $trunk, $ppl[0].all.predicted,
         ($ppl[0].texts[].perplexity | (.value, .low, .high) | places(3)), $items,
         ($tasks[0].files[].accuracy.value | places(4))] | join(",")'
}

[ $# -gt 0 ] || set -- bf16 q4-plain q4-ours q3-plain q3-ours q2-plain q2-ours all2-plain all2-ours mix3.5-ours mix3-ours \
    mix2.5-ours
importances
echo "# text: $(wc -c <"$scratch/text") bytes, crc $(cksum <"$scratch/text" | cut -d' ' -f1); $("$SLUICE" version | head -n 1)"
echo "setting,flags,experts_bytes,trunk_bytes,predicted,$(for book in $books; do
    printf '%s_ppl,%s_low,%s_high,' "$book" "$book" "$book"
done)items,$(echo $kinds | tr ' ' ',')"
for setting in "$@"; do row "$setting"; done

#!/bin/sh
# What settings cost: perplexity, divergence from the full model and tasks, on Nano. Prints CSV.
#
# bench/quality.sh [SETTING...]: exact int8 k6 k4 k3 k2 k1 (of the bundled 4-bit model), q3 q2 allq2 (its experts, or all of
# it, rounded again), and bf16 bf16-q4 bf16-q3 bf16-q2 bf16-allq2 (from the unquantised weights, which are looked for in
# $SLUICE_SHARED/nano/hf-bf16); without SETTING all of them. SLUICE names the program (build/sluice), SCRATCH a folder for
# models and predictions, which is kept (2 GB; a temporary one).
#
# Perplexity: cold windows of 1024 tokens of both books, WINDOWS of each (all). Divergence: 8 windows of each, against "exact",
# or "bf16" for what is made from it. Tasks: ITEMS (200) of each kind, greedy, thinking off, and word problems with thinking.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sluice=${SLUICE:-$root/build/sluice}
bf16=${SLUICE_SHARED:-$root/../shared}/nano/hf-bf16
nano=$root/models/nano
items=${ITEMS:-200} windows=${WINDOWS:-1000000}
kinds="arith code fact json mc str tool word"
command -v jq >/dev/null || { echo "jq is missing" >&2; exit 2; }
scratch=${SCRATCH:-$(mktemp -d)}
mkdir -p "$scratch"
[ -n "${SCRATCH:-}" ] || trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

evaluate() { # evaluate OUT VERB ARGUMENTS...
    out=$scratch/$1
    verb=$2
    shift 2
    "$sluice" eval "$verb" "$@" --json --quiet >"$out"
}

# The saved predictions of a family's full model.
predictions() { # predictions FAMILY MODEL
    file=$scratch/$1.predictions
    [ -s "$file" ] || "$sluice" eval kld "$2" --text "$nano/text/alice.txt" "$nano/text/a_christmas_carol.txt" --windows 8 \
        --save "$file" --quiet >/dev/null
}

convert() { # convert NAME SOURCE FLAGS...
    name=$1
    source=$2
    shift 2
    [ -d "$scratch/$name" ] || "$sluice" convert "$source" "$scratch/$name" "$@" --quiet >/dev/null
}

row() { # row SETTING FAMILY MODEL FLAGS...
    setting=$1
    family=$2
    model=$3
    shift 3
    echo "$setting" >&2
    evaluate ppl ppl "$model" --text "$nano/text/alice.txt" "$nano/text/a_christmas_carol.txt" --windows "$windows" \
        "$@"
    evaluate kld kld "$model" --against "$scratch/$family.predictions" "$@"
    files=
    for kind in $kinds; do files="$files $nano/tasks/$kind.jsonl"; done
    evaluate tasks tasks "$model" --tasks $files --limit "$items" "$@"
    evaluate think tasks "$model" --tasks "$nano/tasks/word.jsonl" --think --limit "$items" "$@"
    jq -rn --arg setting "$setting" --arg family "$family" --slurpfile ppl "$scratch/ppl" --slurpfile kld "$scratch/kld" \
        --slurpfile tasks "$scratch/tasks" --slurpfile think "$scratch/think" '
        def places($n): if . == null then "" else . * pow(10; $n) | round / pow(10; $n) end;
        [$setting, $family, $ppl[0].all.predicted, $tasks[0].files[0].items, ($ppl[0].texts[] | .perplexity.value | places(3)), ($kld[0].ratio.value | places(5)),
         ($kld[0].kl.value, $kld[0].kl.low, $kld[0].kl.high, $kld[0].kl_p99 | places(7)), ($kld[0].top_1.value | places(4)),
         ($tasks[0].files[], $think[0].files[] | .accuracy.value | places(4))] | @csv' | tr -d '"'
}

one() {
    case $1 in
    bf16*)
        [ -d "$bf16" ] || { echo "SKIPPED: $1, $bf16 is not there" >&2; return; }
        convert bf16 "$bf16"
        predictions bf16 "$scratch/bf16"
        ;;
    *) predictions exact "$nano" ;;
    esac
    case $1 in
    exact) row exact exact "$nano" ;;
    int8) row int8 exact "$nano" --int8 ;;
    k[1-8]) row "$1" exact "$nano" --k "${1#k}" ;;
    q2 | q3)
        convert "$1" "$nano" --experts "$1"
        row "$1" exact "$scratch/$1"
        ;;
    allq2)
        convert allq2 "$nano" --experts q2 --trunk q2
        row allq2 exact "$scratch/allq2"
        ;;
    bf16) row bf16 bf16 "$scratch/bf16" ;;
    bf16-q[234])
        convert "$1" "$bf16" --experts "${1#bf16-}" --trunk q4
        row "$1" bf16 "$scratch/$1"
        ;;
    bf16-allq2)
        convert "$1" "$bf16" --experts q2 --trunk q2
        row "$1" bf16 "$scratch/$1"
        ;;
    *)
        echo "unknown setting '$1'" >&2
        exit 2
        ;;
    esac
}

[ $# -gt 0 ] || set -- exact int8 k6 k4 k3 k2 k1 q3 q2 allq2 bf16 bf16-q4 bf16-q3 bf16-q2 bf16-allq2
echo "setting,against,predicted,items,ppl_alice,ppl_carol,ppl_ratio,kl,kl_low,kl_high,kl_p99,top_1,$(echo $kinds | tr ' ' ','),word_think"
for setting in "$@"; do one "$setting"; done

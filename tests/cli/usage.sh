# Command lines: what is unknown, malformed, missing or meaningless is refused in one sentence with status 2.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1

refused() { # refused TEXT ARGUMENTS...
    text=$1
    shift
    run 2 "$@" </dev/null
    one_sentence
    empty out
    has err "$text"
}

refused "sluice --help"
refused "unknown command 'frobnicate'" frobnicate
refused "did you mean 'score'" scoer
refused "did you mean '--threads'" run --thraeds 2
refused "unknown option '--frobnicate'" run --frobnicate
refused "unknown option '-x'" run -x
refused "needs a value" run -p
refused "takes no value" run -p x --json=1
refused "one of -p, --ids and --chat" run
refused "one of -p, --ids and --chat" run -p x --ids 1
refused "goes with -p" run --ids 1 --special
refused "either --ids or --text" score
refused "either --ids or --text" score --ids 1 --text x
refused "unexpected argument 'b'" run a b -p x
refused "SRC OUT" convert
refused "SRC OUT" convert a
refused "must be one of" run -p x --cpu quantum
refused "is not one of q2, q3" convert a b --experts q7
refused "is not one of q2, q3" convert a b --trunk q4/48
refused "whole number from 1 to" run -p x --threads 0
refused "whole number from 1 to" run -p x --threads 2x
refused "whole number from 1 to" run -p x --threads 99999999999999999999
refused "at least 0" run -p x -n -1
refused "number from 0 to 100" run -p x --temp -1
refused "number from 0 to 100" run -p x --temp nan
refused "number from 0 to 1" run -p x --top-p 1.5
refused "--seed must be" run -p x --seed -1
refused "exclude each other" run -p x --exact --int8
refused "multiple of 64" run -p x --chunk 100
for size in '' 0 x 4Q -4M 4MM 1e400 0x10 .; do
    refused "--cache must be a size" run -p x --cache "$size"
done
refused "token ids" score --ids 1,x
refused "is empty" score --ids ''

# A flag that means nothing to a command is refused, not ignored.
refused "means nothing to 'sluice tokenize'" tokenize --threads 2
refused "means nothing to 'sluice tokenize'" tokenize --cache 4M
refused "means nothing to 'sluice render'" render --json
refused "means nothing to 'sluice inspect'" inspect --temp 1
refused "means nothing to 'sluice convert'" convert a b --cache 4M
refused "means nothing to 'sluice score'" score --ids 1 --temp 0

# Every command explains itself, with every option that it takes, within 80 columns.
run 0 --help
empty err
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$scratch/out")
[ "$(echo "$commands" | wc -w)" -ge 11 ] || fail "commands are missing from --help: $commands"
[ "$(wc -L <"$scratch/out")" -le 80 ] || fail "--help is over 80 columns"
for command in $commands; do
    run 0 "$command" --help
    empty err
    has out "Usage:"
    has out "sluice $command"
    long=$(sed '/^Examples:/,$d; /^Usage:/,/^$/d' "$scratch/out" | awk 'length > 80' | head -n 1)
    [ -z "$long" ] || fail "over 80 columns: $long"
    cp "$scratch/out" "$scratch/first"
    run 0 help "$command"
    same "$scratch/first" "$scratch/out" "help $command"
    run 0 "$command" -h
    same "$scratch/first" "$scratch/out" "$command -h"
done

# Both forms of options; after -- everything is a MODEL.
run 1 run "$scratch/absent" -pHello -n1
run 1 run --prompt=Hello --tokens=1 -- "$scratch/absent"
has err "$scratch/absent"
run 1 run -p x -- --json
has err "--json"

run 0 version
has out "sluice "
run 0 --version
has out "sluice "
run 0 version --json
json '(.version | test("^[0-9]+[.][0-9]+[.][0-9]+")) and (.cpu | length > 0)'
run 0 version --cpu scalar --json
json '.cpu == "scalar"'

# The completion is bash that knows the commands and the words of choices.
run 0 completion bash
bash -n "$scratch/out"
complete() { # complete WORDS...: what bash would offer for the last of them
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluice; printf "%s\n" "${COMPREPLY[@]}"' \
        bash "$scratch/completion" "$@"
}
cp "$scratch/out" "$scratch/completion"
complete sluice to >"$scratch/out"
has out tokenize
complete sluice run --cpu a >"$scratch/out"
has out avx2
complete sluice run --ca >"$scratch/out"
has out --cache
refused "only bash" completion fish
passed

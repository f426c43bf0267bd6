# "sluice report": settings compared, kept, gone on with, and shown in every form.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm
work=$scratch/work
cat >"$scratch/config.json" <<'EOF'
{
    "title": "Fewer & fewer <experts>",
    "texts": ["text.txt"],
    "text_flags": ["--window", "64", "--windows", "2"],
    "kld_flags": ["--window", "64", "--windows", "2"],
    "bench_flags": ["--prefill", "0", "--decode", "2", "--warmup", "0", "--repetitions", "1"],
    "flags": ["--threads", "1"],
    "rounds": 2,
    "settings": [{"name": "full"}, {"name": "k 2", "flags": ["--k", "2"]}],
    "tasks": [{"name": "facts", "files": ["fact.jsonl"], "flags": ["--limit", "2"]}]
}
EOF
head -c 4000 "$nano/text/alice.txt" >"$scratch/text.txt"
cp "$nano/tasks/fact.jsonl" "$scratch/"
report() { run 0 report "$nano" --config "$scratch/config.json" --work "$work" --csv "$scratch/r.csv" --svg "$scratch/r.svg" "$@"; }

report --quiet
empty err
has out "| setting | flags |"
has out '`--k 2`'
[ "$(grep -c '^| ' "$scratch/out")" -eq 6 ] || fail "two tables of a header and two settings were expected"
# The figures are those of the commands by themselves.
cell() { awk -F, -v row="\"$1\"" -v column="$2" '$1 == "setting" { for (i = 1; i <= NF; i++) if ($i == column) at = i } $1 == row { print $at }' "$scratch/r.csv"; }
run 0 eval ppl "$nano" --text "$scratch/text.txt" --window 64 --windows 2 --k 2 --json
json '.all.perplexity.value - $cell | fabs < 1e-4' --argjson cell "$(cell 'k 2' perplexity)"
json '.experts_per_token - $cell | fabs < 1e-3' --argjson cell "$(cell 'k 2' experts_per_token)"
run 0 eval tasks "$nano" --tasks "$scratch/fact.jsonl" --limit 2 --k 2 --json
json '.all.accuracy.value - $cell | fabs < 1e-3' --argjson cell "$(cell 'k 2' '"facts"')"
[ "$(cell full kl)" = 0 ] || fail "the first setting differs from itself"
[ "$(cell 'k 2' experts_per_token)" = 16 ] || fail "k 2 of eight layers is 16 experts"
awk -v a="$(cell 'k 2' kl)" -v b="$(cell 'k 2' perplexity_ratio)" 'BEGIN { exit !(a > 0.01 && b > 1) }' || fail "k 2 costs nothing"
awk -v v="$(cell full decode_tokens_s)" -v low="$(cell full decode_tokens_s_min)" -v high="$(cell full decode_tokens_s_max)" \
    'BEGIN { exit !(low > 0 && low <= v && v <= high) }' || fail "speeds are not in order"
grep -qF "# command: sluice report $nano --config" "$scratch/r.csv" || fail "the command is not in the CSV"
[ "$(tail -n +3 "$scratch/r.csv" | awk -F, '{ print NF }' | sort -u | wc -l)" -eq 1 ] || fail "lines of different lengths"

# The page holds everything and asks for nothing.
page=$work/report.html
grep -qF "Fewer &amp; fewer &lt;experts&gt;" "$page" || fail "the title is not escaped"
! grep -qE 'src=|href=|<script|@import|url\(' "$page" || fail "the page refers to something outside"
[ "$(grep -c '<svg' "$page")" -eq 3 ] || fail "not three drawings"
[ "$(grep -c '<circle' "$page")" -eq 6 ] || fail "not two points in each"
if command -v xmllint >/dev/null; then
    xmllint --noout "$scratch/r.svg" || fail "the drawing is not XML"
fi

# Again: nothing is measured, and nothing changes. Another setting: only that one.
cp "$scratch/r.csv" "$scratch/first.csv"
ls "$work" | sort >"$scratch/before"
report
ls "$work" | sort >"$scratch/after"
same "$scratch/before" "$scratch/after" "measured again"
sed 's/ --quiet//; /^# /d' "$scratch/first.csv" >"$scratch/a"
sed '/^# /d' "$scratch/r.csv" >"$scratch/b"
same "$scratch/a" "$scratch/b" "called again"
has err "report.html"
sed 's/"settings": \[/&{"name": "full again"}, /' "$scratch/config.json" >"$scratch/more.json"
run 0 report "$nano" --config "$scratch/more.json" --work "$work" --markdown "$scratch/r.md" --html "$scratch/r.html" --quiet
empty out
[ "$(grep -c '^| .*| .*|' "$scratch/r.md")" -eq 8 ] || fail "three settings were expected"

# What is wrong in a file is named; a measurement that fails ends the report with its command.
refused() { # refused TEXT JSON
    printf '%s' "$2" >"$scratch/bad.json"
    run 1 report "$nano" --config "$scratch/bad.json" --work "$work"
    has err "$1"
    one_sentence
}
refused "line 1" '{"settings"'
refused 'no member "setings"' '{"setings": []}'
refused '"settings" are missing' '{"texts": ["text.txt"]}'
refused '"texts" are missing' '{"settings": [{"name": "a"}]}'
refused 'must be a text that is not empty' '{"texts": ["a"], "settings": [{"flags": []}]}'
refused 'is the name of two settings' '{"texts": ["a"], "settings": [{"name": "a"}, {"name": "a"}]}'
refused 'must be an array of texts' '{"texts": ["a"], "settings": [{"name": "a", "flags": "--k 2"}]}'
refused 'tables cannot show' '{"texts": ["a"], "settings": [{"name": "a", "flags": ["--k", "<2>"]}]}'
refused 'a number from 0 to 1000' '{"texts": ["a"], "rounds": -1, "settings": [{"name": "a"}]}'
sed 's/"--k", "2"/"--k", "99"/' "$scratch/config.json" >"$scratch/fails.json"
run 1 report "$nano" --config "$scratch/fails.json" --work "$work" --quiet
has err "the command was: sluice eval ppl"
run 2 report "$nano"
has err "needs --config"
run 1 report "$nano" --config "$scratch/absent.json"
has err "absent.json"
passed

# "sluice chat" on a terminal (a pseudo terminal of util-linux's script): the prompt, editing, Ctrl-C, history, Ctrl-D.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
warm
command -v script >/dev/null || { echo "SKIPPED: script (util-linux) is missing"; exit 77; }

mkfifo "$scratch/keys"
start() { # start OPTIONS...: a chat on a terminal; its screen is $scratch/screen, keys go to fd 3
    : >"$scratch/screen"
    TERM=xterm script -qefc "'$SLUICE' chat '$nano' --seed 1 $*" "$scratch/screen" <"$scratch/keys" >/dev/null 2>&1 &
    child=$!
    exec 3>"$scratch/keys"
    wait_for "$scratch/screen" "/help lists commands"
    wait_for "$scratch/screen" "> "
    echo >>"$scratch/checks"
}
keys() { printf "$@" >&3; }
asked() { # asked TEXT: TEXT was shown, and the chat waits for a line again
    wait_for "$scratch/screen" "$1"
    tries=0
    until [ "$(tail -c 2 "$scratch/screen")" = "> " ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "no prompt after '$1': $(tail -c 400 "$scratch/screen")"
        sleep 0.05
    done
}
finish() { # finish STATUS: waits for the chat to end by itself
    exec 3>&-
    status=0
    wait "$child" || status=$?
    [ "$status" -eq "$1" ] || fail "status $status: $(tail -c 400 "$scratch/screen")"
}

# An answer; then backspace and history: the line is typed wrong, mended, and called up again.
start --think off --temp 0
keys 'What is the capital of Italx\177y?\r'
asked Rome
keys '/new\r'
asked "a new conversation"
keys '\033[A\033[A\r'
tries=0
until [ "$(grep -ao Rome "$scratch/screen" | wc -l)" -ge 2 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "the history did not bring the question back"
    sleep 0.05
done
asked Rome
# Ctrl-C while typing drops the line and stays.
keys 'half a line\003'
wait_for "$scratch/screen" "Ctrl-D or /quit leaves"
keys '/stats\r'
wait_for "$scratch/screen" "tok/s"
keys '\004'
finish 0
grep -q 'capital.*of.*Italy' "$XDG_STATE_HOME/sluice/chat_history" || fail "no history was kept"
[ "$(stat -c %a "$XDG_STATE_HOME/sluice/chat_history")" = 600 ] || fail "others may read the history"

# Ctrl-C stops an answer, here one that is slow enough, and not the program: the next question is answered.
start --think on --temp 0 --presence 0 --cpu scalar --threads 1 --cache 1M
keys 'Peter has 3 boxes with 37 pencils each and 15 loose pencils. How many pencils are there in total?\r'
wait_for "$scratch/screen" "boxes hold"
keys '\003'
wait_for "$scratch/screen" "stopped"
keys '/stats\r'
wait_for "$scratch/screen" "tok/s"
keys '/think off\r'
wait_for "$scratch/screen" "thinking is off"
keys 'What is the capital of France?\r'
wait_for "$scratch/screen" Paris
keys '/quit\r'
finish 0
passed

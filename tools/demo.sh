#!/bin/sh
# Asks the bundled model one question. tools/demo.sh [path of sluice]
set -eu
cd "$(dirname "$0")/.."
sluice=${1:-build/sluice}
question='Sam had 12 apples, found 30 more and then lost 5. How many apples does Sam have now?'
request=$(mktemp)
trap 'rm -f "$request"' EXIT
printf '{"messages": [{"role": "user", "content": "%s"}], "add_generation_prompt": true, "enable_thinking": true}\n' "$question" >"$request"

cat <<TEXT
Nano (models/nano): a mixture-of-experts model of the Qwen3.5 architecture, 57M weights, 8 layers of 64 experts, 8 of them at work per token.
Its experts stay on disk and are streamed through a cache of 4 MB; that is how sluice runs models far larger than memory.
It thinks first, as far as </think>, and then answers.

> $question

TEXT
"$sluice" run models/nano --cache 4M --chat "$request" -n 200 --temp 0

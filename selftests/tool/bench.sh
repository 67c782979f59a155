#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that bench measures what it says and overwrites nothing that is not its
# own: every engine that works here comes with its I/Os, what it leaves is an
# image, other files and devices stay as they are, a file that it made is gone
# afterwards, also when it is interrupted. How fast anything is, is not tested.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

scratch=$T/scratch
small=(--size 2M --rounds 1)

# value FILTER: of the JSON of the last run
value()
{
	jq -r "$1" "$T/out"
}

run bench --target "$scratch" "${small[@]}" --json --engine pwrite
[ "$status" -eq 0 ] && [ "$(value '.[] | select(.case == "full" and
	.engine == "pwrite") | "\(.ios) \(.bytes)"')" = "2 2097152" ]
result $? "all pages in I/Os of 1 MiB"
[ "$(value '.[] | select(.case == "scatter25" and .engine == "pwrite") |
	"\(.ios) \(.bytes)"')" = "128 524288" ]
result $? "every fourth page, each an I/O"
[ "$(value 'all(.[]; .nsec > 0 and .bytes > 0 and .ios > 0)')" = true ]
result $? "everything took time"
[ ! -e "$scratch" ]
result $? "the file is gone"
if command -v fio >/dev/null; then
	[ "$(value '[.[] | select(.engine == "fio") | "\(.case) \(.ios) \(.bytes)"] |
		join(", ")')" = "full 2 2097152, scatter25 128 524288" ]
	result $? "fio does the same I/Os"
else
	skip "fio does the same I/Os" "no fio"
fi

mkdir "$T/bin"
printf '#!/bin/sh\necho "bad weather" >&2\necho "go home" >&2\nexit 1\n' >"$T/bin/fio"
chmod +x "$T/bin/fio"
PATH=$T/bin:$PATH run bench --target "$scratch" "${small[@]}" --engine pwrite
[ "$status" -eq 0 ] && [ "$(cat "$T/err")" = \
	"mapped-ram: warning: fio failed on $scratch: bad weather" ]
result $? "an fio that fails is a warning of one line"
# As a shell exits that does not find what it is to run.
printf '#!/bin/sh\nnowhere\n' >"$T/bin/fio"
PATH=$T/bin:$PATH run bench --target "$scratch" "${small[@]}" --engine pwrite
[ "$status" -eq 0 ] &&
	grep -q "^mapped-ram: warning: fio failed on $scratch: .*not found" "$T/err"
result $? "also where something else is not found"
# All that the shell itself needs to run the tool.
PATH=$T/none run bench --target "$scratch" "${small[@]}" --engine pwrite
[ "$status" -eq 0 ] && [ "$(cat "$T/err")" = \
	"mapped-ram: warning: fio is not installed: its figures are left out" ]
result $? "that there is none is another"

run bench --target "$scratch" "${small[@]}" --engine pwrite --bridge 3 \
	--max-extent 64K --json
[ "$(value '[.[] | select(.engine == "pwrite") | .ios] | join(" ")')" = "32 32" ]
result $? "bridges and the largest I/O are heeded"
[ "$(value '[.[] | select(.engine == "pwrite") | .bridge] | join(" ")')" = "3 3" ]
result $? "and said"
# 128 scattered I/Os tell what one costs, and some of them must be joined.
run bench --target "$scratch" "${small[@]}" --engine pwrite --bridge auto --json
[ "$status" -eq 0 ] && [ "$(value '[.[] | select(.engine == "pwrite" and
	.case == "scatter25" and .ios < 128)] | length')" -eq 1 ]
result $? "bridges are chosen"

run bench --target "$scratch" "${small[@]}" --engine pwrite --keep
[ "$status" -eq 0 ] && [ "$(head -n 1 "$T/out" | xargs)" = \
	"case engine I/Os s MB/s I/Os/s CPU ns/page" ]
result $? "a table"
run verify "$scratch"
went_well
result $? "what it leaves can be read"
run bench --target "$scratch" "${small[@]}" --engine pwrite
[ "$status" -eq 0 ] && [ -e "$scratch" ]
result $? "its own file is used again, and stays"

# One line where it fails, however much was left out before.
if [ -e /dev/mapped_ram ]; then
	skip "the module alone is asked for" "it is there"
	skip "the module is left out" "it is there"
else
	fails 1 '/dev/mapped_ram' "the module alone is asked for, and not there" \
		bench --target "$T/none" "${small[@]}" --engine module
	run bench --target "$T/none" "${small[@]}" --json
	[ "$status" -eq 0 ] && [ "$(grep -c 'warning: module left out: ' "$T/err")" -eq 1 ]
	result $? "the module is left out, which is said once"
fi
if [ -w /dev/full ]; then
	ran="mapped-ram bench >/dev/full" status=0
	: >"$T/out"
	"$TOOL" bench --target "$T/none" "${small[@]}" >/dev/full \
		2>"$T/err" || status=$?
	failed_with 1 'cannot write the output'
	result $? "output that cannot be written"
fi
[ ! -e "$T/none" ]
result $? "none of them leaves a file"

memory "$T/other" 1024 other
cp "$T/other" "$T/copy"
fails 1 'is not a file that bench has left' "other files are refused" \
	bench --target "$T/other" "${small[@]}"
cmp -s "$T/other" "$T/copy"
result $? "and stay as they are"
fails 1 'is not a file that bench has left' "--force or not" \
	bench --target "$T/other" "${small[@]}" --force
run save --region "ram=$T/other" "$T/image"
cp "$T/image" "$T/copy"
fails 1 'is not a file that bench has left' "images of machines are refused" \
	bench --target "$T/image" "${small[@]}"
cmp -s "$T/image" "$T/copy"
result $? "and stay as they are"
fails 1 'is not a file that bench has left' "a directory is refused" \
	bench --target "$T" "${small[@]}"

if [ -n "${MRAM_TEST_BLKDEV:-}" ]; then
	fails 1 'is a block device; --force' "devices are refused" \
		bench --target "$MRAM_TEST_BLKDEV" "${small[@]}"
	run bench --target "$MRAM_TEST_BLKDEV" "${small[@]}" --force
	[ "$status" -eq 0 ]
	result $? "unless one says --force"
else
	skip "devices" "no MRAM_TEST_BLKDEV"
fi

# Endless, if it were not for the signal.
rm -f "$scratch"
"$TOOL" bench --target "$scratch" --size 2M --rounds 1000 --engine pwrite \
	>"$T/out" 2>"$T/err" </dev/null &
pid=$!
until [ -s "$scratch" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
kill -TERM $pid
status=0
wait $pid || status=$?
ran="bench, and SIGTERM"
[ $status -eq 143 ] && [ ! -e "$scratch" ] && grep -q interrupted "$T/err"
result $? "interrupted, it takes its file away"

tap_end

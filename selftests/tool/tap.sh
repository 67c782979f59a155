# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the tests of the tool share: TAP, running the tool, memory to save.
# Sourced, never run.
#
#   TOOL            the binary (build/user/mapped-ram, or what is installed)
#   MRAM_TEST_DIR   where to work (a directory in $TMPDIR or /tmp)
#   MRAM_TEST_BLKDEV  a block device that may be overwritten; without it what
#                   needs one is skipped
#
# What goes wrong in a test is shown behind its line. A script that ends before
# tap_end prints no plan, and so fails as a whole.
set -u
export LC_ALL=C
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
PATH=$PATH:/usr/sbin:/sbin
built=$HERE/../../build/user/mapped-ram
[ -x "$built" ] || built=$(command -v mapped-ram)
TOOL=$(readlink -f "${TOOL:-$built}")

if [ ! -x "$TOOL" ]; then
	echo "TAP version 13"
	echo "Bail out! no tool at $TOOL; make builds it, or set TOOL"
	exit 1
fi

# Sanitizers: a leak is a failure like any other, with a status of its own.
export ASAN_OPTIONS="exitcode=99:detect_leaks=1:handle_sigbus=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="halt_on_error=1:exitcode=99${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

T=$(mktemp -d "${MRAM_TEST_DIR:-${TMPDIR:-/tmp}}/mapped-ram-tool.XXXXXX") || exit 1
S=$(mktemp -d /dev/shm/mapped-ram-tool.XXXXXX) || exit 1
tap_number=0
tap_failed=0
tap_cleanup=()

unmount()
{
	umount "$1" 2>/dev/null || true
}

tap_exit()
{
	local command

	for command in "${tap_cleanup[@]}"; do
		$command
	done
	rm -rf "$T" "$S"
}
trap tap_exit EXIT
trap 'exit 1' INT TERM HUP

echo "TAP version 13"

# result STATUS DESCRIPTION: one line of TAP, and what was seen if it is bad
result()
{
	tap_number=$((tap_number + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tap_number $2"
		return 0
	fi
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_number $2"
	echo "# ran: ${ran:-nothing}"
	echo "# status: ${status:-}"
	sed 's/^/# stdout: /' "$T/out" 2>/dev/null | head -n 20
	sed 's/^/# stderr: /' "$T/err" 2>/dev/null | head -n 20
	return 0
}

skip()
{
	tap_number=$((tap_number + 1))
	echo "ok $tap_number # SKIP $1: $2"
}

tap_end()
{
	echo "1..$tap_number"
	echo "# $((tap_number - tap_failed)) of $tap_number good"
	[ "$tap_failed" -eq 0 ] || exit 1
	exit 0
}

# In what follows nothing is started but the tool: the test machine is emulated
# where there is no KVM, and then a process takes long to start.

# run ARGUMENT...: the tool; its output is in $T/out and $T/err
run()
{
	printf -v ran '%q ' mapped-ram "$@"
	status=0
	"$TOOL" "$@" >"$T/out" 2>"$T/err" </dev/null || status=$?
}

# The last run failed as promised: this status, nothing on stdout, one line on
# stderr that begins with the tool's name and matches the pattern.
failed_with()
{
	local lines

	mapfile -t lines <"$T/err"
	[[ $status -eq $1 && ! -s $T/out && ${#lines[@]} -eq 1 &&
		${lines[0]} =~ ^mapped-ram[:\ ] && ${lines[0]} =~ $2 ]]
}

# The last run was good, and stderr is empty.
went_well()
{
	[ "$status" -eq 0 ] && [ ! -s "$T/err" ]
}

# fails STATUS PATTERN DESCRIPTION ARGUMENT...
fails()
{
	local want=$1 pattern=$2 name=$3

	shift 3
	run "$@"
	failed_with "$want" "$pattern"
	result $? "$name"
}

# works DESCRIPTION ARGUMENT...
works()
{
	local name=$1

	shift
	run "$@"
	went_well
	result $? "$name"
}

# fill PATH FIRST COUNT SEED: pages that are all different
fill()
{
	seq -f "$4 %.0f" 1 $(($3 * 1024)) | head -c $(($3 * 4096)) |
		dd of="$1" bs=4096 seek="$2" conv=notrunc iflag=fullblock \
			status=none
}

# zero PATH FIRST COUNT: pages that are there and zero
zero()
{
	dd if=/dev/zero of="$1" bs=4096 seek="$2" count="$3" conv=notrunc \
		status=none
}

# memory PATH PAGES SEED: from 1024 pages on; holes, runs, single pages, zero
# pages, the first and the last page. 400 of its pages are neither zero nor
# missing.
memory()
{
	local path=$1 pages=$2 seed=$3 i

	truncate -s $((pages * 4096)) "$path"
	fill "$path" 0 1 "$seed"
	fill "$path" 3 2 "$seed a"
	fill "$path" 64 300 "$seed b"
	zero "$path" 100 10
	zero "$path" 500 40
	for i in 600 602 604 606 608 610; do
		fill "$path" $i 1 "$seed $i"
	done
	fill "$path" 700 100 "$seed c"
	fill "$path" $((pages - 1)) 1 "$seed d"
}

# cached PATH: how many of a file's pages are in the page cache
cached()
{
	fincore -n -b -o PAGES "$1" | tr -d ' '
}

# Does direct I/O work on files in this directory?
can_direct()
{
	local file=$1/direct-probe ret=0

	dd if=/dev/zero of="$file" bs=4096 count=1 oflag=direct status=none \
		2>/dev/null || ret=1
	[ $ret -ne 0 ] || [ "$(cached "$file")" = 0 ] || ret=1
	rm -f "$file"
	return $ret
}

# The engines to try: the module's only where it is loaded.
engines()
{
	[ ! -e /dev/mapped_ram ] || echo module
	echo uring
	echo pwrite
}

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: demo.sh [DISK [ENGINE]]
#
# The demonstration that `make demo` runs inside the test machine: saves a
# running KVM guest to an image on a fresh xfs file system, looks at the image,
# restores the guest in another process, and ends with a table of what
# happened. Exit status 0 only when all of it is right.
#
# Overwrites DISK (/dev/vda), so it refuses to run outside the test machine.
# ENGINE is module unless said otherwise.
set -eu

disk=${1:-/dev/vda}
engine=${2:-module}
here=$(dirname "$(readlink -f "$0")")
build=${BUILD:-$here/../../build/user}
PATH=$PATH:/usr/sbin:/sbin

die()
{
	echo "demo: $*" >&2
	exit 1
}

# title WORDS...: a heading
title()
{
	printf '\n=== %s\n\n' "$*"
}

# step COMMAND...: show it, by the program's name alone, and run it
step()
{
	echo "\$ ${1##*/} ${*:2}" | fold -s -w 76 |
		sed -e '$!s/$/\\/' -e '2,$s/^/    /'
	"$@" || die "that failed (exit status $?)"
}

[ -n "${MAPPED_RAM_VM:-}" ] ||
	die "this overwrites $disk: run it in the test machine, with make demo"
{ [ -x "$build/minivmm" ] && [ -x "$build/mapped-ram" ]; } ||
	die "minivmm and mapped-ram are not built: make"
[ "$engine" != module ] || [ -e /dev/mapped_ram ] ||
	die "the module mapped_ram is not loaded"

work=$(mktemp -d)
trap 'cd /; umount -q "$work/disk" || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/disk"
{ mkfs.xfs -q -f "$disk" && mount -t xfs "$disk" "$work/disk"; } ||
	die "no xfs on $disk"
# Short names make readable commands
cd "$work/disk"

title "1. Save a guest to disk while it runs (Linux $(uname -r), xfs)"
cat <<-'END'
	minivmm starts a KVM guest whose program writes to its memory all the time.
	Each pass writes the pages that the guest changed since the pass before; for
	the last one the guest stands still. (The dump is a plain copy of the memory
	at that moment, to compare with later.)

END
step "$build/minivmm" --engine "$engine" --image vm.img --dump vm.dump \
	--json save.json save-live

title "2. Look at the image"
step "$build/mapped-ram" info vm.img
echo
step "$build/mapped-ram" verify vm.img

title "3. Restore the guest in a new process, and let it go on"
step "$build/minivmm" --engine "$engine" --image vm.img --dump vm.dump \
	--json restore.json restore

# ------------------------------------------------------------------- results

# get FILE KEY: one value of minivmm's results, which stand one on a line
get()
{
	sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1"
}

pass_table()
{
	sed -n 's/[{}",:]//g; s/^ *running //p' save.json | awk '
		BEGIN {
			print "pass  guest       dirty  written     zero  bridged   I/Os      MB"
		}
		# true buffered B dirty N written N zero N bridged N ios N bytes N ...
		{
			printf "%4d  %-8s %8d %8d %8d %8d %6d %7.1f\n", NR,
				$1 == "true" ? "runs" : "stopped",
				$5, $7, $9, $11, $13, $15 / 1e6
		}'
}

wrong=0

# fact NAME OK WORDS...: a line of the result; OK is the exit status of a check
fact()
{
	local mark=ok

	if [ "$2" -ne 0 ]; then
		mark=WRONG
		wrong=1
	fi
	printf '%-34s %-36s %s\n' "$1" "${*:3}" "$mark"
}

# same A B: a status that tells whether two values are there and equal
same()
{
	{ [ -n "$1" ] && [ "$1" = "$2" ]; } || return 1
}

check()
{
	local status=0

	"$@" || status=$?
	echo $status
}

cached=$(get save.json cached_pages)
before=$(get save.json counter)
after=$(get restore.json counter_after)
different=$(get restore.json dump_different_pages)
bytes=$(stat -c %s vm.dump)

title "Result"
pass_table
echo
fact "engine" "$(check same "$(get save.json engine)" "$engine")" \
	"$(get save.json engine)"
fact "downtime" "$(check [ "$(get save.json downtime_nsec)" -gt 0 ])" \
	"$(get save.json downtime_nsec | awk '{ printf "%.1f ms", $1 / 1e6 }')"
fact "the image in the page cache" "$(check same "$cached" 0)" "$cached pages"
fact "memory compared after the restore" "$(check same "$different" 0)" \
	"$([ "$different" = 0 ] && echo "equal, all $bytes bytes" ||
		echo "$different pages differ")"
fact "the guest's counter, at the stop" "$(check [ "$before" -gt 12000 ])" \
	"$before"
fact "  as restored" "$(check same "$(get restore.json counter)" "$before")" \
	"$(get restore.json counter)"
fact "  when it has gone on" "$(check [ "$after" -gt "$before" ])" "$after"
fact "errors that the guest found" \
	"$(check same "$(get restore.json guest_errors)" 0)" \
	"$(get restore.json guest_errors)"
fact "pages not as the model says" \
	"$(check same "$(get restore.json model_wrong_pages_after)" 0)" \
	"$(get restore.json model_wrong_pages_after)"
echo
[ $wrong -eq 0 ] || die "something is wrong, see above"
echo "All is right: the guest was saved while it ran, and went on where it was."

# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the tests with minivmm share: TAP, a scratch disk, reading the results.
# Sourced, never run. Set BUILD when the programs are not where the project's
# Makefile puts them.

here=$(dirname "$(readlink -f "$0")")
BUILD=${BUILD:-$here/../../build/user}
minivmm=$BUILD/minivmm
tool=$BUILD/mapped-ram
PATH=$PATH:/usr/sbin:/sbin

# What a guest of 64 MiB has, with the firmware; its steps before and after.
pages=16391
warm_up=4000
run=1000

tests=0
failures=0
work=
mounted=
huge_pages=

# ---------------------------------------------------------------------- TAP

skip_all()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

# ok STATUS NAME: a result; what stands in $work/log explains a failure
ok()
{
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests $2"
		return
	fi
	failures=$((failures + 1))
	[ ! -s "$work/log" ] || sed 's/^/# /' "$work/log"
	echo "not ok $tests $2"
}

skip()
{
	tests=$((tests + 1))
	echo "ok $tests $1 # SKIP $2"
}

# wrong WORDS...: note in the log what is not as it should be
wrong()
{
	echo "WRONG: $*" >>"$work/log"
	return 1
}

finish()
{
	echo "1..$tests"
	[ $failures -eq 0 ]
	exit
}

# ------------------------------------------------------------------ places

# huge_pages NUMBER: have so many, until the end
huge_pages()
{
	huge_pages=$(cat /proc/sys/vm/nr_hugepages)
	echo "$1" >/proc/sys/vm/nr_hugepages
}

clean_up()
{
	[ -z "$huge_pages" ] || echo "$huge_pages" >/proc/sys/vm/nr_hugepages
	[ -z "$mounted" ] || umount "$mounted"
	[ -z "$work" ] || rm -rf "$work"
}

# start: check what is needed; makes $work. Everything big goes to $disk, which
# must hold nothing: so only in the test machine, or where the user names one.
start()
{
	disk=${MAPPED_RAM_DISK:-}
	[ -n "$disk" ] || [ -z "${MAPPED_RAM_VM:-}" ] || disk=/dev/vda
	[ "$(id -u)" -eq 0 ] || skip_all "must be root"
	[ -b "$disk" ] ||
		skip_all "no scratch disk: MAPPED_RAM_DISK names one to be overwritten"
	[ -w /dev/kvm ] || skip_all "no /dev/kvm"
	{ [ -x "$minivmm" ] && [ -x "$tool" ]; } ||
		skip_all "no minivmm and mapped-ram in $BUILD"
	work=$(mktemp -d /dev/shm/minivmm.XXXXXX)
	trap clean_up EXIT
	trap 'exit 1' INT TERM HUP
	echo "TAP version 13"
}

# place KIND: a fresh file system, or the bare disk; sets $image and $dump
place()
{
	local force=-f

	[ -z "$mounted" ] || umount "$mounted"
	mounted=
	dump=$work/dump
	image=$disk
	[ "$1" != raw ] || return 0
	[ "$1" != ext4 ] || force=-F
	mkdir -p "$work/mnt"
	{ "mkfs.$1" -q $force "$disk" && mount -t "$1" "$disk" "$work/mnt"; } \
		>>"$work/log" 2>&1 || return 1
	mounted=$work/mnt
	image=$mounted/image
}

# The engine module is there only when the module is
have_engine()
{
	[ "$1" != module ] || [ -e /dev/mapped_ram ]
}

# ----------------------------------------------------------------- running

# Emulated machines are slow, but nothing here takes minutes.
run()
{
	echo "\$ minivmm $*" >>"$work/log"
	timeout 300 "$minivmm" "$@" >>"$work/log" 2>&1
}

save()
{
	rm -f "$work/save.json"
	run --image "$image" --dump "$dump" --json "$work/save.json" "$@" save-live
}

restore()
{
	rm -f "$work/restore.json"
	run --image "$image" --dump "$dump" --json "$work/restore.json" "$@" restore
}

# value FILE KEY: a number or string of a result; passes FILE KEY: one a line
value()
{
	sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" \
		"$work/$1.json"
}

passes()
{
	sed -n "s/^    { .*\"$1\": \([^, ]*\).*/\1/p" "$work/save.json"
}

# is FILE KEY OPERATOR NUMBER
is()
{
	local got

	got=$(value "$1" "$2")
	{ [ -n "$got" ] && test "$got" "$3" "$4"; } ||
		wrong "$1: $2 is '$got', expected $3 $4"
}

# check_save BRIDGE [scan]: the scan tracker needs no page marked beforehand, so
# the first pass meets what the guest has used
check_save()
{
	local bridge=$1 op=-eq sum=0 n bad=0

	is save guest_errors -eq 0 || bad=1
	is save model_wrong_pages -eq 0 || bad=1
	is save counter -gt "$warm_up" || bad=1
	# A file system that cannot write directly says so; then pages are cached
	passes buffered | grep -q true ||
		is save cached_pages -eq 0 || bad=1

	[ "$(passes running | head -n 1)" = true ] &&
		[ "$(passes running | tail -n 1)" = false ] ||
		wrong "not live passes and one stopped" || bad=1
	[ -z "${2:-}" ] || op=-le
	test "$(passes dirty | head -n 1)" "$op" "$pages" ||
		wrong "the first pass met not all $pages pages, or more" || bad=1
	[ "$(passes dirty | sed -n 2p)" -gt 0 ] ||
		wrong "the guest dirtied nothing meanwhile" || bad=1
	for n in $(passes bridged); do
		sum=$((sum + n))
	done
	if [ "$bridge" -eq 0 ]; then
		[ "$sum" -eq 0 ] || wrong "$sum pages bridged without --bridge" || bad=1
	else
		[ "$sum" -gt 0 ] || wrong "no pages bridged" || bad=1
	fi
	paste <(passes dirty) <(passes written) <(passes zero) |
		awk '$1 != $2 + $3 { exit 1 }' ||
		wrong "a pass lost pages: dirty is not written + zero" || bad=1
	return $bad
}

check_restore()
{
	local counter bad=0

	counter=$(value save counter)
	is restore dump_different_pages -eq 0 || bad=1
	is restore model_wrong_pages -eq 0 || bad=1
	is restore model_wrong_pages_after -eq 0 || bad=1
	is restore guest_errors -eq 0 || bad=1
	is restore counter -eq "$counter" || bad=1
	is restore counter_after -ge $((counter + run)) || bad=1
	return $bad
}

verify()
{
	"$tool" verify "$image" >>"$work/log" 2>&1 || wrong "verify: $?"
}

# flip FILE OFFSET: change a byte
flip()
{
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "\\0$(printf %o $((byte ^ 0x55)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc,fsync status=none
}

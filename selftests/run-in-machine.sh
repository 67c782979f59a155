#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: run-in-machine.sh [TEST]...
#
# Runs the kselftests (all, or those named) with the kselftest runner, inside
# the test machine: `make -C selftests/mapped_ram suite` has built them,
# selftests/vm/run starts this. TAP goes to standard output and into the
# shared build directory; at the end stands the sum of all.
#
# Fails when a test failed, when one was skipped that selftests/allowed-skips
# does not name, and when there was no test.
#
#   MRAM_TEST_DIR, MRAM_TEST_BLKDEV   where to test; by default the scratch
#                                     disks, the first with $MRAM_TEST_FS (ext4)
#   MRAM_TEST_KO                      the module (build/kmod-KERNEL)
#   MRAM_SEED                         repeats the random choices of a run
set -eu

here=$(dirname "$(readlink -f "$0")")
project=$(readlink -f "$here/..")
suite=$project/build/selftests
kernel=${MAPPED_RAM_VM:-$(uname -r)}
log=$suite/mapped_ram-$kernel.tap
PATH=$PATH:/usr/sbin:/sbin

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# The scratch disks say which they are; nothing else may be overwritten.
scratch_disk()
{
	local disk

	for disk in /sys/block/vd*; do
		if [ "$(cat "$disk/serial" 2>/dev/null)" = "scratch$1" ]; then
			echo "/dev/${disk##*/}"
			return 0
		fi
	done
	return 1
}

if [ -z "${MRAM_TEST_DIR:-}" ]; then
	disk=$(scratch_disk 0) || die "no scratch disk, and no MRAM_TEST_DIR"
	fs=${MRAM_TEST_FS:-ext4}
	force=-F
	[ "$fs" = ext4 ] || force=-f
	"mkfs.$fs" -q $force "$disk"
	MRAM_TEST_DIR=$(mktemp -d)
	mount -t "$fs" "$disk" "$MRAM_TEST_DIR"
	trap 'umount "$MRAM_TEST_DIR" || true' EXIT
fi
if [ -z "${MRAM_TEST_BLKDEV:-}" ]; then
	MRAM_TEST_BLKDEV=$(scratch_disk 1) ||
		die "no second scratch disk, and no MRAM_TEST_BLKDEV"
fi
: "${MRAM_TEST_KO:=$project/build/kmod-$kernel/mapped_ram.ko}"
: "${MRAM_SEED:=$(date +%s)}"
export MRAM_TEST_DIR MRAM_TEST_BLKDEV MRAM_TEST_KO MRAM_SEED

[ -x "$suite/run_kselftest.sh" ] || die "no suite built in $suite"
[ -e /dev/mapped_ram ] || die "the module is not loaded"

tests=()
for test in "$@"; do
	tests+=(-t "mapped_ram:$test")
done
[ ${#tests[@]} -gt 0 ] || tests=(-c mapped_ram)

echo "# kernel $(uname -r), MRAM_SEED=$MRAM_SEED"
"$suite/run_kselftest.sh" "${tests[@]}" 2>&1 | tee "$log"

# A program's own tests stand in its output behind "# ", and one that dies
# before its last test has no more of them: so programs count, too.
awk -v kernel="$kernel" -v allowed_file="$here/allowed-skips" '
	function allowed(id,   i, parts)
	{
		for (i = 0; i < nr_allowed; i++) {
			split(allow[i], parts, " ")
			if (kernel ~ "^(" parts[1] ")$" &&
			    id ~ "^(" parts[2] ")$")
				return 1
		}
		return 0
	}
	BEGIN {
		while ((getline line <allowed_file) > 0)
			if (line !~ /^(#|$)/)
				allow[nr_allowed++] = line
	}
	/^# selftests: / {
		program = $NF
		next
	}
	/^# 1[.][.][0-9]+/ {
		planned += substr($2, 4)
		next
	}
	/^# (not )?ok [0-9]+ / {
		sub(/^# /, "")
		id = $0
		sub(/^(not )?ok [0-9]+ (- )?/, "", id)
		sub(/ *#.*/, "", id)
		if (/^not ok/) {
			fail++
			print "failed: " program " " id
		} else if (/# SKIP/) {
			why = $0
			sub(/.*# SKIP */, "", why)
			if (allowed(id)) {
				skip_allowed++
			} else {
				skip++
				print "skipped: " program " " id ": " why
			}
		} else {
			pass++
		}
		next
	}
	/^ok [0-9]+ / {
		programs++
		next
	}
	/^not ok [0-9]+ / {
		bad++
		print "failed: program " $5 " " $6 " " $7 " " $8
	}
	END {
		ran = pass + fail + skip + skip_allowed
		if (ran < planned)
			print "not run: " planned - ran " tests"
		printf "programs: %d passed, %d failed\n", programs, bad
		printf "tests: %d passed, %d failed, %d skipped, %d skipped as allowed\n",
			pass, fail, skip, skip_allowed
		exit !(pass && ran >= planned && !fail && !bad && !skip)
	}
' "$log"

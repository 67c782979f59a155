#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: user-in-machine.sh [TEST]...
#
# Inside the test machine, with the module loaded: the tests of the engines, of
# lazy restores with this kernel's userfaultfd, of the tool as far as the module
# matters, and with a real KVM guest; or those that are named, engines/huge or
# minivmm/live.sh. All were built before. TAP comes out.
set -u
here=$(dirname "$(readlink -f "$0")")
project=$(readlink -f "$here/..")
PATH=$PATH:/usr/sbin:/sbin

[ -e /dev/mapped_ram ] || { echo "Bail out! the module is not loaded"; exit 1; }
MRAM_TEST_DIR=$(mktemp -d)
mkfs.ext4 -q -F /dev/vda && mount /dev/vda "$MRAM_TEST_DIR" || exit 1
trap 'umount "$MRAM_TEST_DIR"' EXIT
export MRAM_TEST_DIR MRAM_TEST_BLKDEV=/dev/vdb
export SHARED=$project/build/user/libmappedram.so
export HEADER=$project/include/mappedram.h

programs=()
guests=()
if [ $# -gt 0 ]; then
	for name; do
		case $name in
		minivmm/*) guests+=("$here/$name") ;;
		*.sh) programs+=("$here/$name") ;;
		*) programs+=("$project/build/selftests/$name") ;;
		esac
	done
else
	# Of the lazy restores what another kernel may do differently, and is
	# quick.
	for source in "$here"/engines/*.c \
		"$here"/lazy/{behind,blocks,control,discard,disk,fail,gaps}.c \
		"$here"/lazy/{interrupted,named,parallel,process,stall}.c; do
		! grep -q '^TEST_HARNESS_MAIN' "$source" ||
			programs+=("$project/build/selftests/${source:${#here}+1:-2}")
	done
	# Without progress.sh, which knows nothing of the module.
	programs+=("$here"/tool/{refuse,roundtrip,trouble,bench}.sh)
	guests=("$here"/minivmm/{live,refuse,restore,scan}.sh)
fi
status=0
echo 40 >/proc/sys/vm/nr_hugepages
[ ${#programs[@]} -eq 0 ] || "$here/lib/run-all" "${programs[@]}" || status=1
echo 0 >/proc/sys/vm/nr_hugepages
umount "$MRAM_TEST_DIR"
trap - EXIT
# These make their own file systems on the scratch disks.
unset MRAM_TEST_DIR MRAM_TEST_BLKDEV
[ ${#guests[@]} -eq 0 ] || "$here/lib/run-all" "${guests[@]}" || status=1
exit $status

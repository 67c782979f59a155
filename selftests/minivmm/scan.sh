#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves, with a real KVM guest that changes its memory all the time, that the
# write protection of our page tables (PAGEMAP_SCAN) tells what the guest wrote,
# without KVM logging anything and without stopping the guest to fetch it: what
# is in the image is the guest's memory at the stop, by the dump, by the model,
# and by the guest, as in live.sh.
set -u
. "$(dirname "$(readlink -f "$0")")/common.sh"

# Enough to have pages of all kinds; live.sh is longer.
warm_up=1500
run=300

start
huge_pages 64

while read -r place ram rate bridge engine; do
	name="$engine, $ram memory, $place, $rate steps a second"
	: >"$work/log"
	if ! have_engine "$engine"; then
		skip "$name" "no /dev/mapped_ram"
		continue
	fi
	place "$place" || { ok 1 "$name"; continue; }
	options=(--tracker scan --engine "$engine" --ram "$ram"
		--bridge "$bridge" --warm-up "$warm_up" --dirty-rate "$rate"
		--max-passes 3)
	if ! save "${options[@]}" && grep -q "this kernel cannot" "$work/log"; then
		skip "$name" "this kernel cannot: no PAGEMAP_SCAN"
		continue
	fi
	check_save "$bridge" scan && verify &&
		restore --engine "$engine" --ram "$ram" --run $run &&
		check_restore
	ok $? "$name"
done <<END
xfs	memfd	1000	8	module
ext4	thp	0	8	uring
xfs	hugetlb	1000	0	pwrite
END
finish

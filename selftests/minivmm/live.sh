#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves, with a real KVM guest that changes its memory all the time, that what
# live passes from KVM's dirty log leave in the image is the guest's memory at
# the stop: byte for byte against what the saving process dumped, against a
# model that is computed from the guest's counter alone, and by the guest
# itself, which goes on in a fresh process. For every engine, kind of memory,
# way of logging, and file system; and that no page of the image is cached.
set -u
. "$(dirname "$(readlink -f "$0")")/common.sh"

start
huge_pages 64

while read -r place ram manual bridge engine back; do
	name="$engine, $ram memory, $place, $manual, bridge $bridge"
	: >"$work/log"
	if ! have_engine "$engine" || ! have_engine "${back%,*}"; then
		skip "$name" "no /dev/mapped_ram"
		continue
	fi
	if ! place "$place"; then
		skip "$name" "no $place here"
		continue
	fi
	options=(--engine "$engine" --ram "$ram" --bridge "$bridge"
		--warm-up "$warm_up")
	[ "$manual" != manual ] || options+=(--manual-protect)
	save "${options[@]}" && check_save "$bridge"
	ok $? "$name: saved"

	: >"$work/log"
	verify && restore --engine "${back%,*}" --ram "${back#*,}" --run $run &&
		check_restore
	ok $? "$name: restored, engine ${back%,*}, ${back#*,} memory"
done <<END
xfs	anon	auto	8	module	module,anon
ext4	memfd	manual	0	module	module,thp
raw	hugetlb	auto	8	module	module,hugetlb
xfs	thp	manual	8	module	uring,memfd
raw	anon	manual	0	module	pwrite,anon
btrfs	memfd	auto	8	module	module,memfd
xfs	memfd	auto	8	uring	uring,memfd
ext4	hugetlb	manual	0	uring	module,anon
raw	thp	auto	8	uring	uring,thp
xfs	hugetlb	manual	0	pwrite	pwrite,hugetlb
ext4	anon	auto	8	pwrite	module,memfd
raw	memfd	manual	8	pwrite	pwrite,anon
END

# A guest that is not held back never gets down to few pages, and is stopped in
# the middle of filling one: torn pages would show here first.
for engine in module uring pwrite; do
	name="$engine, guest at full speed"
	: >"$work/log"
	if ! have_engine $engine || ! place xfs; then
		skip "$name" "not here"
		continue
	fi
	save --engine $engine --dirty-rate 0 --downtime-pages 0 \
		--max-passes 4 &&
		{ [ "$(passes running | wc -l)" -eq 5 ] ||
			wrong "not five passes"; } &&
		check_save 8 && restore --engine $engine --run $run && check_restore
	ok $? "$name"
done
finish

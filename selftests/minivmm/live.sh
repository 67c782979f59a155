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

pages=16391	# 64 MiB and the firmware
warm_up=4000
run=1000

check_save()
{
	local bridge=$1 sum=0 n bad=0

	is save guest_errors -eq 0 || bad=1
	is save model_wrong_pages -eq 0 || bad=1
	is save counter -gt $warm_up || bad=1
	# A file system that cannot write directly says so; then pages are cached
	passes buffered | grep -q true ||
		is save cached_pages -eq 0 || bad=1

	[ "$(passes running | head -n 1)" = true ] &&
		[ "$(passes running | tail -n 1)" = false ] ||
		wrong "not live passes and one stopped" || bad=1
	[ "$(passes dirty | head -n 1)" -eq $pages ] ||
		wrong "the first pass met not all $pages pages" || bad=1
	[ "$(passes dirty | sed -n 2p)" -gt 0 ] ||
		wrong "the guest dirtied nothing meanwhile" || bad=1
	for n in $(passes bridged); do
		sum=$((sum + n))
	done
	if [ "$bridge" -eq 0 ]; then
		[ $sum -eq 0 ] || wrong "$sum pages bridged without --bridge" || bad=1
	else
		[ $sum -gt 0 ] || wrong "no pages bridged" || bad=1
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

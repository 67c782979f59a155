#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves, with a real KVM guest, that it runs before its memory is there, and
# that the memory is right in the end: read on demand and streamed by the
# library in the VMM, or by the tool in another process, for every kind of
# memory. And that clones of one image see nothing of each other, nor the image
# of them.
set -u
. "$(dirname "$(readlink -f "$0")")/common.sh"

run=1000

# What holds for each restore whose guest ran on
check_after()
{
	local bad=0

	is restore model_wrong_pages_after -eq 0 || bad=1
	is restore guest_errors -eq 0 || bad=1
	is restore counter_after -ge $(($(value save counter) + run)) || bad=1
	return $bad
}

check_lazy()
{
	local bad=0

	check_after || bad=1
	is restore failed -eq 0 || bad=1
	is restore existed -eq 0 || bad=1
	is restore cached_pages -eq 0 || bad=1
	return $bad
}

# check_first STEPS KIND: the guest did steps when nearly nothing was there, and
# touched what it needed. Of its few huge pages it may have touched all.
check_first()
{
	local bad=0

	is restore first_steps -ge "$1" || bad=1
	is restore first_read -gt 0 || bad=1
	is restore faults -gt 0 || bad=1
	[ "$2" = hugetlb ] || is restore first_left -gt 0 || bad=1
	[ "$2" = hugetlb ] || is restore streamed -gt 0 || bad=1
	return $bad
}

# by_tool ARGUMENT...: a restore whose memory the tool fills
by_tool()
{
	local socket=$work/socket pid status=0

	timeout 300 "$tool" restore --lazy "$socket" --json "$image" \
		>"$work/lazy.json" 2>>"$work/log" &
	pid=$!
	until [ -S "$socket" ] || ! kill -0 $pid 2>/dev/null; do
		sleep 0.1
	done
	restore --lazy-socket "$socket" "$@" || status=1
	wait $pid || wrong "the tool: $?" || status=1
	[ ! -e "$socket" ] || wrong "the socket is still there" || status=1
	grep -q '"read": *[1-9]' "$work/lazy.json" ||
		wrong "the tool read nothing" || status=1
	return $status
}

# What a look at the image brought into the page cache
forget()
{
	dd if="$image" iflag=nocache count=0 status=none
}

start
huge_pages 64
: >"$work/log"
place xfs && save --warm-up 8000 && is save guest_errors -eq 0
ok $? "a guest to begin with"
cp --sparse=always "$image" "$work/whole"
forget

for ram in anon memfd thp hugetlb; do
	: >"$work/log"
	restore --lazy --lazy-steps 128 --ram $ram --run $run &&
		check_lazy && check_first 128 $ram
	ok $? "$ram: 128 steps before anything is streamed"

	: >"$work/log"
	restore --lazy --ram $ram --run $run --fault-around 1 && check_lazy
	ok $? "$ram: streamed while it runs, without fault-around"

	: >"$work/log"
	by_tool --ram $ram --run $run && check_after &&
		is restore cached_pages -eq 0
	ok $? "$ram: by the tool"
done

# The tool does nothing, and then is no more: nobody waits for ever
: >"$work/log"
"$tool" restore --lazy "$work/socket" "$image" >>"$work/log" 2>&1 &
pid=$!
until [ -S "$work/socket" ] || ! kill -0 $pid 2>/dev/null; do
	sleep 0.1
done
kill -STOP $pid
"$minivmm" --image "$image" --lazy-socket "$work/socket" restore \
	>>"$work/log" 2>&1 &
vmm=$!
# Its second thread listens, when all has been handed over
until ! kill -0 $vmm 2>/dev/null || [ -e /proc/$vmm/task ] &&
	[ "$(find /proc/$vmm/task -mindepth 1 -maxdepth 1 | wc -l)" -gt 1 ]; do
	sleep 0.1
done
kill -KILL $pid
wait $pid 2>/dev/null
! wait $vmm && grep -q "^minivmm: .*ended before all was there" "$work/log"
ok $? "the tool is killed: the VMM says so and ends"
rm -f "$work/socket"

: >"$work/log"
record=$work/set
restore --lazy --lazy-steps 256 --run $run --record "$record" && check_lazy &&
	{ [ -s "$record" ] || wrong "nothing was recorded"; }
ok $? "recorded"
faults=$(value restore faults)
: >"$work/log"
restore --lazy --run $run --working-set "$record" && check_lazy &&
	is restore working_set -gt 0 && is restore faults -lt "$faults"
ok $? "what was recorded comes first, and there are fewer faults"

: >"$work/log"
restore --clone --run $run && check_after &&
	is restore dump_different_pages -eq 0 &&
	is restore model_wrong_pages -eq 0 && is restore held -gt 0 &&
	is restore zero -gt 0 && is restore cached_pages -gt 0
ok $? "a clone, and it says what is cached"

# Two at a time, each of which writes all over its memory
: >"$work/log"
forget
pids=()
for number in 1 2; do
	timeout 300 "$minivmm" --image "$image" --clone --run $((number * run)) \
		--json "$work/clone$number.json" restore \
		>>"$work/log" 2>&1 &
	pids+=($!)
done
status=0
for number in 1 2; do
	wait "${pids[number - 1]}" || wrong "clone $number: $?" || status=1
	is clone$number guest_errors -eq 0 &&
		is clone$number model_wrong_pages_after -eq 0 || status=1
done
ok $status "two clones at a time"

: >"$work/log"
cmp "$image" "$work/whole" >>"$work/log" 2>&1 || wrong "the image changed"
ok $? "the image is as it was after all that"

: >"$work/log"
! run --image "$image" --clone --lazy restore &&
	! run --image "$image" --clone --ram memfd restore &&
	! run --image "$image" --record x restore &&
	! run --image "$image" --lazy save-live &&
	! run --image "$image" --lazy-socket "$work/nowhere" restore
ok $? "wrong command lines are refused"
finish

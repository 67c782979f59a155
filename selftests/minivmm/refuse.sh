#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that the checks of live.sh can fail: one wrong byte in the image, in
# the processor's state, or in the dump is noticed by each check that must
# notice it, and cached pages are counted. And that an image is one only
# between its commit and the next save: never after a kill, never cut short.
set -u
. "$(dirname "$(readlink -f "$0")")/common.sh"

# refused PATTERN: minivmm does not accept the image and says why
refused()
{
	{
		! restore && ! [ -e "$work/restore.json" ] &&
			grep -q "^minivmm: .*$1" "$work/log"
	} || wrong "not refused"
}

# Pages of the low region that are not zero and that the guest can check, as
# numbers: from the dump, so that the image need not be trusted
some_page()
{
	local page

	for page in $(seq 1000 1100); do
		cmp -s -n 4096 -i $((page * 4096)):0 "$dump" /dev/zero ||
			{ echo "$page"; return; }
	done
}

# What stands in the image where, as the tool says: the first block is low
pages_offset()
{
	"$tool" info --json "$image" |
		sed -n 's/.*"pages_offset": *\([0-9]*\).*/\1/p' | head -n 1
}

# kill_in_pass: a save that is killed while its guest runs. The guest is never
# held back, so there is always another pass to run.
kill_in_pass()
{
	local pid output status=0 line

	exec {output}< <(exec "$minivmm" --image "$image" --dirty-rate 0 \
		--downtime-pages 0 --max-passes 100 save-live 2>>"$work/log")
	pid=$!
	while read -r -u "$output" line; do
		[ "${line%runs *}" = "$line" ] || break
	done
	kill -KILL $pid
	wait $pid || status=$?
	exec {output}<&-
	[ $status -eq 137 ] || wrong "it ended with $status before it was killed"
}

start
: >"$work/log"
place xfs || { ok 1 "xfs"; finish; }

kill_in_pass && refused "no image was committed"
ok $? "killed in its passes: no image"

: >"$work/log"
save && restore --run 0
ok $? "the same file saved again: an image"

: >"$work/log"
page=$(some_page)
offset=$(($(pages_offset) + page * 4096 + 1234))
flip "$image" $offset
! restore --run 17000 && is restore dump_different_pages -eq 1 &&
	is restore model_wrong_pages -eq 1 && is restore guest_errors -ge 1
ok $? "one wrong byte in a page: dump, model and guest notice"
flip "$image" $offset

: >"$work/log"
flip "$dump" $((page * 4096 + 1234))
! restore && is restore dump_different_pages -eq 1 &&
	is restore model_wrong_pages -eq 0 && is restore guest_errors -eq 0
ok $? "one wrong byte in the dump: only the comparison notices"
flip "$dump" $((page * 4096 + 1234))

# The section's name, its instance and version, then the registers: the 13th
# is R12, from which the guest derives where it writes next
: >"$work/log"
offset=$(grep -abo 'minivmm/vcpu' "$image" | head -n 1)
offset=$((${offset%%:*} + 12 + 8 + 12 * 8))
flip "$image" $offset
! restore && is restore dump_different_pages -eq 0 &&
	is restore model_wrong_pages -eq 0 && is restore guest_errors -ge 1 &&
	is restore model_wrong_pages_after -ge 1
ok $? "one wrong byte in a register: guest and model notice"
flip "$image" $offset

: >"$work/log"
restore
ok $? "all of it put back: an image"

# The module drops what it finds cached, so another engine restores
: >"$work/log"
dd if="$image" iflag=nocache count=0 status=none	# what flip read
restore && is restore cached_pages -eq 0
status=$?
cat "$image" >/dev/null
[ $status -eq 0 ] && restore --engine pwrite &&
	is restore cached_pages -eq $((($(stat -c %s "$image") + 4095) / 4096))
ok $? "pages of the image in the page cache are counted"

: >"$work/log"
cp --sparse=always "$image" "$work/whole"
truncate -s -1 "$image"
refused ""
ok $? "the last byte cut off: no image"
cp --sparse=always "$work/whole" "$image"
rm "$work/whole"

: >"$work/log"
kill_in_pass && refused "no image was committed"
ok $? "killed while saving onto an image: no image any more"

: >"$work/log"
! save --mem 63 && refused "no image was committed" &&
	! save --engine none && ! save --ram none && ! run save-live &&
	! run --image "$image" && ! run --image /nowhere/image restore &&
	! run --image "$work" save-live
ok $? "wrong command lines are refused"
finish

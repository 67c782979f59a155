#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that what save wrote restore brings back byte for byte, for every
# engine, from files, shared memory and huge pages, to files and to a block
# device; that all engines write the same image; that holes and zero pages are
# neither written nor made; and that the page cache holds no page of the image.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

memory "$T/file" 1024 file
memory "$S/shm" 2048 shm
truncate -s 4M "$S/empty"
sizes=("--region" "pc.ram=$T/file" "--region" "/rom@etc/acpi=$S/shm"
	"--region" "empty=$S/empty")
direct=no
! can_direct "$T" || direct=yes

blocks_of()
{
	stat -c %b "$1"
}

same_memory()
{
	cmp "$T/file" "$1/file" && cmp "$S/shm" "$1/shm" &&
		cmp "$S/empty" "$1/empty"
}

# restore_to DIRECTORY IMAGE [OPTION...]
restore_to()
{
	local dir=$1 image=$2

	shift 2
	rm -rf "$dir"
	mkdir "$dir"
	run restore "$@" --region "pc.ram=$dir/file" \
		--region "/rom@etc/acpi=$dir/shm" --region "empty=$dir/empty" \
		"$image"
}

# check_image IMAGE DIRECTORY ENGINE NAME
check_image()
{
	local image=$1 dir=$2 engine=$3 name=$4

	works "info: $name" info "$image"
	works "verify: $name" verify "$image"
	grep -q '^3 blocks good: 800 pages read, 3296 zero' "$T/out"
	result $? "verify read 800 pages: $name"
	restore_to "$dir" "$image" --engine "$engine"
	went_well && grep -q "800 pages read, 3296 zero, .* engine $engine, " "$T/out"
	result $? "restore: $name"
	same_memory "$dir" >"$T/out" 2>&1
	result $? "the memory is the same: $name"
	[ "$(stat -c %a "$dir/file")" = 600 ]
	result $? "what restore makes is for the owner alone: $name"
}

test_engine()
{
	local engine=$1 image=$T/image-$1 before after

	before=$(blocks_of "$S/shm") before=$before+$(blocks_of "$S/empty")
	run save --engine "$engine" "${sizes[@]}" "$image"
	went_well && grep -qE "^3 regions saved: 800 pages written, 3296 zero, [0-9]+ I/Os, 3\.1 MiB, engine $engine, [0-9.]+ s$" "$T/out"
	result $? "save: $engine"
	[ "$(stat -c %a "$image")" = 600 ]
	result $? "the image is for the owner alone: $engine"
	if [ $direct = yes ]; then
		ran="fincore $image" status=$(cached "$image")
		[ "$status" = 0 ]
		result $? "the page cache holds no page of the image: $engine"
	else
		skip "page cache: $engine" "no direct I/O in $T"
	fi
	after=$(blocks_of "$S/shm") after=$after+$(blocks_of "$S/empty")
	ran="stat: $before before, $after after"
	[ "$before" = "$after" ]
	result $? "saving made no page of the shared memory: $engine"
	check_image "$image" "$S/restored" "$engine" "$engine, to shared memory"
	[ "$(blocks_of "$S/restored/empty")" -eq 0 ]
	result $? "restoring made no page of the empty block: $engine"
	check_image "$image" "$T/restored" "$engine" "$engine, to files"

	# Onto what is there: other bytes, also where zero pages belong
	yes x | head -c 4194304 >"$S/restored/empty"
	fill "$S/restored/shm" 0 2048 other
	run restore --engine "$engine" --region "pc.ram=$S/restored/file" \
		--region "/rom@etc/acpi=$S/restored/shm" \
		--region "empty=$S/restored/empty" "$image"
	went_well && same_memory "$S/restored"
	result $? "restore onto files that hold something: $engine"

	run restore --engine "$engine" --skip pc.ram --skip empty \
		--region "/rom@etc/acpi=$S/alone" "$image"
	went_well && cmp "$S/shm" "$S/alone"
	result $? "restore one block, skip the others: $engine"
	rm -f "$S/alone"

	# The same image again, onto itself and with other sizes of I/O
	cp "$image" "$T/first"
	works "save over an image: $engine" save --engine "$engine" \
		"${sizes[@]}" "$image"
	cmp "$image" "$T/first" >"$T/out"
	result $? "it is the same image again: $engine"
	works "save with small I/O: $engine" save --engine "$engine" \
		--window 1 --max-extent 4K "${sizes[@]}" "$T/small"
	cmp "$T/small" "$T/first" >"$T/out"
	result $? "small I/O makes the same image: $engine"
	rm -f "$T/small"
	works "save with bridges: $engine" save --engine "$engine" --window 3 \
		--bridge 8 --max-extent 1M "${sizes[@]}" "$T/bridged"
	restore_to "$S/restored" "$T/bridged" --window 2 --max-extent 8K \
		--engine "$engine"
	went_well && same_memory "$S/restored"
	result $? "restore what was saved with bridges: $engine"
	rm -f "$T/bridged"
	works "save with bridges that it chooses: $engine" save \
		--engine "$engine" --bridge auto "${sizes[@]}" "$T/chosen"
	cmp "$T/chosen" "$T/first" >"$T/out"
	result $? "they do not show in the image: $engine"
	rm -f "$T/chosen"
}

# The image shrinks and changes when less is saved over it.
test_resave()
{
	local engine=$1

	memory "$S/small" 1024 small
	works "save less over an image: $engine" save --engine "$engine" \
		--region "ram=$S/small" "$T/image-$engine"
	rm -f "$T/fresh" "$S/back"
	works "save the same to a new file: $engine" save --engine "$engine" \
		--region "ram=$S/small" "$T/fresh"
	[ "$(stat -c %s "$T/fresh")" -eq "$(stat -c %s "$T/image-$engine")" ]
	result $? "the image shrank: $engine"
	run restore --engine "$engine" --region "ram=$S/back" "$T/image-$engine"
	went_well && cmp "$S/small" "$S/back"
	result $? "the smaller memory comes back: $engine"
	run save --engine "$engine" --machine pc-q35-9.0 \
		--region "ram=$S/small" "$T/image-$engine"
	went_well && run info "$T/image-$engine" && grep -q 'pc-q35-9.0' "$T/out"
	result $? "the machine's name stands in the image: $engine"
}

test_huge()
{
	local engine=$1 dir=$T/huge pages

	pages=$(cat /proc/sys/vm/nr_hugepages 2>/dev/null || echo 0)
	if [ "$(id -u)" -ne 0 ] || ! mkdir -p "$dir" ||
		! echo $((pages + 8)) >/proc/sys/vm/nr_hugepages 2>/dev/null ||
		! mount -t hugetlbfs -o size=16M none "$dir" 2>/dev/null; then
		skip "huge pages: $engine" "no hugetlbfs here"
		return
	fi
	tap_cleanup+=("unmount $dir" "sysctl -q vm.nr_hugepages=$pages")
	truncate -s 8M "$dir/mem"
	# hugetlbfs has no write(): restore fills it
	memory "$S/flat" 2048 huge
	rm -f "$T/flat-image" "$T/huge-image" "$S/back"
	run save --engine "$engine" --region "ram=$S/flat" "$T/flat-image"
	run restore --engine "$engine" --region "ram=$dir/mem" "$T/flat-image"
	went_well && cmp "$S/flat" "$dir/mem"
	result $? "restore to huge pages: $engine"
	works "save from huge pages: $engine" save --engine "$engine" \
		--region "ram=$dir/mem" "$T/huge-image"
	cmp "$T/flat-image" "$T/huge-image" >"$T/out"
	result $? "huge pages make the same image: $engine"
	rm -f "$dir/mem"
	umount "$dir"
	echo "$pages" >/proc/sys/vm/nr_hugepages
}

# Two descriptions, people's and programs', of the same facts
test_json()
{
	local image=$1

	run info --json "$image"
	if ! command -v jq >/dev/null; then
		skip "info --json" "no jq"
		return
	fi
	went_well && [ "$(jq -r '[.machine, .length, .pages, .set_pages,
		.zero_pages, .image_size, (.blocks | length)] | join(" ")' \
		"$T/out")" = "none 16777216 4096 800 3296 $(stat -c %s "$image") 3" ]
	result $? "info --json: the image"
	[ "$(jq -r '.blocks[1] | [.name, .length, .page_size, .pages,
		.set_pages, .zero_pages, .pages_offset] | join(" ")' "$T/out")" = \
		"/rom@etc/acpi 8388608 4096 2048 400 1648 6291456" ]
	result $? "info --json: a block"
	[ "$(jq -c '[.sections, .state_offset < .image_size]' "$T/out")" = \
		'[[],true]' ]
	result $? "info --json: the device state"
	run verify --json "$image"
	went_well && [ "$(jq -r '[.pages_read, .bytes_read] | join(" ")' \
		"$T/out")" = "800 3276800" ]
	result $? "verify --json"
	# JSON is UTF-8, whatever bytes a name has: \342\202\254 is one letter
	run save --force --region "$(printf 'a\377b\342\202\254\355\240\200c\302')=$T/file" \
		"$T/name"
	run info --json "$T/name"
	went_well && iconv -f utf-8 -t utf-8 "$T/out" >/dev/null &&
		[ "$(jq -r '.blocks[0].name' "$T/out")" = \
			"$(printf 'a?b\342\202\254???c?')" ]
	result $? "info --json: a name that is not UTF-8"
}

test_device()
{
	local engine=$1 dev=$MRAM_TEST_BLKDEV

	# Zero pages are not written: what was there would stay.
	dd if=/dev/zero of="$dev" bs=1M count=24 oflag=direct status=none
	works "save to a block device: $engine" save --engine "$engine" \
		"${sizes[@]}" "$dev"
	head -c "$(stat -c %s "$T/first")" "$dev" | cmp - "$T/first" >"$T/out"
	result $? "a device holds the same bytes as a file: $engine"
	check_image "$dev" "$S/restored" "$engine" "$engine, block device"
	dd if=/dev/urandom of="$dev" bs=1M seek=1 count=23 oflag=direct status=none
	works "save over a device full of other bytes: $engine" save \
		--force --engine "$engine" "${sizes[@]}" "$dev"
	restore_to "$S/restored" "$dev" --engine "$engine"
	went_well && same_memory "$S/restored"
	result $? "restore from the device again: $engine"
}

for engine in $(engines); do
	test_engine "$engine"
	[ -z "${reference:-}" ] || {
		cmp "$T/image-$engine" "$T/reference" >"$T/out" 2>&1
		result $? "$engine writes the same image as $reference"
	}
	[ -n "${reference:-}" ] || {
		reference=$engine
		cp "$T/image-$engine" "$T/reference"
	}
	test_resave "$engine"
	test_huge "$engine"
	if [ -b "${MRAM_TEST_BLKDEV:-}" ]; then
		test_device "$engine"
	else
		skip "block device: $engine" "MRAM_TEST_BLKDEV names none"
	fi
done
test_json "$T/reference"

run save --region "ram=$S/shm" "$T/default"
went_well && grep -q "engine $(engines | head -n 1)," "$T/out"
result $? "the default is the first engine that works"

tap_end

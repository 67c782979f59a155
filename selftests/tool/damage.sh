#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that no damage to an image goes unnoticed where it can be noticed, and
# that none does harm: info, verify, restore and extract end with status 1, diff
# with 2, and one line that says what is wrong where; they print nothing else,
# and restore and extract make nothing.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

memory "$S/mem" 1024 damage
memory "$S/mem2" 1000 damage2
run save --region "ram0=$S/mem" --region "ram1=$S/mem2" "$T/image"
went_well
result $? "an image to damage"
size=$(stat -c %s "$T/image")
bad=$T/bad

# The places of the fields, by hand from the format: the machine is "none",
# names have four bytes. All integers are big-endian.
version=4
config=8 config_length=9
sub=17 sub_name=19 sub_version=45 cap_count=49 cap_name=54
ram=64 ram_name=70 ram_version=77 total=81
block0=89
bitmap0=130 pages0=$((1 << 20))
block1=$((pages0 + 1024 * 4096))
pages1=$((block1 + (1 << 20)))
tail=$((pages1 + 1000 * 4096))

# damage OFFSET HEX-BYTES
damage()
{
	rm -f "$bad"
	cp --sparse=always "$T/image" "$bad"
	put_hex "$1" "$2"
}

put_hex()
{
	printf '%b' "$(echo "$2" | sed 's/ //g; s/../\\x&/g')" |
		dd of="$bad" bs=1 seek="$1" conv=notrunc status=none
}

be64()
{
	printf '%016x' "$1"
}

# noticed PATTERN DESCRIPTION: by all commands
noticed()
{
	local ok=0 command

	for command in info verify 'info --json' 'verify --json'; do
		# shellcheck disable=SC2086 # two words
		run $command "$bad"
		failed_with 1 "$1" || ok=1
		[ $ok -eq 0 ] || break
	done
	if [ $ok -eq 0 ]; then
		run restore --region "ram0=$S/r0" --region "ram1=$S/r1" "$bad"
		failed_with 1 "$1" && [ ! -e "$S/r0" ] && [ ! -e "$S/r1" ] ||
			ok=1
	fi
	if [ $ok -eq 0 ]; then
		run extract "$bad" ram0 "$S/r0"
		failed_with 1 "$1" && [ ! -e "$S/r0" ] || ok=1
	fi
	if [ $ok -eq 0 ]; then
		run diff "$T/image" "$bad"
		failed_with 2 "$1" || ok=1
	fi
	result $ok "$2"
}

field()
{
	damage "$1" "$2"
	noticed "$3" "$4"
}

# Not this field is wrong but the fields of a block: for both blocks
block_field()
{
	local at=$1 bytes=$2 name=$3 offset

	field $((block0 + at)) "$bytes" "block 'ram0'.*offset [0-9]+" "ram0: $name"
	field $((block1 + at)) "$bytes" "block 'ram1'.*offset [0-9]+" "ram1: $name"
}

field 0 "$(head -c 4096 /dev/zero | od -An -v -tx1 | tr -d ' \n')" \
	'no image was committed' "no first block: not committed"
field 0 00000000 'magic' "no magic"
field 0 51455600 'not a|magic' "another magic"
field $version 00000002 'version' "an old stream version"
field $version 00000004 'version' "a newer stream version"
field $config 01 'offset 8|configuration' "no configuration"
field $config_length ffffffff 'configuration|machine' "a machine name of 4 GiB"
field $config_length 00000000 'configuration|machine' "an empty machine name"
field $((config_length + 4)) 1b 'machine' "a control character in the machine name"
field $sub 06 'offset [0-9]+' "no subsection where one was"
field $sub_name 78 'subsection' "an unknown subsection"
field $sub_version 00000009 'version' "another subsection version"
field $cap_count 00000000 'mapped-ram' "no capabilities"
field $cap_count ffffffff 'offset [0-9]+' "4 billion capabilities"
field $cap_name 6e 'capabilit' "another capability"
field $ram 04 'offset [0-9]+' "another section type"
field $ram_name 72616e 'ram' "another section name"
field $ram_version 00000005 'version' "another RAM version"
field $total "$(be64 $(((1024 + 1000) * 4096)))" 'offset [0-9]+' "no size flag"
field $total "$(be64 $(((1024 + 999) * 4096 + 4)))" 'offset [0-9]+' "a total that is too small"
field $total "$(be64 $(((1024 + 1001) * 4096 + 4)))" 'offset [0-9]+' "a total that is too large"
field $total fffffffffffff004 'offset [0-9]+' "a total that overflows"
field $block0 00 'offset [0-9]+' "a block without a name"
field $((block0 + 1)) 0a 'offset [0-9]+' "a control character in a block's name"
field $((block1 + 4)) 30 "'ram0'" "two blocks of one name"
# An empty block is none to complain of, but what follows is no record.
field $((block0 + 5)) "$(be64 0)" "block 1, offset" "ram0: a length of 0"
field $((block1 + 5)) "$(be64 0)" "block 2, offset" "ram1: a length of 0"
block_field 5 "$(be64 4097)" "a length that is no multiple of the page size"
block_field 5 fffffffffffff000 "a length beyond all files"
block_field 13 00000002 "a newer header version"
block_field 13 00000000 "header version 0"
block_field 17 "$(be64 0)" "a page size of 0"
block_field 17 "$(be64 1)" "a page size of 1"
block_field 17 "$(be64 4097)" "a page size that is no power of two"
block_field 17 8000000000000000 "a page size beyond all pages"
block_field 25 "$(be64 "$size")" "a bitmap behind the end"
block_field 25 fffffffffffffff8 "a bitmap offset that overflows"
block_field 25 "$(be64 0)" "a bitmap over the head"
block_field 33 "$(be64 $((size / 4096 * 4096)))" "pages behind the end"
block_field 33 fffffffffffff000 "a pages offset that overflows"
block_field 33 "$(be64 $((pages0 + 1)))" "pages that are not aligned"
block_field 33 "$(be64 0)" "pages over the head"
field $((block1 + 33)) "$(be64 $pages0)" "block 'ram1'.*offset [0-9]+" \
	"ram1: pages over ram0's"
# 1000 pages: 40 bits of the last word
field $((block1 + 41 + 15 * 8 + 5)) 01 "block 'ram1'.*offset [0-9]+" \
	"ram1: a bit behind the last page"
field $tail 02 'offset [0-9]+' "something else behind the pages"

# What is cut off, is missed.
for cut in 0 1 3 4 7 8 12 17 44 60 64 80 88 90 100 129 $bitmap0 \
	$((bitmap0 + 1)) $((bitmap0 + 128)) $((pages0 - 1)) $pages0 \
	$((pages0 + 4096)) $((block1 - 1)) $block1 $((block1 + 20)) \
	$((block1 + 41)) $((pages1 - 1)) $((tail - 4096)) $((tail - 1)) \
	$tail $((tail + 1)) $(((tail + size) / 2)) $((size - 1)); do
	cp --sparse=always "$T/image" "$bad"
	truncate -s "$cut" "$bad"
	noticed 'bad' "cut to $cut of $size bytes"
done

# Any byte of head, records and tail turned over: never a crash, never half an
# answer. Some are free to change (names, the section's id). Each is put back,
# which takes less time than a new copy.
put_byte()
{
	printf '%b' "\\x$2" |
		dd of="$bad" bs=1 seek="$1" conv=notrunc status=none
}

crashes=0 changed=0 unnoticed=0
rm -f "$bad"
cp --sparse=always "$T/image" "$bad"
for range in 0,$bitmap0 $block1,41 $tail,$((size - tail)); do
	at=${range%,*}
	for byte in $(od -An -v -tu1 -j "$at" -N "${range#*,}" "$T/image"); do
		for mask in 255 1; do
			printf -v hex '%02x' $((byte ^ mask))
			put_byte "$at" "$hex"
			run verify --json "$bad"
			changed=$((changed + 1))
			if went_well; then
				unnoticed=$((unnoticed + 1))
			elif ! failed_with 1 .; then
				crashes=$((crashes + 1))
				result 1 "byte $at ^ $mask"
			fi
		done
		printf -v hex '%02x' "$byte"
		put_byte "$at" "$hex"
		at=$((at + 1))
	done
done
[ $crashes -eq 0 ] && [ $changed -gt 400 ]
result $? "$changed bytes turned over: $unnoticed make another image, none does harm"
cmp "$T/image" "$bad" >"$T/out"
result $? "all of them were put back"

# A bitmap decides what is read: any bits at all are harmless.
fill_bitmap=$(head -c 128 /dev/zero | tr '\0' '\377' | od -An -v -tx1 | tr -d ' \n')
damage $bitmap0 "$fill_bitmap"
run verify "$bad"
went_well && grep -q "1424 pages read" "$T/out"
result $? "a bitmap of ones: every page is read"

# QEMU has blocks without a page. One in front of the others moves them, but
# only ram0 is put there: its record, bitmap and pages 1 MiB on.
piece()
{
	dd if="$T/image" of="$bad" bs=4K iflag=skip_bytes,count_bytes \
		oflag=seek_bytes conv=notrunc status=none \
		skip="$1" count="$2" seek="$3"
}

run save --region "ram0=$S/mem" "$T/image"
rm -f "$bad"
piece 0 $block0 0
put_hex $block0 "01 65 $(be64 0) 00000001 $(be64 4096) $(be64 127) $(be64 $pages0)"
piece $block0 $((41 + 128)) $pages0
put_hex $((pages0 + 25)) "$(be64 $((pages0 + 41))) $(be64 $((2 * pages0)))"
piece $pages0 $(($(stat -c %s "$T/image") - pages0)) $((2 * pages0))
run verify "$bad"
went_well && grep -q '^2 blocks good: 400 pages read' "$T/out"
result $? "an image with a block that is empty"
run restore --region "e=$S/r0" --region "ram0=$S/r1" "$bad"
went_well && [ -e "$S/r0" ] && [ ! -s "$S/r0" ] && cmp "$S/mem" "$S/r1"
result $? "it can be restored"
rm -f "$S/r0" "$S/r1"
run restore --region "e=$S/r0" --skip ram0 "$bad"
went_well && [ -e "$S/r0" ]
result $? "the empty block alone, too"

tap_end

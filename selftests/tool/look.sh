#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that extract writes exactly what the block is, sparse, past the page
# cache and over what may be there, and refuses what restore refuses; that diff
# finds exactly the pages that differ, whether images hold them or not, and ends
# with the statuses of diff(1); and that all commands that read find an image
# that lies behind something else in its file.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

pages=1024
memory "$S/mem" $pages look
memory "$S/mem2" 1000 look2
run save --region "ram=$S/mem" --region "more=$S/mem2" "$T/image"
went_well
result $? "an image to look at"

# ------------------------------------------------------------------- extract

# extracted FILE MEMORY DESCRIPTION: the last run was good, FILE is MEMORY
extracted()
{
	went_well && grep -qE '^4 MiB extracted: [0-9]+ pages read, [0-9]+ written, [0-9]+ zero, .* s$' \
		"$T/out" && cmp "$1" "$2" >"$T/err"
	result $? "$3"
}

run extract "$T/image" ram "$T/raw"
in_cache=$(cached "$T/raw")
extracted "$T/raw" "$S/mem" "extract to a new file"
[ "$(stat -c %a "$T/raw")" = 600 ]
result $? "it is its owner's alone"
[ "$(stat -c %b "$T/raw")" -le $((450 * 8)) ]
result $? "zero pages are holes"
if can_direct "$T"; then
	[ "$in_cache" = 0 ]
	result $? "none of its pages is in the page cache: $in_cache"
else
	skip "none of its pages is in the page cache" "no direct I/O here"
fi

fill "$T/raw" 0 $pages junk
run extract "$T/image" ram "$T/raw"
extracted "$T/raw" "$S/mem" "extract over other memory"
[ "$(stat -c %b "$T/raw")" -le $((450 * 8)) ]
result $? "what became zero is a hole"
run extract "$T/image" ram "$S/raw"
extracted "$S/raw" "$S/mem" "extract to shared memory"
fill "$S/raw" 0 $pages junk
run extract "$T/image" ram "$S/raw"
extracted "$S/raw" "$S/mem" "extract over shared memory"
(cd "$T" && run extract image more raw2 && went_well && cmp raw2 "$S/mem2")
result $? "extract another block, by relative paths"

# refuses PATTERN DESCRIPTION BLOCK FILE
refuses()
{
	fails 1 "$1" "extract: $2" extract "$T/image" "$3" "$4"
}

refuses "no block 'rom'" "no such block" rom "$T/no"
[ ! -e "$T/no" ]
result $? "and nothing was made"
head -c 4096 /dev/zero >"$T/small"
refuses 'small has 4096 bytes, the block has 4194304' "a file of another size" \
	ram "$T/small"
: >"$T/empty"
refuses 'has 0 bytes' "an empty file" ram "$T/empty"
refuses 'is the image itself' "over the image" ram "$T/image"
refuses 'not a regular file' "a directory" ram "$T"
refuses 'not a regular file' "a device" ram /dev/null
refuses 'cannot make' "a directory that is not there" ram "$T/none/raw"
fails 1 'none' "extract: no image" extract "$T/none" ram "$T/no"
[ ! -e "$T/no" ]
result $? "nothing was made of it"
(ulimit -f 1024 && run extract "$T/image" ram "$T/no" &&
	failed_with 1 "cannot (write|give)" && [ ! -e "$T/no" ])
result $? "a file that cannot become so large is an error, and removed"

# ---------------------------------------------------------------------- diff

# differ STATUS PATTERN DESCRIPTION ARGUMENT...: stdout matches, stderr is empty
differ()
{
	local want=$1 pattern=$2 name=$3

	shift 3
	run diff "$@"
	[ "$status" -eq "$want" ] && [ ! -s "$T/err" ] &&
		[[ $(tr -s ' \n' '  ' <"$T/out") =~ $pattern ]]
	result $? "diff: $name"
}

differ 0 '^all 2024 pages are the same $' "an image and itself" \
	"$T/image" "$T/image"
cp --sparse=always "$S/mem" "$S/new"
fill "$S/new" 0 1 other
fill "$S/new" 3 2 other
zero "$S/new" 64 3
fill "$S/new" 500 2 other
zero "$S/new" 520 1
fill "$S/new" $((pages - 1)) 1 other
run save --region "ram=$S/new" --region "more=$S/mem2" "$T/new"
differ 1 '^BLOCK PAGE PAGES AT ram 0 1 0 ram 3 2 0x3000 ram 64 3 0x40000 ram 500 2 0x1f4000 ram 1023 1 0x3ff000 9 of 2024 pages differ $' \
	"runs of pages, zero or not, first and last" "$T/image" "$T/new"
differ 1 ' 9 of 2024 pages differ $' "the other way round" "$T/new" "$T/image"
run diff --json "$T/image" "$T/new"
[ "$status" -eq 1 ] && jq -e '
	.same == false and .pages == 2024 and .differ_pages == 9 and
	.blocks[0].name == "ram" and .blocks[0].length1 == 4194304 and
	.blocks[0].differ[1] == { "first": 3, "count": 2 } and
	.blocks[1].differ == []' "$T/out" >"$T/err"
result $? "diff --json"

# The same memory, but all pages of one block are held: what QEMU does without
# zero page detection. Its bitmap stands behind the first record.
run save --region "ram=$S/mem" "$T/few"
cp --sparse=always "$T/few" "$T/all"
head -c 128 /dev/zero | tr '\0' '\377' |
	dd of="$T/all" bs=1 seek=129 conv=notrunc status=none
run info --json "$T/all"
[ "$(jq '.set_pages' "$T/out")" = 1024 ]
result $? "an image that holds all pages"
differ 0 '^all 1024 pages are the same $' "pages that are held equal pages that are not" \
	"$T/few" "$T/all"

differ 1 "^only in $T/image: block 'more', 3.9 MiB all 1024 pages are the same $" \
	"a block less" "$T/image" "$T/few"
differ 1 "^only in $T/image: block 'more'" "a block more" "$T/few" "$T/image"
run save --region "ram=$S/mem2" "$T/short"
differ 1 ' ram 1000 24 0x3e8000 |ram 999 25 0x3e7000 ' "a longer block" "$T/few" "$T/short"
fails 2 'none' "diff: no such image: status 2" diff "$T/none" "$T/image"
fails 2 'none' "diff: no such second image" diff "$T/image" "$T/none"
fails 2 'not a' "diff: not an image" diff "$T/image" "$S/mem"
cp "$S/mem" "$T/start"
cd "$T" || exit
fails 2 '^mapped-ram: start: start of the stream' "a name that is a word, too" \
	diff image start
cd - >/dev/null || exit
if [ -w /dev/full ]; then
	ran="mapped-ram diff >/dev/full" status=0
	: >"$T/out"
	"$TOOL" diff "$T/image" "$T/image" >/dev/full 2>"$T/err" || status=$?
	failed_with 2 'cannot write the output'
	result $? "diff: output that cannot be written: status 2"
fi

# -------------------------------------------------------------------- offset

be64()
{
	printf '%b' "$(printf '%016x' "$2" | sed 's/../\\x&/g')" |
		dd of="$T/behind" bs=1 seek="$1" conv=notrunc status=none
}

# The image of one block, 3 MiB further: its two offsets count from the file's
# start. The machine is "none", the block "ram": the record is at 89.
offset=$((3 << 20))
fill "$T/behind" 0 768 front
dd if="$T/few" of="$T/behind" bs=1M seek=3 conv=notrunc,sparse status=none
truncate -s $(($(stat -c %s "$T/few") + offset)) "$T/behind"
be64 $((offset + 89 + 4 + 8 + 4 + 8)) $((offset + 129))
be64 $((offset + 89 + 4 + 8 + 4 + 8 + 8)) $((offset + (1 << 20)))
fails 1 'magic' "an image behind something else: not at the start" \
	info "$T/behind"
fails 1 'magic' "nor anywhere" info --offset 1M "$T/behind"
fails 1 'no image was committed at offset' "nor behind the end" \
	info --offset 1G "$T/behind"
fails 1 'bytes at offset 0x301000 are zero' "nor in a hole" \
	info --offset 3076K "$T/behind"
works "info --offset" info --offset 3M "$T/behind"
works "verify --offset" verify --offset $offset "$T/behind"
works "restore --offset" restore --offset 3M --region "ram=$S/r" "$T/behind"
cmp "$S/r" "$S/mem" >"$T/out"
result $? "and it is the same memory"
run extract --offset 3M "$T/behind" ram "$S/x"
extracted "$S/x" "$S/mem" "extract --offset"
differ 0 'all 1024 pages are the same' "--offset2" --offset2 3M "$T/few" "$T/behind"
differ 0 'all 1024 pages are the same' "--offset1" --offset1 3M "$T/behind" "$T/few"
fails 2 'few: .* no image was committed' "diff: the wrong one" diff --offset1 3M "$T/few" "$T/behind"

tap_end

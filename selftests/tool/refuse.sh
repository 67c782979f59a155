#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that save and restore refuse what would go wrong or destroy something,
# with status 1 and one line that says what to do, and that a refused job has
# changed and made nothing.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

memory "$S/a" 1024 a
memory "$S/b" 1024 b
run save --region "a=$S/a" --region "b=$S/b" "$T/image"
went_well
result $? "an image to begin with"
cp "$T/image" "$T/kept"

# Whatever a refused job could have touched. A write through a mapping of
# shared memory changes no time stamp, so there the content has to be looked at.
digest()
{
	(cd "$T" && find . ! -name out ! -name err ! -name . -printf '%p %i %s %C@\n')
	(cd "$S" && find . ! -name vast -type f | sort | xargs -d '\n' sha256sum)
	[ ! -b "${MRAM_TEST_BLKDEV:-}" ] ||
		head -c 1M "$MRAM_TEST_BLKDEV" | sha256sum
}

# refused PATTERN DESCRIPTION ARGUMENT...
refused()
{
	local pattern=$1 name=$2 before

	shift 2
	before=$(digest)
	run "$@"
	failed_with 1 "$pattern" && [ "$(digest)" = "$before" ]
	result $? "$name"
}

refused "region 'a': $S/none does not exist; name" "save: a region's file is missing" \
	save --region "a=$S/none" "$T/new"
: >"$S/nothing"
refused 'is empty; name' "save: a region's file is empty" \
	save --region "a=$S/nothing" "$T/new"
head -c 5000 "$S/a" >"$S/odd"
refused "5000 bytes, .* 'truncate -s 8192 $S/odd'" "save: a region's file has half a page" \
	save --region "a=$S/odd" "$T/new"
refused 'not a regular file' "save: a region is a directory" \
	save --region "a=$S" "$T/new"
mkfifo "$S/pipe"
refused 'not a regular file' "save: a region is a pipe" \
	save --region "a=$S/pipe" "$T/new"
refused 'not a regular file' "save: a region is a device" \
	save --region a=/dev/zero "$T/new"
refused "regions 'a' and 'b' are the same file" "save: two regions in one file" \
	save --region "a=$S/a" --region "b=$S/../${S##*/}/a" "$T/new"
refused 'name' "save: a name with a control character" \
	save --region "$(printf 'a\nb')=$S/a" "$T/new"
refused "is the memory of region 'a'" "save: the image is a region" \
	save --force --region "a=$S/a" "$S/a"
ln "$S/a" "$S/link"
refused "is the memory of region 'a'" "save: the image is a link to a region" \
	save --force --region "a=$S/a" "$S/link"
ln -s "$S/a" "$T/symlink"
refused "is the memory of region 'a'" "save: the image is a symbolic link to a region" \
	save --force --region "a=$S/a" "$T/symlink"
refused 'No such file' "save: the image's directory is missing" \
	save --region "a=$S/a" "$T/none/image"
refused 'neither a regular file nor' "save: the image is a directory" \
	save --force --region "a=$S/a" "$T"
refused 'neither a regular file nor' "save: the image is a pipe" \
	save --force --region "a=$S/a" "$S/pipe"
refused 'neither a regular file nor' "save: the image is a character device" \
	save --force --region "a=$S/a" /dev/null

echo precious >"$T/letter"
refused 'is not a whole mapped-ram image; --force' "save: the image is a text file" \
	save --region "a=$S/a" "$T/letter"
# A btrfs' first bytes are all zero.
truncate -s 1M "$T/disk"
printf '_BHRfS_M' | dd of="$T/disk" bs=1 seek=65600 conv=notrunc status=none
refused 'is not a whole mapped-ram image; --force' "save: the image is a disk with a blank start" \
	save --region "a=$S/a" "$T/disk"
head -c 2000000 "$T/image" >"$T/half"
refused 'is not a whole mapped-ram image; --force' "save: the image is a damaged one" \
	save --region "a=$S/a" "$T/half"
works "save --force overwrites it" save --force --region "a=$S/a" "$T/half"
works "and makes an image of it" verify "$T/half"
works "save --force overwrites a text file" save --force --region "a=$S/a" "$T/letter"
: >"$T/blank"
works "an empty file needs no --force" save --region "a=$S/a" "$T/blank"
rm "$T/blank"
truncate -s 10M "$T/blank"
works "nor does a blank one" save --region "a=$S/a" "$T/blank"

if [ ! -e /dev/mapped_ram ]; then
	refused 'module|/dev/mapped_ram' "save: the module is asked for and not there" \
		save --engine module --region "a=$S/a" "$T/new"
	refused 'module|/dev/mapped_ram' "save over an image: the module is not there" \
		save --engine module --region "a=$S/a" "$T/image"
	refused 'module|/dev/mapped_ram' "restore: the module is asked for and not there" \
		restore --engine module --region "a=$S/r1" --region "b=$S/r2" "$T/image"
fi

if [ -b "${MRAM_TEST_BLKDEV:-}" ]; then
	dev=$MRAM_TEST_BLKDEV
	dd if=/dev/zero of="$dev" bs=1M count=1 oflag=direct status=none
	printf '_BHRfS_M' | dd of="$dev" bs=1 seek=65600 conv=notrunc,fsync status=none
	refused 'is not a whole mapped-ram image; --force' "save: a block device with a file system" \
		save --region "a=$S/a" "$dev"
	works "save --force overwrites it" save --force --region "a=$S/a" "$dev"
	mkfs.ext4 -q -F "$dev" 8M && mkdir "$T/mnt" && mount "$dev" "$T/mnt"
	result $? "a file system on the block device"
	run save --force --region "a=$S/a" "$dev"
	failed_with 1 'busy'
	result $? "save: a mounted block device, even with --force"
	unmount "$T/mnt"
	rmdir "$T/mnt"
	dd if=/dev/zero of="$dev" bs=1M count=1 oflag=direct status=none
	truncate -s 64G "$S/vast"
	refused "$dev" "save: a block device that is too small" \
		save --region "a=$S/vast" "$dev"
	rm "$S/vast"
else
	skip "block devices that hold something" "MRAM_TEST_BLKDEV names none"
fi

# Restore
refused "block 'b' .* has no --region" "restore: a block has no place" \
	restore --region "a=$S/r1" "$T/image"
refused "has no block 'c'" "restore: a region that is not in the image" \
	restore --region "a=$S/r1" --region "b=$S/r2" --region "c=$S/r3" "$T/image"
refused "has no block 'c' to skip" "restore: a block to skip that is not in the image" \
	restore --region "a=$S/r1" --region "b=$S/r2" --skip c "$T/image"
truncate -s 8M "$S/big"
refused "8388608 bytes, the block has 4194304; .*truncate -s 4194304" \
	"restore: a file is too long" \
	restore --region "a=$S/r1" --region "b=$S/big" "$T/image"
refused "0 bytes, the block has 4194304" "restore: a file is empty" \
	restore --region "a=$S/r1" --region "b=$S/nothing" "$T/image"
cp "$S/a" "$S/r2"
refused "8388608 bytes" "restore: the other file is good, and is not touched" \
	restore --region "a=$S/r2" --region "b=$S/big" "$T/image"
refused "same file" "restore: two blocks to one file" \
	restore --region "a=$S/r2" --region "b=$S/r2" "$T/image"
refused "same file" "restore: two blocks to one new file" \
	restore --region "a=$S/r3" --region "b=$S/r3" "$T/image"
refused "cannot make" "restore: two blocks to one new file, named in two ways" \
	restore --region "a=$S/r3" --region "b=$S/../${S##*/}/r3" "$T/image"
refused "No such file" "restore: the second file's directory is missing" \
	restore --region "a=$S/r3" --region "b=$S/none/r4" "$T/image"
refused "not a regular file" "restore: to a directory" \
	restore --region "a=$S/r3" --region "b=$S" "$T/image"
refused "not a regular file" "restore: to a device" \
	restore --region "a=$S/r3" --region b=/dev/null "$T/image"
refused "is the image itself|has .* bytes, the block has" "restore: to the image" \
	restore --region "a=$T/image" --region "b=$S/r3" "$T/image"
refused "$T/none" "restore: the image is missing" \
	restore --region "a=$S/r1" "$T/none"
refused "$T" "restore: the image is a directory" \
	restore --region "a=$S/r1" "$T"
echo 'Dear image,' >"$T/letter2"
refused "$T/letter2" "restore: the image is a text" \
	restore --region "a=$S/r1" "$T/letter2"
refused "$T/none" "info: the image is missing" info "$T/none"
refused "$T" "verify: the image is a directory" verify "$T"
refused "/dev/null" "info: the image is a character device" info /dev/null
refused "pipe" "info: the image is a pipe" info "$S/pipe"

cmp -s "$T/image" "$T/kept"
result $? "the image is as it was"

tap_end

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the abi_ tests share: a session in the middle of its work, valid and
 * poisoned arguments for every ioctl, and the proof that a refused call changed
 * nothing.
 */
#ifndef MAPPED_RAM_ABI_H
#define MAPPED_RAM_ABI_H

#include "rig.h"

/*
 * More than a word of bitmap, and not whole words. The last page is never
 * touched and never dirty: SAVE and LOAD of it are valid and change nothing.
 */
#define ABI_PAGES	100
#define ABI_IDLE_PAGE	(ABI_PAGES - 1)

/* What outputs hold before a call */
#define POISON32	0x5a5a5a5aU
#define POISON64	0x5a5a5a5a5a5a5a5aULL

/* Pages in the image and dirty ones, file and dirty bits of every combination */
void need_abi_rig(struct rig *rig);

/* Valid arguments, each a base in which a test makes one field wrong */
struct mapped_ram_info abi_info(void);
struct mapped_ram_image_set abi_image_set(const struct rig *rig);
/* One page of the rig's memory, behind the rig's region in the image */
struct mapped_ram_region_add abi_region_add(const struct rig *rig);
struct mapped_ram_region_remove abi_region_remove(uint32_t id);
/* Of the idle page */
struct mapped_ram_save abi_save(const struct rig *rig);
struct mapped_ram_load abi_load(const struct rig *rig);

/*
 * The ioctl's result; -EUCLEAN when it failed but wrote to the struct, -EBADMSG
 * when it changed memory or bitmaps.
 */
int abi_call(struct rig *rig, unsigned long cmd, void *arg, size_t size);

/* Needs the fixture's @self with a rig in it. */
#define EXPECT_REFUSED(err, cmd, arg) \
	EXPECT_EQ(-(err), abi_call(&self->rig, cmd, arg, sizeof(*(arg))))

/* The whole state is as before, and after one more SAVE as it must be. */
int abi_still_works(struct rig *rig);

/* Every ioctl, for tests that are the same for all of them */
struct abi_ioctl {
	const char *name;
	unsigned long cmd;
	size_t size;		/* of the struct, which is its first version */
	size_t outputs;		/* where they start; @size if it has none */
	/* Makes a valid struct, and what it needs */
	void (*need_args)(struct rig *rig, void *arg);
	/* Undoes what a call with it did, or what need_args() did for it */
	void (*undo)(struct rig *rig, void *arg, bool done);
};
#define ABI_MAX_SIZE	128

extern const struct abi_ioctl abi_ioctls[];
extern const size_t nr_abi_ioctls;

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that every bit without a meaning is refused: each unknown flag and
 * each bit of padding is EOPNOTSUPP and changes nothing, each flag with a
 * meaning is taken, every other ioctl number is ENOTTY. So each of them can get
 * a meaning later, and a caller can find out whether it has.
 */
#include "abi.h"
#include "harness.h"

FIXTURE(abi_flags) {
	struct rig rig;
};

FIXTURE_SETUP(abi_flags)
{
	need_abi_rig(&self->rig);
}

FIXTURE_TEARDOWN(abi_flags)
{
	EXPECT_EQ(0, abi_still_works(&self->rig));
	rig_drop(&self->rig);
}

/* Each bit of @field but those in @known, one at a time */
#define EXPECT_BITS_REFUSED(cmd, arg, field, known) do {		\
	unsigned int bit;						\
									\
	for (bit = 0; bit < 32; bit++) {				\
		if ((known) & 1U << bit)				\
			continue;					\
		(arg).field = 1U << bit;				\
		EXPECT_REFUSED(EOPNOTSUPP, cmd, &(arg))			\
			TH_LOG(#field " bit %u", bit);			\
		/* A known one beside it does not make it better. */	\
		(arg).field |= (known);					\
		EXPECT_REFUSED(EOPNOTSUPP, cmd, &(arg));		\
	}								\
	(arg).field = 0;						\
} while (0)

TEST_F(abi_flags, info)
{
	struct mapped_ram_info info = abi_info();

	EXPECT_BITS_REFUSED(MAPPED_RAM_INFO, info, flags, 0);
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_INFO, &info));
}

TEST_F(abi_flags, image_set)
{
	struct mapped_ram_image_set set = abi_image_set(&self->rig);

	EXPECT_BITS_REFUSED(MAPPED_RAM_IMAGE_SET, set, flags,
			    MAPPED_RAM_IMAGE_LOAD);
	EXPECT_BITS_REFUSED(MAPPED_RAM_IMAGE_SET, set, pad, 0);
	set.flags = MAPPED_RAM_IMAGE_LOAD;
	EXPECT_BITS_REFUSED(MAPPED_RAM_IMAGE_SET, set, pad, 0);
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_IMAGE_SET, &set));
	set.flags = 0;
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_IMAGE_SET, &set));
}

TEST_F(abi_flags, region_add)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);

	EXPECT_BITS_REFUSED(MAPPED_RAM_REGION_ADD, add, flags,
			    MAPPED_RAM_REGION_PIN);
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, add.out_region_id));
}

TEST_F(abi_flags, region_pin)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	struct mapped_ram_info info;

	ASSERT_EQ(0, mr_info(self->rig.dev, &info));
	add.flags = MAPPED_RAM_REGION_PIN;
	/* What INFO says is what REGION_ADD does. */
	if (!(info.out_features & MAPPED_RAM_FEATURE_PIN)) {
		EXPECT_REFUSED(EOPNOTSUPP, MAPPED_RAM_REGION_ADD, &add);
		return;
	}
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, add.out_region_id));
}

TEST_F(abi_flags, save)
{
	struct mapped_ram_save save = abi_save(&self->rig);

	EXPECT_BITS_REFUSED(MAPPED_RAM_SAVE, save, flags,
			    MAPPED_RAM_SAVE_STOPPED |
			    MAPPED_RAM_SAVE_BRIDGE_AUTO);
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_SAVE, &save));
	save.flags = MAPPED_RAM_SAVE_STOPPED;
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_SAVE, &save));
}

TEST_F(abi_flags, save_bridge_auto)
{
	struct mapped_ram_save save = abi_save(&self->rig);
	struct mapped_ram_info info;

	ASSERT_EQ(0, mr_info(self->rig.dev, &info));
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	/* What INFO says is what SAVE does. */
	if (!(info.out_features & MAPPED_RAM_FEATURE_BRIDGE_AUTO)) {
		EXPECT_REFUSED(EOPNOTSUPP, MAPPED_RAM_SAVE, &save);
		return;
	}
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_SAVE, &save));
	save.flags |= MAPPED_RAM_SAVE_STOPPED;
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_SAVE, &save));
}

TEST_F(abi_flags, load)
{
	struct mapped_ram_load load = abi_load(&self->rig);

	EXPECT_BITS_REFUSED(MAPPED_RAM_LOAD, load, flags, 0);
	EXPECT_BITS_REFUSED(MAPPED_RAM_LOAD, load, pad, 0);
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_LOAD, &load));
}

static bool known(unsigned long cmd)
{
	size_t i;

	for (i = 0; i < nr_abi_ioctls; i++)
		if (abi_ioctls[i].cmd == cmd)
			return true;
	return false;
}

/*
 * All numbers of our magic with every direction and some lengths, and those of
 * others that any file may get. The argument would be valid for each of ours.
 */
TEST_F(abi_flags, ioctl_numbers)
{
	static const unsigned int sizes[] = { 0, 1, 4, 8, 32, 48, 64, 88, 96,
					      0x3fff };
	struct mapped_ram_save arg = abi_save(&self->rig);
	unsigned int dir, nr, s;

	for (nr = 0; nr < 256; nr++) {
		for (dir = 0; dir < 4; dir++) {
			for (s = 0; s < ARRAY_LEN(sizes); s++) {
				unsigned long cmd = _IOC(dir,
							 MAPPED_RAM_IOC_MAGIC,
							 nr, sizes[s]);

				if (known(cmd))
					continue;
				EXPECT_EQ(-ENOTTY, abi_call(&self->rig, cmd,
							    &arg, sizeof(arg)))
					TH_LOG("ioctl %#lx", cmd);
			}
		}
		if (nr == MAPPED_RAM_IOC_MAGIC)
			continue;
		EXPECT_REFUSED(ENOTTY, _IO(nr, 4), &arg);
	}
	EXPECT_EQ(-ENOTTY, mr_ioctl(self->rig.dev, 0, NULL));
	EXPECT_EQ(-ENOTTY, mr_ioctl(self->rig.dev, UINT_MAX, NULL));
}

TEST_HARNESS_MAIN

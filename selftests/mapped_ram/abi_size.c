// SPDX-License-Identifier: GPL-2.0
/*
 * Proves how every ioctl takes its struct: any length below its first version
 * is EINVAL, a longer one is served when what the kernel does not know is zero
 * and E2BIG when it is not, a struct that cannot be wholly read or written is
 * EFAULT, and a call refused for any of this has changed nothing: not the
 * struct, not the bitmaps, not the session. A call that succeeds writes every
 * output and nothing behind the struct.
 */
#include "abi.h"
#include "harness.h"

FIXTURE(abi_size) {
	struct rig rig;
	uint8_t *buf;		/* a page with nothing behind it */
};

FIXTURE_SETUP(abi_size)
{
	need_abi_rig(&self->rig);
	self->buf = need_guarded(page_size());
}

FIXTURE_TEARDOWN(abi_size)
{
	EXPECT_EQ(0, abi_still_works(&self->rig));
	guarded_free(self->buf, page_size());
	rig_drop(&self->rig);
}

static int call(struct rig *rig, const struct abi_ioctl *op, void *arg,
		uint32_t size)
{
	memcpy(arg, &size, sizeof(size));
	return abi_call(rig, op->cmd, arg, op->size);
}

/* The struct's first bytes decide alone: the rest need not even be there. */
TEST_F(abi_size, too_short)
{
	uint8_t *end = self->buf + page_size();
	uint8_t arg[ABI_MAX_SIZE];
	size_t i, size;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		op->need_args(&self->rig, arg);
		for (size = 0; size < op->size; size++)
			EXPECT_EQ(-EINVAL, call(&self->rig, op, arg, size))
				TH_LOG("%s size %zu", op->name, size);
		for (size = 0; size <= 4; size++) {
			memcpy(end - 4, &(uint32_t){ size }, 4);
			EXPECT_EQ(-EINVAL, mr_ioctl(self->rig.dev, op->cmd,
						    end - 4));
		}
		op->undo(&self->rig, arg, false);
	}
}

TEST_F(abi_size, exact)
{
	uint8_t *arg;
	size_t i, at;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		arg = self->buf + page_size() - op->size;
		op->need_args(&self->rig, arg);
		EXPECT_EQ(0, call(&self->rig, op, arg, op->size))
			TH_LOG("%s", op->name);
		for (at = op->outputs; at + 4 <= op->size; at += 4)
			EXPECT_NE(0, memcmp(arg + at, &(uint32_t){ POISON32 },
					    4))
				TH_LOG("%s: byte %zu was not written",
				       op->name, at);
		op->undo(&self->rig, arg, true);
	}
}

TEST_F(abi_size, too_long_and_zero)
{
	size_t i, size;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		for (size = op->size + 1; size <= page_size();
		     size += size < op->size + 16 ? 1 : 997) {
			uint8_t *arg = self->buf + page_size() - size;
			uint32_t after;
			size_t at;

			memset(self->buf, 0, page_size());
			op->need_args(&self->rig, arg);
			ASSERT_EQ(0, call(&self->rig, op, arg, size))
				TH_LOG("%s size %zu", op->name, size);
			memcpy(&after, arg, sizeof(after));
			EXPECT_EQ(size, after);
			for (at = op->size; at < size; at++)
				ASSERT_EQ(0, arg[at]);
			op->undo(&self->rig, arg, true);
		}
	}
}

TEST_F(abi_size, too_long_and_not_zero)
{
	size_t i, size, at;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		memset(self->buf, 0, page_size());
		op->need_args(&self->rig, self->buf);
		for (size = op->size + 1; size <= op->size + 17; size += 8) {
			for (at = op->size; at < size; at++) {
				self->buf[at] = 1;
				EXPECT_EQ(-E2BIG, call(&self->rig, op,
						       self->buf, size))
					TH_LOG("%s size %zu", op->name, size);
				EXPECT_EQ(1, self->buf[at]);
				self->buf[at] = 0;
			}
		}
		self->buf[page_size() - 1] = 0x80;
		EXPECT_EQ(-E2BIG, call(&self->rig, op, self->buf,
				       page_size()));
		op->undo(&self->rig, self->buf, false);
	}
}

/* Nobody makes the kernel look for a non-zero byte in gigabytes. */
TEST_F(abi_size, absurd)
{
	static const uint32_t sizes[] = { 4097, 65536, INT_MAX, 1U << 31,
					  UINT_MAX };
	size_t length = MIB, i, s;
	uint8_t *arg = need_guarded(length);

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		op->need_args(&self->rig, arg);
		for (s = 0; s < ARRAY_LEN(sizes); s++)
			if (sizes[s] > page_size())
				EXPECT_EQ(-E2BIG, call(&self->rig, op, arg,
						       sizes[s]));
		op->undo(&self->rig, arg, false);
		memset(arg, 0, ABI_MAX_SIZE);
	}
	guarded_free(arg, length);
}

TEST_F(abi_size, bad_address)
{
	static const uintptr_t addresses[] = {
		0, 1, 4096, 0x7ffffffff000, 0x800000000000,
		0xffff800000000000, 0xffffffff81000000, UINTPTR_MAX - 3,
		UINTPTR_MAX,
	};
	size_t i, a;

	for (i = 0; i < nr_abi_ioctls; i++)
		for (a = 0; a < ARRAY_LEN(addresses); a++)
			EXPECT_EQ(-EFAULT, mr_ioctl(self->rig.dev,
						    abi_ioctls[i].cmd,
						    (void *)addresses[a]))
				TH_LOG("%s at %#lx", abi_ioctls[i].name,
				       addresses[a]);
}

/* A part of the struct is there, the rest is not. */
TEST_F(abi_size, across_the_end)
{
	uint8_t arg[ABI_MAX_SIZE];
	size_t i, part;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		op->need_args(&self->rig, arg);
		for (part = 1; part < op->size; part++) {
			uint8_t *at = self->buf + page_size() - part;

			memcpy(at, arg, part);
			EXPECT_EQ(-EFAULT, abi_call(&self->rig, op->cmd, at,
						    part))
				TH_LOG("%s with %zu bytes there", op->name,
				       part);
		}
		op->undo(&self->rig, arg, false);
	}
}

/*
 * A struct that can be read but not written: the caller would never learn a
 * region's id, so there must be no region.
 */
TEST_F(abi_size, read_only)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	size_t i;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		op->need_args(&self->rig, self->buf);
		ASSERT_EQ(0, mprotect(self->buf, page_size(), PROT_READ));
		EXPECT_EQ(-EFAULT, abi_call(&self->rig, op->cmd, self->buf,
					    op->size))
			TH_LOG("%s", op->name);
		ASSERT_EQ(0, mprotect(self->buf, page_size(),
				      PROT_READ | PROT_WRITE));
		op->undo(&self->rig, self->buf, false);
	}
	/* The place of the region that was not added is free. */
	EXPECT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(0, mr_region_remove(self->rig.dev, add.out_region_id));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a 32-bit program gets the same ABI: every ioctl made through the
 * 32-bit system call table, with the very same structs, does the same and
 * refuses the same. The table can be reached from a 64-bit process, so this
 * needs no 32-bit C library.
 */
#include "abi.h"
#include "harness.h"

#ifdef __x86_64__

#define COMPAT_GETPID	20
#define COMPAT_IOCTL	54

static int compat_call(unsigned int number, unsigned int a, unsigned int b,
		       unsigned int c)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" ((long)number), "b" ((long)a), "c" ((long)b),
		       "d" ((long)c)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/* A kernel without the table sends a signal. */
static bool have_compat(void)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(compat_call(COMPAT_GETPID, 0, 0, 0) != getpid());
	return child > 0 && waitpid(child, &status, 0) == child && !status;
}

FIXTURE(abi_compat) {
	struct rig rig;
	uint8_t *low;		/* a page that 32 bits can address */
};

FIXTURE_SETUP(abi_compat)
{
	if (!have_compat())
		SKIP(return, "no 32-bit system calls in this kernel");
	need_abi_rig(&self->rig);
	self->low = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, self->low);
}

FIXTURE_TEARDOWN(abi_compat)
{
	EXPECT_EQ(0, abi_still_works(&self->rig));
	munmap(self->low, page_size());
	rig_drop(&self->rig);
}

static int call(struct rig *rig, unsigned long cmd, void *low)
{
	return compat_call(COMPAT_IOCTL, rig->dev, cmd, (uintptr_t)low);
}

TEST_F(abi_compat, every_ioctl)
{
	uint32_t size;
	size_t i, at;

	for (i = 0; i < nr_abi_ioctls; i++) {
		const struct abi_ioctl *op = &abi_ioctls[i];

		memset(self->low, 0, page_size());
		op->need_args(&self->rig, self->low);
		size = op->size - 1;
		memcpy(self->low, &size, sizeof(size));
		EXPECT_EQ(-EINVAL, call(&self->rig, op->cmd, self->low));
		size = op->size + 1;
		memcpy(self->low, &size, sizeof(size));
		self->low[op->size] = 1;
		EXPECT_EQ(-E2BIG, call(&self->rig, op->cmd, self->low));
		self->low[op->size] = 0;
		size = op->size;
		memcpy(self->low, &size, sizeof(size));
		EXPECT_EQ(0, call(&self->rig, op->cmd, self->low))
			TH_LOG("%s", op->name);
		for (at = op->outputs; at + 4 <= op->size; at += 4)
			EXPECT_NE(0, memcmp(self->low + at,
					    &(uint32_t){ POISON32 }, 4))
				TH_LOG("%s: byte %zu was not written",
				       op->name, at);
		op->undo(&self->rig, self->low, true);
		EXPECT_EQ(-EFAULT, call(&self->rig, op->cmd, NULL));
		EXPECT_EQ(-EFAULT, call(&self->rig, op->cmd,
					(void *)0xfffff000UL));
	}
	EXPECT_EQ(-ENOTTY, call(&self->rig, _IO(MAPPED_RAM_IOC_MAGIC, 0x20),
				self->low));
}

/* A whole pass, with addresses of more than 32 bits in the struct */
TEST_F(abi_compat, passes)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save *save = (void *)self->low;
	struct mapped_ram_load *load = (void *)self->low;
	uint64_t written, zero;

	ASSERT_LT(UINT_MAX, (uintptr_t)rig->mem.addr);
	model_save(&rig->m, 0, ABI_PAGES, &written, &zero);
	*save = save_args(&rig->r, 0, ABI_PAGES);
	EXPECT_EQ(0, call(rig, MAPPED_RAM_SAVE, save));
	EXPECT_EQ(written, save->out_written_pages);
	EXPECT_EQ(zero, save->out_zero_pages);
	EXPECT_EQ(0, model_check(&rig->m));
	memset(rig->r.mem, 0xee, rig->r.length);
	*load = load_args(&rig->r, 0, ABI_PAGES);
	EXPECT_EQ(0, call(rig, MAPPED_RAM_LOAD, load));
	EXPECT_EQ(ABI_PAGES, load->out_read_pages + load->out_zero_pages);
	EXPECT_EQ(0, model_check(&rig->m));
}

#else

TEST(abi_compat)
{
	SKIP(return, "only for x86");
}

#endif

TEST_HARNESS_MAIN

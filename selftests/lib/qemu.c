// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that an image as QEMU writes it is understood: with everything that
 * may stand in it beside what we write, with its devices measured by QEMU's
 * description, and with device state that nothing describes, which is opaque
 * but neither refused nor taken for ours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

/*
 * QEMU's image: another section id, page bits and uuid, iterations, the start
 * of switchover; devices in devices with arrays and subsections, whose lengths
 * only the description tells.
 */
static const char qemu_head[] =
	"5145564d 00000003 07 00000003 'q35'"
	"05 1e 'configuration/target-page-bits' 00000001 0000000c"
	"05 1a 'configuration/capabilities' 00000001 00000001 0a 'mapped-ram'"
	"05 12 'configuration/uuid' 00000001 000102030405060708090a0b0c0d0e0f"
	"01 00000002 03 'ram' 00000000 00000004 0000000000001004"
	"06 'pc.ram' 0000000000001000"
	"00000001 0000000000001000 00000000000000d3 0000000000100000"
	"0100000000000000";

static const char qemu_ram_end[] =
	"0000000000000010 7e 00000002"
	"02 00000002 0000000000000010 7e 00000002"
	"02 00000002 0000000000000010 7e 00000002"
	"08 000b 0000"
	"03 00000002 0000000000000010 7e 00000002";

/* 2 + 3 * 4 + 5, subsection, 1; then one without a description's name. */
static const char qemu_state[] =
	"04 00000003 03 'dev' 00000001 00000002"
	"0102 00000000 00000000 00000000 0102030405"
	"05 05 'dev/s' 00000001 09"
	"7e 00000003"
	"04 00000004 03 'old' ffffffff 00000001 'xyz' 7e 00000004"
	"00";

static const char qemu_json[] =
	"'{\"configuration\": {}, \"page_size\": 4096, \"devices\": ['"
	"'{\"name\": \"unused\", \"instance_id\": 0, \"fields\": []}, '"
	"'{\"name\": \"dev\", \"instance_id\": 1, \"vmsd_name\": \"dev\", '"
	"'\"version\": 2, \"fields\": ['"
	"'{\"name\": \"a\", \"type\": \"uint16\", \"size\": 2}, '"
	"'{\"name\": \"b\", \"array_len\": 3, \"type\": \"uint32\", \"size\": 4}, '"
	"'{\"name\": \"c\", \"type\": \"struct\", \"struct\": {\"vmsd_name\": '"
	"'\"c\", \"version\": 1, \"fields\": [{\"name\": \"d\", \"type\": '"
	"'\"buffer\", \"size\": 5}]}, \"size\": 5}], '"
	"'\"subsections\": [{\"vmsd_name\": \"dev/s\", \"version\": 1, '"
	"'\"fields\": [{\"name\": \"e\", \"type\": \"bool\", \"size\": 1}]}]}, '"
	"'{\"name\": \"old\", \"instance_id\": 4294967295, '"
	"'\"fields\": [{\"name\": \"data\", \"type\": \"buffer\", \"size\": 3}]}]}'";

#define QEMU_TAIL	0x101000

/* Where the one that was made last would end without a description. */
static uint64_t qemu_image_end;

static uint64_t qemu_image(int fd, const char *json)
{
	struct bytes end = bytes(qemu_ram_end), state = bytes(qemu_state);
	struct bytes text = bytes(json ?: "");
	uint64_t at = QEMU_TAIL;
	char mark[16];

	if (ftruncate(fd, 0))
		abort();
	put_text(fd, 0, qemu_head);
	put_at(fd, at, end.data, end.length);
	at += end.length;
	put_at(fd, at, state.data, state.length);
	at += state.length;
	qemu_image_end = at;
	if (json) {
		snprintf(mark, sizeof(mark), "06 %08zx", text.length);
		put_text(fd, at, mark);
		put_at(fd, at + 5, text.data, text.length);
		at += 5 + text.length;
	}
	free(end.data);
	free(state.data);
	free(text.data);
	return at;
}

FIXTURE(qemu) {
	int fd;
	char *path;
	struct mram_error e;
};

FIXTURE_SETUP(qemu)
{
	self->path = mem_file(&self->fd);
}

FIXTURE_TEARDOWN(qemu)
{
	close(self->fd);
	free(self->path);
	EXPECT_NO_LEAKS();
}

TEST_F(qemu, everything_it_may_write)
{
	struct mram_block_info b = { .size = sizeof(b) };
	struct mram_section_info i = { .size = sizeof(i) };
	struct mram_image *img;
	uint64_t end;

	end = qemu_image(self->fd, qemu_json);
	ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e)) {
		TH_LOG("%s", self->e.message);
	}
	EXPECT_STREQ("q35", mram_image_machine(img));
	EXPECT_EQ(end, mram_image_size(img));
	EXPECT_EQ(QEMU_TAIL + 72, mram_image_state_offset(img));
	EXPECT_EQ(1, mram_image_blocks(img));
	ASSERT_EQ(0, mram_image_block(img, 0, &b, &self->e));
	EXPECT_EQ(1, b.set_pages);
	ASSERT_EQ(2, mram_image_sections(img));
	ASSERT_EQ(0, mram_image_section_info(img, 0, &i, &self->e));
	EXPECT_STREQ("dev", i.name);
	EXPECT_EQ(1, i.instance);
	EXPECT_EQ(2, i.version);
	EXPECT_EQ(2 + 3 * 4 + 5 + 1 + 1 + 5 + 4 + 1, i.length);
	ASSERT_EQ(0, mram_image_section_info(img, 1, &i, &self->e));
	EXPECT_STREQ("old", i.name);
	EXPECT_EQ(UINT32_MAX, i.instance);
	EXPECT_EQ(3, i.length);
	mram_image_close(img);
}

/* A device that only QEMU understands is not handed out as one of ours. */
TEST_F(qemu, has_no_sections_of_ours)
{
	struct mram_image *img;
	uint32_t version;
	size_t length;
	void *data;

	qemu_image(self->fd, qemu_json);
	ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e));
	EXPECT_EQ(-ENOENT, mram_image_section(img, "dev", 1, &version, &data,
					      &length, &self->e));
	mram_image_close(img);
}

/* No description, or one that does not fit: opaque, but it begins there. */
TEST_F(qemu, opaque)
{
	static const char *const json[] = {
		NULL, "'{}'", "'{\"devices\": []}'", "'{\"devices\": {}}'",
		"'{\"devices\": [1, {\"name\": 3}]}'",
		"'{\"devices\": [{\"name\": \"dev\", \"instance_id\": 1, '"
		"'\"fields\": [{\"size\": -1}]}]}'",
		"'{\"devices\": [{\"name\": \"dev\", \"instance_id\": 1, '"
		"'\"fields\": [{\"size\": 9223372036854775807, '"
		"'\"array_len\": 9223372036854775807}]}]}'",
		"'{\"devices\": [{\"name\": \"dev\", \"instance_id\": 1, '"
		"'\"fields\": [{\"size\": 9223372036854775807}, '"
		"'{\"size\": 9223372036854775807}, {\"size\": 99}]}]}'",
		"'{\"devices\": [{\"name\": \"dev\", \"instance_id\": 1, '"
		"'\"fields\": [], \"subsections\": [{}]}]}'",
	};
	struct mram_image *img;
	uint64_t end;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(json); i++) {
		end = qemu_image(self->fd, json[i]);
		ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e)) {
			TH_LOG("case %zu: %s", i, self->e.message);
		}
		EXPECT_EQ(-EOPNOTSUPP, mram_image_sections(img));
		EXPECT_EQ(QEMU_TAIL + 72, mram_image_state_offset(img));
		EXPECT_EQ(end, mram_image_size(img));
		mram_image_close(img);
	}
}

/*
 * Cut anywhere behind the memory, with a description and without: also where
 * the file then ends with a zero or with a brace.
 */
TEST_F(qemu, cut)
{
	const char *const json[] = { NULL, qemu_json };
	struct mram_image *img;
	uint64_t end, size;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(json); i++) {
		end = qemu_image(self->fd, json[i]);
		for (size = end - 1; size > QEMU_TAIL + 72; size--) {
			/* Whole again, if without a description. */
			if (json[i] && size == qemu_image_end)
				continue;
			ASSERT_EQ(0, ftruncate(self->fd, (off_t)size));
			ASSERT_EQ(-EINVAL, mram_image_open(&img, self->path,
							   &self->e)) {
				TH_LOG("0x%llx bytes", (unsigned long long)size);
			}
			EXPECT_TRUE(contains(self->e.message,
					     "device state|offset 0x101|cut"));
		}
	}
}

/* A description that is none, but ends like one. */
TEST_F(qemu, broken_description)
{
	struct mram_image *img;

	qemu_image(self->fd, "'{]}'");
	EXPECT_EQ(-EINVAL, mram_image_open(&img, self->path, &self->e));
	EXPECT_TRUE(contains(self->e.message, "device state|offset 0x101|cut"));
}

/* Such a JSON nests deeper than any device. */
TEST_F(qemu, deep_description)
{
	char *json = malloc(60000), *p = json;
	struct mram_image *img;
	int i;

	*p++ = '\'';
	for (i = 0; i < 5000; i++)
		p += sprintf(p, "{\"a\":[");
	strcpy(p, "'");
	qemu_image(self->fd, json);
	EXPECT_EQ(-EINVAL, mram_image_open(&img, self->path, &self->e));
	free(json);
}

TEST_F(qemu, without_device_state)
{
	struct mram_image *img;

	/* Ours always has a description; QEMU's may lack it. */
	qemu_image(self->fd, NULL);
	put_text(self->fd, QEMU_TAIL + 72, "00");
	ASSERT_EQ(0, ftruncate(self->fd, QEMU_TAIL + 73));
	ASSERT_EQ(0, mram_image_open(&img, self->path, &self->e));
	EXPECT_EQ(0, mram_image_sections(img));
	EXPECT_EQ(QEMU_TAIL + 73, mram_image_size(img));
	mram_image_close(img);
}

TEST_HARNESS_MAIN

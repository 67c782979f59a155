/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The numbers of QEMU's migration stream and its mapped-ram extension. Every
 * integer in the stream is big-endian; offsets count from the file's start.
 */
#ifndef MRAM_FORMAT_H
#define MRAM_FORMAT_H

#include <stdint.h>

#define MRAM_MAGIC		0x5145564dU	/* "QEVM" */
#define MRAM_STREAM_VERSION	3U

/* What a part of the stream is, its first byte. */
#define MRAM_VM_EOF		0x00
#define MRAM_VM_SECTION_START	0x01
#define MRAM_VM_SECTION_PART	0x02
#define MRAM_VM_SECTION_END	0x03
#define MRAM_VM_SECTION_FULL	0x04
#define MRAM_VM_SUBSECTION	0x05
#define MRAM_VM_DESCRIPTION	0x06
#define MRAM_VM_CONFIGURATION	0x07
#define MRAM_VM_COMMAND		0x08
#define MRAM_VM_SECTION_FOOTER	0x7e

#define MRAM_CMD_SWITCHOVER_START	11

#define MRAM_SUB_CAPABILITIES	"configuration/capabilities"
#define MRAM_SUB_PAGE_BITS	"configuration/target-page-bits"
#define MRAM_SUB_UUID		"configuration/uuid"
#define MRAM_CAP_MAPPED_RAM	"mapped-ram"

/* The RAM section: "ram", instance 0, version 4; words are offset | flags. */
#define MRAM_RAM_NAME		"ram"
#define MRAM_RAM_VERSION	4U
#define MRAM_RAM_FLAG_MEM_SIZE	0x04U
#define MRAM_RAM_FLAG_EOS	0x10U

/* Behind each block's name and length. */
#define MRAM_HEADER_VERSION	1U
#define MRAM_HEADER_SIZE	28U	/* be32 version, 3 * be64 */

#define MRAM_FOOTER_SIZE	5U	/* its mark, be32 section id */

/* Pages start at a multiple of this, for direct I/O's sake. */
#define MRAM_PAGES_ALIGN	0x100000U

#define MRAM_NAME_MAX		255U
#define MRAM_BLOCKS_MAX		4096U
#define MRAM_PAGE_SIZE_MIN	4096U
#define MRAM_PAGE_SIZE_MAX	0x200000U

/* No loader looks at the rest when this much of the start is zero. */
#define MRAM_FIRST_BLOCK	4096U

/*
 * Device state is searched for its end where a file does not say it, so both
 * it and its description have a limit.
 */
#define MRAM_STATE_MAX		0x40000000U
#define MRAM_DESCRIPTION_MAX	0x1000000U

/*
 * Section ids only have to agree within one stream. This one for RAM tells
 * images of this library apart: they always end in a JSON description, so a
 * missing one means that the file was cut.
 */
#define MRAM_SECTION_ID_RAM	0x4d52414dU	/* "MRAM" */

#endif /* MRAM_FORMAT_H */

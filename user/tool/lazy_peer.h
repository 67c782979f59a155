/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine monitor that mapped-ram restore --lazy serves: waiting for
 * it, and what it says about its memory. Documentation/restore.rst has this
 * conversation.
 */
#ifndef MRAM_LAZY_PEER_H
#define MRAM_LAZY_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct mapping - memory of the peer
 * @name: of the block that belongs there, owned; NULL: @offset tells
 * @addr: where it is in the peer
 * @size: in bytes
 * @offset: where it would begin if the image's blocks stood one behind the other
 * @page_size: of the memory; 0 when the peer does not say
 */
struct mapping {
	char *name;
	uint64_t addr;
	uint64_t size;
	uint64_t offset;
	uint64_t page_size;
};

/**
 * struct peer - a connection
 * @fd: the socket
 * @pid: who it is, 0 when that cannot be seen from here
 * @uffd: its userfaultfd
 * @maps: @nr_maps of them
 */
struct peer {
	int fd;
	pid_t pid;
	int uffd;
	struct mapping *maps;
	size_t nr_maps;
};

/** PEER - nobody is there yet */
#define PEER	{ .fd = -1, .uffd = -1 }

/**
 * peer_accept - wait for one to connect to a socket at @path
 *
 * The socket is made for it, for its owner alone, and is gone afterwards.
 *
 * Return: 0, or TOOL_FAILED after saying why
 */
int peer_accept(struct peer *p, const char *path);

/** peer_listen - take what it says; returns as peer_accept() does */
int peer_listen(struct peer *p, const char *path);

/**
 * peer_tell - tell it how it ended
 * @error: why it failed, or NULL: all memory is there
 */
void peer_tell(const struct peer *p, const char *error);

/** peer_close - let go of it; harmless when nobody is there */
void peer_close(struct peer *p);

#endif /* MRAM_LAZY_PEER_H */

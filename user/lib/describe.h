/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's JSON description of a stream's device state, as far as it tells how
 * long sections are. The text comes from a file and may be anything.
 */
#ifndef MRAM_DESCRIBE_H
#define MRAM_DESCRIBE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * mram_describe_parse - read a whole JSON object
 *
 * Return: NULL if @text is not exactly that; else json_object_put() it.
 */
struct json_object *mram_describe_parse(const char *text, size_t length);

/** mram_describe_devices - the array of sections, or NULL; @top owns it */
struct json_object *mram_describe_devices(struct json_object *top);

/**
 * mram_describe_find - the description of a section
 * @next: where to begin in @devices; moved behind what was found
 *
 * Return: NULL if there is none from @next on; @devices owns it.
 */
struct json_object *mram_describe_find(struct json_object *devices,
				       const char *name, uint32_t instance,
				       size_t *next);

/** mram_describe_plain - is it one buffer called data, as we write it? */
bool mram_describe_plain(struct json_object *device);

/**
 * mram_describe_length - how many bytes the section's data has
 *
 * -EINVAL if that cannot be told.
 */
int mram_describe_length(struct json_object *device, uint64_t *length);

#endif /* MRAM_DESCRIBE_H */

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building JSON from names that are bytes and numbers that are unsigned,
 * without losing an object where there is no memory for another.
 */
#ifndef MRAM_JSON_H
#define MRAM_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

/**
 * json_text - a string; NULL without memory
 *
 * JSON is UTF-8, names and paths are bytes: what is no text becomes '?'.
 */
json_object *json_text(const char *bytes);

/** json_add - add a value; one that cannot be added, or is NULL, is freed */
bool json_add(json_object *o, const char *key, json_object *value);

/** json_add_number - add a number */
bool json_add_number(json_object *o, const char *key, uint64_t value);

/**
 * json_append - append to an array
 *
 * Frees both when the object cannot be appended, or is NULL; then there is no
 * list, and NULL is returned.
 */
json_object *json_append(json_object *list, json_object *o);

/**
 * json_print - print, for people too, and free
 *
 * Return: 0, or TOOL_FAILED after saying that there was no memory: for NULL
 */
int json_print(json_object *o);

#endif /* MRAM_JSON_H */

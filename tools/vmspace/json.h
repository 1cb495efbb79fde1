/* SPDX-License-Identifier: MIT */
/* json.h: reading JSON (RFC 8259) into a tree. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	char *key;	    /* of an object's member */
	char *text;	    /* of a string; of a number as it stands; "true" or "false" */
	struct json *child; /* the first element or member */
	struct json *next;  /* the one beside it */
};

struct json_doc {
	struct json *root;
	void *blocks; /* all memory of the tree */
	char why[128];
};

/* The text must be one value: 0, or -1 and why. Text of any kind, with any bytes, is safe. */
int json_parse(struct json_doc *doc, const char *text, size_t len);
void json_free(struct json_doc *doc);

/* The member of that name; NULL where there is none, or v is no object or NULL. */
const struct json *json_get(const struct json *v, const char *key);
/* A string's text, or "". */
const char *json_text(const struct json *v);
/* A whole number from 0 on: decimal, or a string "0x..."; false: neither, or above 2^64 - 1. */
bool json_u64(const struct json *v, uint64_t *out);

#endif

// SPDX-License-Identifier: MIT
/*
 * json.c: reading JSON (json.h).
 *
 * One pass, no look-back. Nesting is bounded, so that no text can exhaust the stack; memory is a
 * small multiple of the text's length.
 */
#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEPEST 64
#define BLOCK	(size_t)65536

struct block {
	struct block *next;
	size_t used, size;
	char bytes[];
};

struct parser {
	struct json_doc *doc;
	const char *at, *end;
	unsigned depth;
	const char *wrong; /* NULL: nothing yet */
};

static void *take(struct parser *p, size_t size)
{
	struct block *b = p->doc->blocks;

	size = (size + 15) & ~(size_t)15;
	if (b == NULL || b->size - b->used < size) {
		size_t room = size > BLOCK ? size : BLOCK;

		b = malloc(sizeof(*b) + room + 16);
		if (b == NULL) {
			p->wrong = "no memory";
			return NULL;
		}
		b->size = room;
		b->used = -(uintptr_t)b->bytes & 15;
		b->size += b->used;
		b->next = p->doc->blocks;
		p->doc->blocks = b;
	}
	b->used += size;
	return memset(b->bytes + b->used - size, 0, size);
}

static bool fails(struct parser *p, const char *wrong)
{
	if (p->wrong == NULL)
		p->wrong = wrong;
	return false;
}

static void skip_blanks(struct parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

static bool eat(struct parser *p, char c)
{
	skip_blanks(p);
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

/* ---- strings ---- */

static bool four_digits(struct parser *p, unsigned *v)
{
	*v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p->at < p->end ? *p->at++ : '\0';
		unsigned digit = c >= '0' && c <= '9'	? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							: 16;

		if (digit == 16)
			return fails(p, "\\u without four digits");
		*v = *v << 4 | digit;
	}
	return true;
}

static char *put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/* Behind "\u". A NUL becomes '?': texts here end at one. */
static char *parse_unicode(struct parser *p, char *out)
{
	unsigned c, low;

	if (!four_digits(p, &c))
		return NULL;
	if (c >= 0xd800 && c < 0xdc00) {
		if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u')
			return fails(p, "half a character"), NULL;
		p->at += 2;
		if (!four_digits(p, &low))
			return NULL;
		if (low < 0xdc00 || low > 0xdfff)
			return fails(p, "half a character"), NULL;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xdc00 && c < 0xe000) {
		return fails(p, "half a character"), NULL;
	}
	return put_utf8(out, c == 0 ? '?' : c);
}

/* At the opening quote. What is written is never longer than what was read. */
static char *parse_string(struct parser *p)
{
	static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *end = p->at + 1;
	char *text, *out;

	while (end < p->end && *end != '"')
		end += *end == '\\' ? 2 : 1;
	if (end >= p->end)
		return fails(p, "a string without an end"), NULL;
	out = text = take(p, (size_t)(end - p->at));
	if (text == NULL)
		return NULL;
	for (p->at++; p->at < end;) {
		char c = *p->at++;
		const char *escape;

		if ((unsigned char)c < ' ')
			return fails(p, "a control character in a string"), NULL;
		if (c != '\\') {
			*out++ = c;
			continue;
		}
		c = *p->at++;
		escape = c != '\0' ? strchr(plain, c) : NULL;
		if (escape != NULL)
			*out++ = meant[escape - plain];
		else if (c != 'u')
			return fails(p, "an escape that is none"), NULL;
		else if ((out = parse_unicode(p, out)) == NULL)
			return NULL;
	}
	if (p->at != end)
		return fails(p, "\\u without four digits"), NULL;
	p->at++;
	return text;
}

/* ---- values ---- */

static bool digits(struct parser *p)
{
	const char *from = p->at;

	while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
		p->at++;
	return p->at != from;
}

static bool parse_number(struct parser *p, struct json *v)
{
	const char *from = p->at;
	size_t len;

	p->at += *p->at == '-';
	if (p->at < p->end && *p->at == '0')
		p->at++;
	else if (!digits(p))
		return fails(p, "no value");
	if (p->at < p->end && *p->at == '.') {
		p->at++;
		if (!digits(p))
			return fails(p, "a number without digits behind its point");
	}
	if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
		p->at++;
		p->at += p->at < p->end && (*p->at == '+' || *p->at == '-');
		if (!digits(p))
			return fails(p, "a number without digits in its exponent");
	}
	len = (size_t)(p->at - from);
	v->type = JSON_NUMBER;
	v->text = take(p, len + 1);
	if (v->text == NULL)
		return false;
	memcpy(v->text, from, len);
	return true;
}

static bool parse_word(struct parser *p, struct json *v)
{
	static char yes[] = "true", no[] = "false", none[] = "null";
	char *const words[] = {yes, no, none};

	for (int i = 0; i < 3; i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(p->end - p->at) >= len && memcmp(p->at, words[i], len) == 0) {
			p->at += len;
			v->type = i == 2 ? JSON_NULL : JSON_BOOL;
			v->text = words[i];
			return true;
		}
	}
	return fails(p, "no value");
}

static bool parse_value(struct parser *p, struct json *v);

static bool parse_list(struct parser *p, struct json *v, char close)
{
	struct json **link = &v->child;

	p->at++;
	if (eat(p, close))
		return true;
	do {
		struct json *item = take(p, sizeof(*item));

		if (item == NULL)
			return false;
		if (close == '}') {
			skip_blanks(p);
			if (p->at == p->end || *p->at != '"')
				return fails(p, "a member without a name");
			item->key = parse_string(p);
			if (item->key == NULL)
				return false;
			if (!eat(p, ':'))
				return fails(p, "a member without a colon");
		}
		if (!parse_value(p, item))
			return false;
		*link = item;
		link = &item->next;
	} while (eat(p, ','));
	return eat(p, close) || fails(p, "a list without an end");
}

static bool parse_value(struct parser *p, struct json *v)
{
	bool done;

	skip_blanks(p);
	if (p->at == p->end)
		return fails(p, "it ends too early");
	switch (*p->at) {
	case '{':
	case '[':
		if (++p->depth > DEEPEST)
			return fails(p, "nested too deep");
		v->type = *p->at == '{' ? JSON_OBJECT : JSON_ARRAY;
		done = parse_list(p, v, *p->at == '{' ? '}' : ']');
		p->depth--;
		return done;
	case '"':
		v->type = JSON_STRING;
		v->text = parse_string(p);
		return v->text != NULL;
	case 't':
	case 'f':
	case 'n':
		return parse_word(p, v);
	default:
		return parse_number(p, v);
	}
}

int json_parse(struct json_doc *doc, const char *text, size_t len)
{
	struct parser p = {.doc = doc, .at = text, .end = text + len};
	unsigned line = 1;

	memset(doc, 0, sizeof(*doc));
	doc->root = take(&p, sizeof(*doc->root));
	if (doc->root != NULL && parse_value(&p, doc->root)) {
		skip_blanks(&p);
		if (p.at != p.end)
			p.wrong = "there is more behind the value";
	}
	if (p.wrong == NULL)
		return 0;
	for (const char *c = text; c < p.at && c < p.end; c++)
		line += *c == '\n';
	snprintf(doc->why, sizeof(doc->why), "line %u: %s", line, p.wrong);
	json_free(doc);
	return -1;
}

void json_free(struct json_doc *doc)
{
	while (doc->blocks != NULL) {
		struct block *b = doc->blocks;

		doc->blocks = b->next;
		free(b);
	}
	doc->root = NULL;
}

const struct json *json_get(const struct json *v, const char *key)
{
	if (v == NULL || v->type != JSON_OBJECT)
		return NULL;
	for (v = v->child; v != NULL; v = v->next)
		if (strcmp(v->key, key) == 0)
			return v;
	return NULL;
}

const char *json_text(const struct json *v)
{
	return v != NULL && v->type == JSON_STRING ? v->text : "";
}

bool json_u64(const struct json *v, uint64_t *out)
{
	char *end;
	bool hex = v != NULL && v->type == JSON_STRING && strncmp(v->text, "0x", 2) == 0 &&
		   strspn(v->text + 2, "0123456789abcdefABCDEF") == strlen(v->text + 2) &&
		   v->text[2] != '\0';

	if (!hex && (v == NULL || v->type != JSON_NUMBER ||
		     strspn(v->text, "0123456789") != strlen(v->text)))
		return false;
	errno = 0;
	*out = strtoull(v->text, &end, hex ? 16 : 10);
	return errno == 0 && *end == '\0';
}

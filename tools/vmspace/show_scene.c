// SPDX-License-Identifier: MIT
/* show_scene.c: what is to be seen, and the differences from call to call (show.h). */
#include "show.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *show_flag(unsigned bit)
{
	static const char *const names[] = {"shared", "locked",	    "grows down", "sealed",
					    "fixed size", "stream"};

	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

const char *show_prot(uint32_t prot, char buf[4])
{
	buf[0] = prot & VMS_PROT_READ ? 'r' : '-';
	buf[1] = prot & VMS_PROT_WRITE ? 'w' : '-';
	buf[2] = prot & VMS_PROT_EXEC ? 'x' : '-';
	buf[3] = '\0';
	return buf;
}

int show_cannot(const char *fmt, ...)
{
	va_list ap;

	fputs("vmspace show: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

/* ---- names ---- */

static size_t hash(const char *s)
{
	uint64_t h = 14695981039346656037u;

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211u;
	return (size_t)(h ^ h >> 32);
}

/* Where the name is, or the free slot for it. Slots hold a name's number + 1. */
static size_t *slot_of(const struct scene *s, const char *name)
{
	size_t i = hash(name) & (s->n_slots - 1);

	while (s->slot[i] != 0 && strcmp(s->name[s->slot[i] - 1], name) != 0)
		i = (i + 1) & (s->n_slots - 1);
	return &s->slot[i];
}

/* Room for one more, at most half of the slots taken. */
static int names_grow(struct scene *s)
{
	size_t n = s->n_slots == 0 ? 64 : s->n_slots * 2;
	char **name;

	if (s->n_slots > 2 * s->n_names)
		return 0;
	name = realloc(s->name, n / 2 * sizeof(name[0]));
	if (name == NULL)
		return -ENOMEM;
	s->name = name;
	free(s->slot);
	s->n_slots = n;
	s->slot = calloc(n, sizeof(s->slot[0]));
	if (s->slot == NULL) {
		s->n_slots = 0;
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->n_names; i++)
		*slot_of(s, s->name[i]) = i + 1;
	return 0;
}

uint32_t scene_name(struct scene *s, const char *name)
{
	size_t *slot;

	if (names_grow(s) != 0)
		return UINT32_MAX;
	slot = slot_of(s, name);
	if (*slot == 0) {
		char *copy = strdup(name);

		if (copy == NULL)
			return UINT32_MAX;
		s->name[s->n_names++] = copy;
		*slot = s->n_names;
	}
	return (uint32_t)(*slot - 1);
}

/* ---- life ---- */

int scene_init(struct scene *s)
{
	return scene_name(s, "") == 0 ? 0 : -ENOMEM;
}

void scene_fini(struct scene *s)
{
	for (size_t i = 0; i < s->n_names; i++)
		free(s->name[i]);
	for (size_t i = 0; i < s->n_steps; i++)
		free(s->step[i].call);
	free(s->name);
	free(s->slot);
	free(s->title);
	free(s->note);
	free(s->call);
	free(s->maps.v);
	free(s->before.v);
	free(s->gone.v);
	free(s->came.v);
	free(s->region);
	free(s->object);
	free(s->count);
	free(s->step);
	memset(s, 0, sizeof(*s));
}

/* ---- mappings ---- */

static int maps_room(struct show_maps *maps, size_t more)
{
	size_t room = maps->room == 0 ? 64 : maps->room;
	struct show_map *v;

	if (maps->room - maps->n >= more)
		return 0;
	while (room - maps->n < more)
		room *= 2;
	v = realloc(maps->v, room * sizeof(v[0]));
	if (v == NULL)
		return -ENOMEM;
	maps->v = v;
	maps->room = room;
	return 0;
}

struct show_map *show_maps_add(struct show_maps *maps)
{
	if (maps_room(maps, 1) != 0)
		return NULL;
	maps->v[maps->n] = (struct show_map){
		.resident = SHOW_UNKNOWN, .shared = SHOW_UNKNOWN, .swapped = SHOW_UNKNOWN};
	return &maps->v[maps->n++];
}

size_t show_maps_find(const struct show_maps *maps, uint64_t addr)
{
	size_t lo = 0, hi = maps->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (maps->v[mid].last < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- steps ---- */

struct show_step *scene_step(struct scene *s, char *call)
{
	if (call == NULL)
		return NULL;
	if (s->n_steps == s->step_room) {
		size_t room = s->step_room == 0 ? 256 : s->step_room * 2;
		struct show_step *step = realloc(s->step, room * sizeof(step[0]));

		if (step == NULL) {
			free(call);
			return NULL;
		}
		s->step = step;
		s->step_room = room;
	}
	s->step[s->n_steps] = (struct show_step){
		.call = call, .gone = s->gone.n, .came = s->came.n};
	return &s->step[s->n_steps++];
}

static bool same(const struct show_map *a, const struct show_map *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int note(struct show_maps *list, const struct show_map *m, size_t *n)
{
	if (maps_room(list, 1) != 0)
		return -ENOMEM;
	list->v[list->n++] = *m;
	++*n;
	return 0;
}

/* What is in only one of two sorted lists. */
static int note_differences(struct scene *s, const struct show_map *old, size_t n_old,
			    const struct show_map *now, size_t n_now, struct show_step *step)
{
	size_t i = 0, j = 0;
	int err = 0;

	while (err == 0 && (i < n_old || j < n_now)) {
		if (i < n_old && j < n_now && same(&old[i], &now[j])) {
			i++;
			j++;
		} else if (j == n_now || (i < n_old && old[i].start <= now[j].start)) {
			err = note(&s->gone, &old[i++], &step->n_gone);
		} else {
			err = note(&s->came, &now[j++], &step->n_came);
		}
	}
	return err;
}

int scene_replace(struct scene *s, uint64_t first, uint64_t last, const struct show_maps *now,
		  struct show_step *step)
{
	struct show_maps *maps = &s->maps;
	size_t at = show_maps_find(maps, first), end = at;

	while (end < maps->n && maps->v[end].start <= last)
		end++;
	if (step != NULL &&
	    note_differences(s, maps->v + at, end - at, now->v, now->n, step) != 0)
		return -ENOMEM;
	if (now->n > end - at && maps_room(maps, now->n - (end - at)) != 0)
		return -ENOMEM;
	if (now->n != end - at && end < maps->n)
		memmove(maps->v + at + now->n, maps->v + end,
			(maps->n - end) * sizeof(maps->v[0]));
	if (now->n != 0)
		memcpy(maps->v + at, now->v, now->n * sizeof(maps->v[0]));
	maps->n = maps->n - (end - at) + now->n;
	return 0;
}

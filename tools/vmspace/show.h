/* SPDX-License-Identifier: MIT */
/*
 * show.h: `vmspace show`: what a guest's memory looks like.
 *
 *	source	where it comes from: a recording or a script (show_calls.c), a process
 *		(show_process.c), a dump of vms_space_dump() (show_dump.c)
 *	scene	what is to be seen: mappings, and what the source knows beside them
 *	step	one call of a recording or script: the mappings that went and those that came
 *	face	how it is drawn: for a terminal (show_text.c), for programs (show_json.c), as a page
 *		(show_html.c)
 *
 * Every source fills a scene, every face draws one; no source knows a face.
 *
 * Invariants
 * 1. Mappings are sorted and do not overlap; ends are inclusive, so the last byte of 2^64 is one.
 * 2. What a source does not know is SHOW_UNKNOWN, never a zero.
 * 3. Steps start from the scene before the first call: applying all gives the one after the last.
 */
#ifndef SHOW_H
#define SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <vmspace/vmspace.h>

#define SHOW_UNKNOWN UINT64_MAX

/* show_map.flags */
#define SHOW_SHARED 0x01u /* writes are seen by others; of a space: by its branches (VMS_MAP_SHARE) */
#define SHOW_LOCKED 0x02u
#define SHOW_GROWS  0x04u /* downwards */
#define SHOW_SEALED 0x08u
#define SHOW_FIXED  0x10u /* VMS_MAP_FIXED_SIZE */
#define SHOW_STREAM 0x20u /* VMS_MAP_STREAM */
/* The name of a flag by its bit's number, NULL past the last. */
const char *show_flag(unsigned bit);

struct show_map {
	uint64_t start, last;
	uint64_t off;
	uint32_t prot, ceiling; /* VMS_PROT_*; ceiling is that of scene.ceilings */
	uint32_t flags;		/* SHOW_* */
	uint32_t what;		/* which of scene.name */
	uint32_t depth;		/* of the region that it is in; 0: the root, or no regions */
	uint32_t zero;		/* no padding: mappings are compared as bytes */
	uint64_t object;	/* scene.object with this id; 0: none */
	/* Bytes, of the whole mapping: in memory; of these, seen by others too; swapped out. */
	uint64_t resident, shared, swapped;
};

struct show_region {
	uint64_t start, last;
	uint32_t depth, rights;
};

/* Bytes may be SHOW_UNKNOWN. */
struct show_object {
	uint64_t id, parent, bytes, resident, own;
	uint32_t kind, name; /* which of scene.name */
	bool snapshot;
};

struct show_count {
	char name[24];
	uint64_t value;
};

struct show_maps {
	struct show_map *v;
	size_t n, room;
};

struct show_step {
	char *call; /* as a person writes it, with its answer */
	size_t gone, n_gone; /* in scene.gone */
	size_t came, n_came; /* in scene.came */
};

struct scene {
	const char *kind; /* "recording", "script", "process", "space" */
	char *title;
	uint64_t page_size;
	struct show_maps maps;
	bool residency, ceilings; /* does the source know them? */
	char **name;		  /* [0] is "" */
	size_t n_names;
	size_t *slot; /* hash table of names */
	size_t n_slots;
	struct show_region *region;
	size_t n_regions;
	struct show_object *object;
	size_t n_objects;
	struct show_count *count;
	size_t n_counts;
	char *note; /* what a person should know beside; NULL: nothing */
	/* Recordings and scripts. */
	bool has_calls;
	uint64_t at, calls; /* calls made, and in all */
	char *call;	    /* the last one made; NULL: none */
	bool want_steps;
	struct show_maps before; /* the mappings before the first step */
	struct show_step *step;
	size_t n_steps, step_room;
	struct show_maps gone, came;
};

/* All zero, want_steps as wished. -ENOMEM. */
int scene_init(struct scene *s);
void scene_fini(struct scene *s);
/* A name's number, the same for the same name; -ENOMEM: UINT32_MAX. */
uint32_t scene_name(struct scene *s, const char *name);
/* The index of the first mapping that ends at or after addr. */
size_t show_maps_find(const struct show_maps *maps, uint64_t addr);
/* A new one at the end, zero but for SHOW_UNKNOWN; NULL: no memory. */
struct show_map *show_maps_add(struct show_maps *maps);
/*
 * Replace those that touch [first, last] by `now`, which were read there; with want_steps what
 * differs is noted in the step. -ENOMEM.
 */
int scene_replace(struct scene *s, uint64_t first, uint64_t last, const struct show_maps *now,
		  struct show_step *step);
/* A new step; takes `call` over. NULL: no memory. */
struct show_step *scene_step(struct scene *s, char *call);

/*
 * Sources: 0, or -1 after a sentence on stderr. at: show it after so many calls, SHOW_UNKNOWN: all.
 */
int show_recording(struct scene *s, const char *path, FILE *in, uint64_t at);
int show_script(struct scene *s, const char *path, FILE *in, uint64_t at);
int show_process(struct scene *s, int pid);
int show_dump(struct scene *s, const char *path, FILE *in);

/* Faces. */
void show_text(FILE *out, const struct scene *s, bool colour);
void show_json(FILE *out, const struct scene *s);
void show_html(FILE *out, const struct scene *s);

/* The page around its data, made by page/embed.py. */
extern const unsigned char show_page_before[], show_page_behind[];
extern const size_t show_page_before_size, show_page_behind_size;

/* A string of JSON that may stand in a page too: no '<' in it. */
void show_quoted(FILE *out, const char *s);
/* "rw-" */
const char *show_prot(uint32_t prot, char buf[4]);
/* A sentence on stderr after "vmspace show: "; -1. */
int show_cannot(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

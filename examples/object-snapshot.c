// SPDX-License-Identifier: MIT
/*
 * object-snapshot.c: an object, a snapshot of it, a write to each side, and what each is charged: a
 * page that two see counts a half in each.
 */
#include <stdio.h>
#include <unistd.h>
#include <vmspace/object.h>

static void show(const char *name, struct vms_object *obj)
{
	struct vms_share row[2]; /* pages seen by one, and by two */
	char text[6] = "";
	size_t n = 2;

	if (vms_object_read(obj, 0, text, 5, NULL) || vms_object_share(obj, row, &n))
		return;
	printf("%s reads \"%s\" and is charged", name, text);
	for (size_t i = 0; i < n; i++)
		printf("%s %d/%d", i ? " +" : "", (int)row[i].pages, (int)row[i].sharers);
	printf(" pages\n");
}

int main(void)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vms_arena_params where = { .size = sizeof(where) };
	struct vms_object_params what = { .size = sizeof(what), .bytes = 4 * page };
	struct vms_arena_info info = { .size = sizeof(info) };
	struct vms_object *obj = NULL, *snap = NULL;
	struct vms_arena *arena = NULL;
	int err;

	err = vms_arena_create(&where, &arena);
	if (!err)
		err = vms_object_create(arena, &what, &obj);
	for (uint64_t i = 0; !err && i < 4; i++)
		err = vms_object_write(obj, i * page, "first", 5, NULL);
	if (!err)
		err = vms_object_child(obj, VMS_CHILD_SNAPSHOT, 0, &what, &snap);
	if (!err)
		err = vms_object_write(obj, 0, "later", 5, NULL); /* copies: snap sees the page */
	if (!err)
		err = vms_object_write(snap, 0, "other", 5, NULL); /* in place: snap's alone now */
	if (!err) {
		show("object", obj);
		show("snapshot", snap);
		err = vms_arena_info(arena, &info);
		printf("together: %d pages\n", (int)(info.granted / page));
	}
	vms_object_unref(snap);
	if (!err)
		show("object", obj);
	else
		fprintf(stderr, "object-snapshot: %s\n", vms_last_error());
	vms_object_unref(obj);
	vms_arena_unref(arena);
	return err ? 1 : 0;
}

// SPDX-License-Identifier: MIT
/*
 * Dumps of spaces over objects: word by word for a space that has one of everything, against
 * vms_next() for many mappings, with each allocation refused, and through a pipe that takes little
 * at a time while signals come.
 */
#include <inttypes.h>
#include <signal.h>
#include <sys/time.h>

#include "vspace_kit.h"

/* What a dump wrote, NUL ended. */
static char *dumped(struct fixture *f, enum vms_dump_format format)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);
	off_t len;
	char *text;

	assert_ok(vms_space_dump(f->s, format, fd));
	len = lseek(fd, 0, SEEK_END);
	assert_true(len > 0);
	text = calloc(1, (size_t)len + 1);
	assert_int_equal(pread(fd, text, (size_t)len, 0), len);
	close(fd);
	return text;
}

static uint64_t id_of(struct vms_object *obj)
{
	struct vms_object_info i = { .size = sizeof(i) };

	assert_ok(vms_object_info(obj, &i));
	return i.id;
}

static struct vms_object *named(struct fixture *f, const char *name)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = 4 * P, .name = name };
	struct vms_object *obj;

	assert_ok(vms_object_create(f->arena, &p, &obj));
	return obj;
}

/*
 * The root with a mapping of a named object that has two of four pages and a snapshot; a region
 * with rights to read, in it another with one mapping of the snapshot's last three pages, of which
 * one is there; and one of host memory up to the highest address.
 */
static struct vms_region *one_of_everything(struct fixture *f)
{
	const struct vms_place at = { .flags = VMS_PLACE_AT, .addr = BASE + 16 * P };
	struct vms_region_params rp = { .size = sizeof(rp),
					.rights = VMS_PROT_READ | VMS_REGION_SPECIFIC,
					.len = 8 * P };
	struct vms_map_params mp = { .size = sizeof(mp),
				     .prot = R,
				     .place = { .flags = VMS_PLACE_AT, .addr = BASE + 17 * P },
				     .off = P,
				     .len = 3 * P,
				     .flags = VMS_MAP_SHARE | VMS_MAP_FIXED_SIZE };
	struct vms_region *outer, *inner;

	f->obj = named(f, "a\"<\xc3\xa4\xff\n");
	put(f->obj, 0, 'a');
	put(f->obj, 1, 'b');
	f->other = child(f->obj, VMS_CHILD_SNAPSHOT, 4);
	put(f->other, 0, 'c');
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_ok(vms_region_create(vms_space_root(f->s), &at, &rp, &outer, NULL));
	rp.len = 4 * P;
	assert_ok(vms_region_create(outer, &at, &rp, &inner, NULL));
	assert_ok(vms_region_set_priority(inner, VMS_PRIORITY_HIGH));
	mp.object = f->other;
	assert_ok(vms_map(inner, &mp, NULL));
	vms_region_unref(outer);
	return inner;
}

static void the_text_of_everything(void **state)
{
	struct fixture *f = *state;
	struct vms_region *inner = one_of_everything(f);
	char *text, expected[2048];
	uint64_t a, b;

	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	text = dumped(f, VMS_DUMP_TEXT);
	a = id_of(f->obj);
	b = id_of(f->other);
	snprintf(expected, sizeof(expected),
		 "3 regions, 2 mappings of 28672 bytes, pages of 4096\n"
		 "0x10000-0x400000000000 rwxs root\n"
		 "  0x100000-0x104000 rw-/rwx object %" PRIu64 " +0x0, 8192 bytes there\n"
		 "  0x110000-0x118000 r--s region\n"
		 "    0x110000-0x114000 r--s region, high priority\n"
		 "      0x111000-0x114000 r--/r-- object %" PRIu64
		 " +0x1000, 4096 bytes there, shared, fixed size\n"
		 "object %" PRIu64 ": anonymous a\"<\xc3\xa4\xff\\x0a, 16384 bytes, 8192 there, 4096 of "
		 "them its own\n"
		 "object %" PRIu64 ": anonymous, 16384 bytes, 8192 there, 4096 of them its own, snapshot "
		 "of %" PRIu64 "\n"
		 "counters: edits 2, fault_ok 1, page_own 1, backend_map 1, backend_entries 1\n",
		 a, b, a, b, a);
	assert_string_equal(text, expected);
	free(text);
	vms_region_unref(inner);
}

static void the_json_of_everything(void **state)
{
	struct fixture *f = *state;
	struct vms_region *inner = one_of_everything(f);
	char *text = dumped(f, VMS_DUMP_JSON), expected[2048];
	uint64_t a = id_of(f->obj), b = id_of(f->other);
	char *regions = strstr(text, "\"regions\"");

	snprintf(expected, sizeof(expected),
		 "\"regions\":[\n"
		 "{\"start\":\"0x10000\",\"end\":\"0x400000000000\",\"depth\":0,\"rights\":\"rwxs\"},\n"
		 "{\"start\":\"0x110000\",\"end\":\"0x118000\",\"depth\":1,\"rights\":\"r--s\"},\n"
		 "{\"start\":\"0x110000\",\"end\":\"0x114000\",\"depth\":2,\"rights\":\"r--s\","
		 "\"priority\":\"high\"}],\n"
		 "\"objects\":[\n"
		 "{\"id\":%" PRIu64 ",\"kind\":\"anonymous\",\"name\":\"a\\\"\\u003c\xc3\xa4\\u00ff\\u000a\","
		 "\"snapshot\":false,\"bytes\":16384,\"resident\":8192,\"own\":4096,\"pins\":0},\n"
		 "{\"id\":%" PRIu64 ",\"kind\":\"anonymous\",\"name\":\"\",\"parent\":%" PRIu64
		 ",\"snapshot\":true,\"bytes\":16384,\"resident\":8192,\"own\":4096,\"pins\":0}],\n"
		 "\"mappings\":[\n"
		 "{\"start\":\"0x100000\",\"end\":\"0x104000\",\"prot\":\"rw-\",\"ceiling\":\"rwx\","
		 "\"flags\":[],\"off\":\"0x0\",\"object\":%" PRIu64 ",\"depth\":0,"
		 "\"what\":\"anonymous a\\\"\\u003c\xc3\xa4\\u00ff\\u000a\",\"resident\":8192},\n"
		 "{\"start\":\"0x111000\",\"end\":\"0x114000\",\"prot\":\"r--\",\"ceiling\":\"r--\","
		 "\"flags\":[\"shared\",\"fixed size\"],\"off\":\"0x1000\",\"object\":%" PRIu64
		 ",\"depth\":2,\"what\":\"anonymous\",\"resident\":4096}]}\n",
		 a, b, a, a, b);
	assert_true(strncmp(text, "{\"vmspace\":\"space\",\"version\":1,\"page_size\":4096,\n", 48) == 0);
	assert_non_null(strstr(text, "\"counters\":{\"edits\":2,"));
	assert_string_equal(regions, expected);
	free(text);
	vms_region_unref(inner);
}

/* What the arena does not have is not counted; a slice and what lies past an end are. */
static void what_is_there(void **state)
{
	struct fixture *f = *state;
	char *text;

	make_host(f);
	map(f, f->obj, BASE, 0, 4 * P, R);
	text = dumped(f, VMS_DUMP_JSON);
	assert_null(strstr(text, "resident"));
	assert_non_null(strstr(text, "\"what\":\"host memory\"}"));
	free(text);
	unmap(f, BASE, 4 * P);
	drop_objects(f);
	make_slice(f);
	map(f, f->obj, BASE, 0, 8 * P, R);
	map(f, f->obj, BASE + 16 * P, P, 8 * P, R);
	map(f, f->obj, BASE + 32 * P, 8 * P, 8 * P, R);
	text = dumped(f, VMS_DUMP_TEXT);
	assert_non_null(strstr(text, "0x100000-0x108000 r--/rwx object"));
	assert_non_null(strstr(text, " +0x0, 4096 bytes there\n"));
	assert_non_null(strstr(text, " +0x1000, 0 bytes there\n"));
	assert_non_null(strstr(text, " +0x8000, 0 bytes there\n"));
	free(text);
	drop_objects(f);
}

static void bad_wishes_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vms_space_dump(f->s, (enum vms_dump_format)2, 1), -EINVAL);
	assert_int_equal(vms_space_dump(f->s, VMS_DUMP_TEXT, -1), -EBADF);
	assert_non_null(strstr(vms_last_error(), "write"));
}

static void many(struct fixture *f, unsigned n)
{
	make_zero(f);
	for (unsigned i = 0; i < n; i++)
		map(f, f->obj, BASE + 2 * i * P, (i % 4) * P, P, i % 3 ? R : RW);
}

static void every_mapping_is_there_once(void **state)
{
	struct fixture *f = *state;
	struct vms_mapping_info m = { .size = sizeof(m) };
	struct vms_cursor cursor = { 0 };
	char *text, *at;
	unsigned n = 0;

	many(f, 2000);
	text = dumped(f, VMS_DUMP_JSON);
	at = strstr(text, "\"mappings\":[");
	while (vms_next(f->s, &cursor, &m) == 0) {
		char line[128];

		snprintf(line, sizeof(line),
			 "\n{\"start\":\"0x%" PRIx64 "\",\"end\":\"0x%" PRIx64 "\",\"prot\":\"%s\"", m.addr,
			 m.addr + m.len, m.prot == RW ? "rw-" : "r--");
		at = strchr(at, '\n');
		assert_non_null(at);
		assert_int_equal(strncmp(at, line, strlen(line)), 0);
		at++;
		n++;
	}
	assert_int_equal(n, 2000);
	assert_string_equal(strchr(at, '}'), "}]}\n");
	free(text);
	unmap(f, BASE, 4000 * P);
}

static void without_memory_nothing_is_written(void **state)
{
	struct fixture *f = *state;
	struct vms_region *inner = one_of_everything(f);
	int fd = memfd_create("dump", MFD_CLOEXEC), err = -ENOMEM;
	unsigned refused = 0;
	size_t live;

	for (; err == -ENOMEM; refused++) {
		live = f->world.live;
		test_world_fail(&f->world, refused + 1, 1u << CALL_ALLOC, ENOMEM);
		err = vms_space_dump(f->s, VMS_DUMP_JSON, fd);
		test_world_fail(&f->world, 0, 0, 0);
		assert_int_equal(f->world.live, live);
		assert_true(err == 0 || lseek(fd, 0, SEEK_END) == 0);
	}
	assert_ok(err);
	assert_true(refused > 3);
	close(fd);
	vms_region_unref(inner);
}

/* ---- While others edit ---- */

static atomic_bool stop;

/* All eight at once, to and fro. */
static void *protect_all(void *arg)
{
	struct fixture *f = arg;

	for (unsigned i = 0; !atomic_load(&stop); i++)
		if (vms_protect(vms_space_root(f->s), BASE, 8 * P, i % 2 ? R : RW, 0))
			return (void *)1;
	return NULL;
}

static unsigned times(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

static void a_dump_is_of_one_instant(void **state)
{
	struct fixture *f = *state;
	unsigned read = 0, write = 0;
	pthread_t thread;
	void *wrong;

	make_own(f);
	/* Pages that do not go on from each other: eight mappings. */
	for (unsigned i = 0; i < 8; i++)
		map(f, f->obj, BASE + i * P, (i % 2) * 2 * P, P, RW);
	atomic_store(&stop, false);
	assert_ok(pthread_create(&thread, NULL, protect_all, f));
	for (unsigned i = 0; i < 300 || ((!read || !write) && i < 30000); i++) {
		char *text = dumped(f, VMS_DUMP_JSON);
		unsigned r = times(text, "\"prot\":\"r--\""), w = times(text, "\"prot\":\"rw-\"");

		assert_true((r == 8 && w == 0) || (r == 0 && w == 8));
		read += r;
		write += w;
		free(text);
	}
	assert_true(read && write);
	atomic_store(&stop, true);
	pthread_join(thread, &wrong);
	assert_null(wrong);
	unmap(f, BASE, 8 * P);
}

/* ---- Through a pipe, with signals ---- */

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

struct sink {
	int fd;
	char *text;
	size_t len;
};

static void *drink(void *arg)
{
	struct sink *s = arg;
	sigset_t all;
	ssize_t n;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while ((n = read(s->fd, s->text + s->len, 3001)) > 0) {
		s->len += (size_t)n;
		usleep(200);
	}
	return NULL;
}

static void short_writes_and_signals(void **state)
{
	struct fixture *f = *state;
	struct sigaction act = { .sa_handler = on_alarm }; /* no SA_RESTART */
	struct itimerval often = { { 0, 700 }, { 0, 700 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sink sink = { 0 };
	int ends[2];
	pthread_t reader;
	char *whole;

	many(f, 2000);
	whole = dumped(f, VMS_DUMP_JSON);
	assert_true(strlen(whole) > 200000);
	sink.text = calloc(1, 2 * strlen(whole));
	assert_ok(pipe(ends));
	sink.fd = ends[0];
	assert_ok(pthread_create(&reader, NULL, drink, &sink));
	alarms = 0;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_ok(vms_space_dump(f->s, VMS_DUMP_JSON, ends[1]));
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	close(ends[1]);
	pthread_join(reader, NULL);
	close(ends[0]);
	assert_true(alarms > 0);
	assert_string_equal(sink.text, whole);
	free(sink.text);
	free(whole);
	unmap(f, BASE, 4000 * P);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_text_of_everything, begin, end),
		cmocka_unit_test_setup_teardown(the_json_of_everything, begin, end),
		cmocka_unit_test_setup_teardown(what_is_there, begin, end),
		cmocka_unit_test_setup_teardown(bad_wishes_are_refused, begin, end),
		cmocka_unit_test_setup_teardown(every_mapping_is_there_once, begin, end),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_written, begin, end),
		cmocka_unit_test_setup_teardown(a_dump_is_of_one_instant, begin_threads, end),
		cmocka_unit_test_setup_teardown(short_writes_and_signals, begin_threads, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

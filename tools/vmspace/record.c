// SPDX-License-Identifier: MIT
/*
 * record.c: `vmspace record`: run a program under ptrace and write its memory calls as a trace.
 *
 * Every call that changes the map is written when it returns, and the maps at the start of each
 * image (exec), every 64 calls and at the end. Addresses are not randomised, so that the trace can
 * be replayed with free placement.
 *
 * Rules
 * 1. One process is recorded, with all its threads and through execve. The processes it forks run
 * on unrecorded; what a vfork child does to the shared map before its exec is missed.
 * 2. Threads share the map. So that an order of calls exists and maps are read at rest, only one
 * thread at a time is inside a memory call; another waits at its entry.
 * 3. A failing call is written too: it changes nothing, and the engine must fail alike.
 */
#include <elf.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "memcalls.h"
#include "tracefile.h"

#if defined(__x86_64__) || defined(__aarch64__)

/* sys/ptrace.h and linux/ptrace.h clash, so the call is made by hand. */
static long trace(int request, pid_t tid, uintptr_t addr, uintptr_t data)
{
	return syscall(SYS_ptrace, (long)request, (long)tid, addr, data);
}

#define BLOCK_EVERY  64u
#define STOP_SYSCALL (SIGTRAP | 0x80)

struct thread {
	pid_t tid;
	bool inside;  /* of a memory call, between entry and exit */
	bool waiting; /* stopped at the entry, another one is inside */
	struct trace_call call;
};

struct recorder {
	FILE *out;
	pid_t pid; /* the process; its first thread */
	struct thread *thread;
	size_t n, room;
	struct trace_maps maps;
	unsigned calls, since_block, images;
	bool last_block; /* written already */
	int status;	 /* of the program, as a shell has it */
};

/* ---- threads ---- */

static struct thread *find_thread(struct recorder *r, pid_t tid)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->thread[i].tid == tid) {
			return &r->thread[i];
		}
	}
	return NULL;
}

static struct thread *add_thread(struct recorder *r, pid_t tid)
{
	struct thread *t = find_thread(r, tid);

	if (t != NULL) {
		return t;
	}
	if (r->n == r->room) {
		size_t room = r->room ? r->room * 2 : 16;

		t = realloc(r->thread, room * sizeof(*t));
		if (t == NULL) {
			return NULL;
		}
		r->thread = t;
		r->room = room;
	}
	t = &r->thread[r->n++];
	*t = (struct thread){.tid = tid};
	return t;
}

static bool someone_inside(const struct recorder *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->thread[i].inside) {
			return true;
		}
	}
	return false;
}

static void go_on(pid_t tid, int sig)
{
	/* It may be gone already: its exit is reported by wait. */
	trace(PTRACE_SYSCALL, tid, 0, (uintptr_t)sig);
}

/* (rule 2) Let the next one in. */
static void wake_waiting(struct recorder *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct thread *t = &r->thread[i];

		if (t->waiting) {
			t->waiting = false;
			t->inside = true;
			go_on(t->tid, 0);
			return;
		}
	}
}

static void drop_thread(struct recorder *r, pid_t tid)
{
	struct thread *t = find_thread(r, tid);
	bool inside;

	if (t == NULL) {
		return;
	}
	inside = t->inside;
	*t = r->thread[--r->n];
	if (inside) {
		wake_waiting(r);
	}
}

/* ---- what is written ---- */

static void write_block(struct recorder *r, pid_t tid)
{
	if (trace_read_maps(tid, &r->maps) == 0 && r->maps.n > 0) {
		trace_write_block(r->out, &r->maps);
		r->since_block = 0;
	}
}

static void write_image(struct recorder *r, pid_t tid)
{
	char path[64], name[64] = "program";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", tid);
	f = fopen(path, "re");
	if (f != NULL) {
		if (fgets(name, sizeof(name), f) != NULL) {
			name[strcspn(name, "\n")] = '\0';
		}
		fclose(f);
	}
	fprintf(r->out, "# %s\n", name);
	r->images++;
	write_block(r, tid);
}

static void write_call(struct recorder *r, struct thread *t)
{
	trace_write_call(r->out, &t->call);
	r->calls++;
	if (++r->since_block == BLOCK_EVERY) {
		write_block(r, t->tid);
	}
}

/* ---- stops ---- */

static void at_syscall(struct recorder *r, struct thread *t)
{
	struct ptrace_syscall_info info;
	const char *name;

	memset(&info, 0, sizeof(info));
	if (trace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), (uintptr_t)&info) <= 0) {
		go_on(t->tid, 0);
		return;
	}
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		name = memory_call(info.entry.nr, true);
		if (name != NULL) {
			memset(&t->call, 0, sizeof(t->call));
			snprintf(t->call.name, sizeof(t->call.name), "%s", name);
			memcpy(t->call.a, info.entry.args, sizeof(t->call.a));
			if (someone_inside(r)) {
				t->waiting = true;
				return;
			}
			t->inside = true;
		}
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->inside) {
		t->call.ret = info.exit.rval;
		write_call(r, t);
		t->inside = false;
		go_on(t->tid, 0);
		wake_waiting(r);
		return;
	}
	go_on(t->tid, 0);
}

static void at_event(struct recorder *r, struct thread *t, int event)
{
	unsigned long message = 0;

	trace(PTRACE_GETEVENTMSG, t->tid, 0, (uintptr_t)&message);
	switch (event) {
	case PTRACE_EVENT_EXEC:
		/* Whoever called it is the first thread now, and the only one. */
		for (size_t i = r->n; i-- > 0;) {
			if (r->thread[i].tid != t->tid) {
				r->thread[i] = r->thread[--r->n];
			}
		}
		t = find_thread(r, r->pid);
		if (t != NULL) {
			t->inside = t->waiting = false;
		}
		write_image(r, r->pid);
		go_on(r->pid, 0);
		return;
	case PTRACE_EVENT_CLONE:
		add_thread(r, (pid_t)message);
		break;
	case PTRACE_EVENT_EXIT:
		/* The map stands until its last thread is gone. */
		if (r->n == 1 && r->images > 0 && !r->last_block) {
			write_block(r, t->tid);
			r->last_block = true;
		}
		break;
	default:
		break;
	}
	/* A growing array may have moved. */
	go_on(t->tid, 0);
}

static void at_stop(struct recorder *r, pid_t tid, int status)
{
	struct thread *t = find_thread(r, tid);
	int sig = WSTOPSIG(status), event = status >> 16;

	if (t == NULL) {
		/* A new thread's first stop may come before its creator's event. */
		t = add_thread(r, tid);
		if (t == NULL) {
			kill(r->pid, SIGKILL);
			return;
		}
	}
	if (sig == STOP_SYSCALL) {
		at_syscall(r, t);
	} else if (event == PTRACE_EVENT_STOP) {
		/* A group stop keeps waiting for SIGCONT; the first stop of a new thread goes on.
		 */
		if (sig == SIGTRAP) {
			go_on(tid, 0);
		} else {
			trace(PTRACE_LISTEN, tid, 0, 0);
		}
	} else if (event != 0) {
		at_event(r, t, event);
	} else {
		go_on(tid, sig);
	}
}

static void follow(struct recorder *r)
{
	pid_t tid;
	int status;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid < 0) {
			continue;
		}
		if (WIFSTOPPED(status)) {
			at_stop(r, tid, status);
			continue;
		}
		drop_thread(r, tid);
		if (tid == r->pid) {
			r->status =
				WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
}

/* ---- the command ---- */

static void become_program(char **argv, int ready)
{
	char c;

	/* The parent attaches first. */
	if (read(ready, &c, 1) != 1) {
		_exit(126);
	}
	personality(ADDR_NO_RANDOMIZE);
	execvp(argv[0], argv);
	c = (char)(errno == ENOENT ? 127 : 126);
	fprintf(stderr, "vmspace record: %s: %s\n", argv[0], strerror(errno));
	_exit(c);
}

static int start(struct recorder *r, char **argv)
{
	uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE |
			    PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL;
	int pipes[2], status;

	if (pipe(pipes) != 0) {
		return -errno;
	}
	/* Not libc's fork: it pulls in what this static, high program cannot reach (meson.build).
	 */
	r->pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (r->pid < 0) {
		return -errno;
	}
	if (r->pid == 0) {
		close(pipes[1]);
		become_program(argv, pipes[0]);
	}
	close(pipes[0]);
	if (trace(PTRACE_SEIZE, r->pid, 0, options) != 0 ||
	    trace(PTRACE_INTERRUPT, r->pid, 0, 0) != 0 ||
	    waitpid(r->pid, &status, __WALL) != r->pid) {
		int err = errno;

		close(pipes[1]);
		kill(r->pid, SIGKILL);
		return -err;
	}
	if (add_thread(r, r->pid) == NULL) {
		return -ENOMEM;
	}
	go_on(r->pid, 0);
	if (write(pipes[1], "x", 1) != 1) {
		return -errno;
	}
	close(pipes[1]);
	return 0;
}

static void usage(FILE *out)
{
	fputs("usage: vmspace record FILE [--] PROGRAM [ARGUMENTS]\n\n"
	      "Run PROGRAM and write its memory calls, their answers and its maps to FILE ('-': "
	      "standard\n"
	      "output), for `vmspace replay`. Its threads and what it becomes by execve are "
	      "recorded, the\n"
	      "processes it forks are not. Status: PROGRAM's; 2 if it cannot be traced.\n",
	      out);
}

int cmd_record(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct recorder r = {.status = STATUS_USAGE};
	const char *path;
	int err;

	optind = 1;
	if (getopt_long(argc, argv, "+", options, NULL) >= 0) {
		bool help = optopt == 0;

		usage(help ? stdout : stderr);
		return help ? 0 : STATUS_USAGE;
	}
	if (argc - optind < 1) {
		usage(stderr);
		return STATUS_USAGE;
	}
	path = argv[optind++];
	if (optind < argc && strcmp(argv[optind], "--") == 0) {
		optind++;
	}
	if (optind >= argc) {
		usage(stderr);
		return STATUS_USAGE;
	}
	r.out = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	if (r.out == NULL) {
		fprintf(stderr, "vmspace record: %s: %s\n", path, strerror(errno));
		return STATUS_USAGE;
	}
	fflush(NULL);
	err = start(&r, argv + optind);
	if (err != 0) {
		fprintf(stderr, "vmspace record: cannot trace %s: %s\n", argv[optind],
			strerror(-err));
		return STATUS_USAGE;
	}
	follow(&r);
	if (fflush(r.out) != 0 || ferror(r.out)) {
		fprintf(stderr, "vmspace record: %s: %s\n", path, strerror(errno));
		return STATUS_USAGE;
	}
	fprintf(stderr, "vmspace record: %u calls, %u images\n", r.calls, r.images);
	if (r.out != stdout) {
		fclose(r.out);
	}
	free(r.thread);
	trace_maps_free(&r.maps);
	return r.status;
}

#else

int cmd_record(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs("vmspace record: only on x86-64 and arm64\n", stderr);
	return STATUS_USAGE;
}

#endif

// SPDX-License-Identifier: MIT
/* calls_exec.c: execve: what it refuses, scripts, and what goes over to the next program. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void exec_wait(const char *what, char *const argv[], const char *file)
{
	fflush(stdout);
	pid_t c = fork();

	if (c == 0) {
		execve(file, argv, environ);
		printf("%s: errno %d\n", what, errno);
		fflush(stdout);
		_exit(0);
	}
	show_status(what, wait_for(c));
}

static void write_file(const char *name, const char *text, size_t len, mode_t mode)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		printf("cannot write %s\n", name);
	fchmod(fd, mode);
	close(fd);
}

void case_exec(void)
{
	static const struct {
		const char *what, *name, *text;
		mode_t mode;
	} files[] = {
		{ "no format", "./plain", "hello\n", 0755 },
		{ "empty file", "./empty", "", 0755 },
		{ "script", "./script", "#!/bin/echo  one  two \nx\n", 0755 },
		{ "no permission", "./noexec", "#!/bin/echo\n", 0644 },
		{ "nested script", "./nested", "#! ./script inner\n", 0755 },
		{ "bad interpreter", "./badinterp", "#!/no/such/interp\n", 0755 },
		{ "blank interpreter", "./blank", "#!   \n", 0755 },
		{ "loop", "./loop", "#!./loop\n", 0755 },
	};
	char dir[] = "/tmp/guest-calls-XXXXXX", text[9000];
	char *echo[] = { (char *)"zero", (char *)"args", NULL };

	if (mkdtemp(dir) == NULL || chdir(dir) != 0)
		return;
	exec_wait("missing", echo, "./missing");
	exec_wait("directory", echo, ".");
	exec_wait("through a file", echo, "/etc/passwd/x");
	exec_wait("empty name", echo, "");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		write_file(files[i].name + 2, files[i].text, strlen(files[i].text), files[i].mode);
		exec_wait(files[i].what, echo, files[i].name);
	}
	memset(text, 'a', sizeof(text));
	memcpy(text, "#!/", 3);
	write_file("long", text, 4000, 0755);
	exec_wait("long line", echo, "./long");
	memcpy(text, "#!/bin/echo ", 12);
	write_file("longarg", text, 4000, 0755);
	exec_wait("long argument", echo, "./longarg");
	write_file("elf", "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\76\0\1\0\0\0", 24, 0755);
	exec_wait("cut ELF", echo, "./elf");
	if (symlink("link2", "link1") != 0 || symlink("link1", "link2") != 0)
		printf("no symlinks\n");
	exec_wait("link loop", echo, "./link1");
	memset(text, 'b', sizeof(text));
	text[5000] = 0;
	exec_wait("long name", echo, text);
	char *none[] = { NULL };

	exec_wait("no arguments", none, "/bin/true");
	exec_wait("argv0",
		  (char *[]){ (char *)"sh", (char *)"-c", (char *)"echo $0 $1", (char *)"me",
			      (char *)"you", NULL },
		  "/bin/sh");
	char *big = malloc(140000);

	memset(big, 'x', 139999);
	big[139999] = 0;
	exec_wait("big argument", (char *[]){ (char *)"x", big, NULL }, "/bin/true");
	big[120000] = 0;
	exec_wait("less big", (char *[]){ (char *)"x", big, NULL }, "/bin/true");
	fflush(stdout);
	pid_t c = fork();

	if (c == 0) {
		syscall(SYS_execve, "/bin/true", 8, environ);
		_exit(errno);
	}
	show_status("bad argv", wait_for(c));
	c = fork();
	if (c == 0) {
		syscall(SYS_execve, "/bin/true", echo, 8);
		_exit(errno);
	}
	show_status("bad envp", wait_for(c));
	c = fork();
	if (c == 0) {
		syscall(SYS_execve, 8, echo, environ);
		_exit(errno);
	}
	show_status("bad path", wait_for(c));
	/* By descriptor. */
	int fd = open("/bin/echo", O_RDONLY);

	c = fork();
	if (c == 0) {
		fexecve(fd, echo, environ);
		_exit(errno);
	}
	show_status("fexecve", wait_for(c));
	fd = open("./script", O_RDONLY);
	c = fork();
	if (c == 0) {
		syscall(SYS_execveat, fd, "", echo, environ, AT_EMPTY_PATH);
		_exit(errno);
	}
	show_status("fexecve script", wait_for(c));
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	c = fork();
	if (c == 0) {
		syscall(SYS_execveat, fd, "", echo, environ, AT_EMPTY_PATH);
		_exit(errno);
	}
	show_status("fexecve closed script", wait_for(c));
	c = fork();
	if (c == 0) {
		syscall(SYS_execveat, AT_FDCWD, "script", echo, environ, 0x4000);
		_exit(errno);
	}
	show_status("bad flags", wait_for(c));
	/* Masks and ignored signals go over to the new program. */
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGSYS);
	sigprocmask(SIG_BLOCK, &s, NULL);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGHUP, on_signal);
	fflush(stdout);
	c = fork();
	if (c == 0) {
		execl(self, self, "inherited", (char *)NULL);
		_exit(99);
	}
	show_status("inherited", wait_for(c));
	execl("/bin/rm", "rm", "-r", dir, (char *)NULL);
}

void case_inherited(void)
{
	struct sigaction a;
	sigset_t s;

	sigprocmask(SIG_BLOCK, NULL, &s);
	printf("blocked usr1 %d sys %d int %d\n", sigismember(&s, SIGUSR1), sigismember(&s, SIGSYS),
	       sigismember(&s, SIGINT));
	sigaction(SIGUSR2, NULL, &a);
	printf("ignored %d\n", a.sa_handler == SIG_IGN);
	sigaction(SIGHUP, NULL, &a);
	printf("default %d\n", a.sa_handler == SIG_DFL);
	sigaction(SIGSEGV, NULL, &a);
	printf("default %d flags %d\n", a.sa_handler == SIG_DFL, a.sa_flags);
}

/* SPDX-License-Identifier: MIT */
/*
 * calls.h: what the cases of guest_calls share. A case prints what it saw; the test compares a
 * bare run with a run under vmspace, so nothing may print an address or a number that changes from
 * run to run, or with the load of the machine.
 */
#ifndef CALLS_H
#define CALLS_H

#include <signal.h>
#include <sys/types.h>

extern char **environ;
extern char *self; /* argv[0] */
extern volatile sig_atomic_t hits, last_sig;

void on_signal(int sig); /* counts in hits */
void handle(int sig, void (*fn)(int), int flags);
void show_status(const char *what, int st);
int wait_for(pid_t p);

void case_eintr(void);
void case_masks(void);
void case_suspend_full(void);
void case_sigsys(void);
void case_segv(void);
void case_altstack(void);
void case_deaths(void);
void case_vfork(void);
void case_spawn(void);
void case_clone(void);
void case_fork(void);
void case_storm(void);
void case_fds(void);
void case_procfs(void);
void case_exec(void);
void case_inherited(void);
void case_memory(void);
void case_efault(void);
void case_shm(void);
void case_vectors(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * command.h: the sub-commands. Each gets its own name as argv[0] and returns the exit status:
 * 0 done, 1 a difference or failure was found, 2 wrong usage or bad input.
 */
#ifndef COMMAND_H
#define COMMAND_H

#define STATUS_USAGE 2

int cmd_run(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_info(int argc, char **argv);

#endif

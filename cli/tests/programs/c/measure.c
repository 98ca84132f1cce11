/* measure FILE PROGRAM ARGS: runs a program (a path, no search) on this kernel
 * without address-space randomisation and huge pages, and writes to FILE
 *   minor N anon N pte N last N
 * minor faults from execve on, peak RssAnon, peak VmPTE and the last VmPTE
 * (KiB).
 *
 * Memory is given back only by system calls, so looking before and after each
 * of them, and at the end, sees every peak. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long peak_anon, peak_pte, last_pte, minor, before;

static char *contents(pid_t pid, const char *name)
{
	static char text[8192];
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return text;
}

static long field(const char *text, const char *label)
{
	const char *at = strstr(text, label);
	return at ? atol(at + strlen(label)) : 0;
}

static long faults(pid_t pid)
{
	char *rest = strrchr(contents(pid, "stat"), ')');
	long count = 0;
	if (rest)
		sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %ld", &count);
	return count;
}

static void look(pid_t pid)
{
	char *text = contents(pid, "status");
	long anon = field(text, "\nRssAnon:");
	last_pte = field(text, "\nVmPTE:");
	if (anon > peak_anon)
		peak_anon = anon;
	if (last_pte > peak_pte)
		peak_pte = last_pte;
	minor = faults(pid) - before;
}

static void become(char **words)
{
	personality(ADDR_NO_RANDOMIZE);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	execv(words[0], words);
	_exit(127);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	pid_t child = fork();
	if (child == 0)
		become(argv + 2);
	int status, running = 0;
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0,
	       PTRACE_O_EXITKILL | PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD);
	for (long signal = 0;;) {
		ptrace(PTRACE_SYSCALL, child, 0, signal);
		if (waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
			break;
		int event = status >> 8;
		signal = 0;
		if (event == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
			running = 1;
		} else if (event == (SIGTRAP | 0x80) || event == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
			/* The last stop before the program runs is at the entry of execve. */
			if (running)
				look(child);
			else
				before = faults(child);
		} else {
			signal = WSTOPSIG(status);
		}
	}
	FILE *out = fopen(argv[1], "w");
	if (!out || !running)
		return 127;
	fprintf(out, "minor %ld anon %ld pte %ld last %ld\n", minor, peak_anon, peak_pte, last_pte);
	fclose(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

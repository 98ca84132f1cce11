/* measure PROGRAM ARGS: runs a program on this kernel without address-space
 * randomisation and huge pages, and writes to descriptor 2 a line
 *   measured minor N anon N pte N
 * (minor faults, those of exec included, peak RssAnon and peak VmPTE in KiB).
 *
 * Memory is given back only by system calls, so looking before each of them,
 * and at the end, sees every peak. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static long peak_anon, peak_pte, minor;

static long field(const char *text, const char *label)
{
	const char *at = strstr(text, label);
	return at ? atol(at + strlen(label)) : 0;
}

static void look(pid_t pid)
{
	char path[64], text[8192];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	long anon = field(text, "\nRssAnon:"), pte = field(text, "\nVmPTE:");
	if (anon > peak_anon)
		peak_anon = anon;
	if (pte > peak_pte)
		peak_pte = pte;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	char *rest = strrchr(text, ')');
	unsigned long faults;
	if (rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %lu", &faults) == 1)
		minor = faults;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	/* A vfork child takes no faults of its own before exec. */
	pid_t child = vfork();
	if (child == 0) {
		personality(ADDR_NO_RANDOMIZE);
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	int status;
	waitpid(child, &status, 0);
	if (!WIFSTOPPED(status))
		return 127;
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD);
	for (long signal = 0;;) {
		ptrace(PTRACE_SYSCALL, child, 0, signal);
		if (waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
			break;
		int event = status >> 8;
		signal = 0;
		if (event == (SIGTRAP | 0x80) || event == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			look(child);
		else
			signal = WSTOPSIG(status);
	}
	fprintf(stderr, "measured minor %ld anon %ld pte %ld\n", minor, peak_anon, peak_pte);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

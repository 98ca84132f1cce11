/*
 * deprive fsgsbase PROGRAM ...: runs a program that is told that user code
 * cannot read the bases of FS and GS.
 *
 * deprive NR,NR[:ARGUMENT=VALUE] ERRNO PROGRAM ...: runs a program for which
 * system calls fail as on a host that lacks them. With ARGUMENT (0 to 5) only
 * calls fail in which it is VALUE, all bits, low half.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <elf.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)

/* Changes the word of the auxiliary vector before the program's first instruction. */
static int hide_fsgsbase(char **words)
{
	struct user_regs_struct regs;
	int status;
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(words[0], words);
		_exit(4);
	}
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, child, 0, &regs))
		return 3;
	unsigned long at = regs.rsp + 8;

	/* Arguments, then the environment, each ended by a zero. */
	for (int list = 0; list < 2; list++, at += 8)
		while (ptrace(PTRACE_PEEKDATA, child, at, 0))
			at += 8;
	for (;; at += 16) {
		long key = ptrace(PTRACE_PEEKDATA, child, at, 0), word = ptrace(PTRACE_PEEKDATA, child, at + 8, 0);

		if (key == AT_NULL)
			break;
		if (key == AT_HWCAP2)
			ptrace(PTRACE_POKEDATA, child, at + 8, word & ~2L);
	}
	ptrace(PTRACE_DETACH, child, 0, 0);
	if (waitpid(child, &status, 0) != child)
		return 3;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **words)
{
	if (count > 2 && !strcmp(words[1], "fsgsbase"))
		return hide_fsgsbase(words + 2);

	struct sock_filter filter[64];
	unsigned short n = 0;

	if (count < 4)
		return 2;
	char *which = strchr(words[1], ':');
	unsigned failure = SECCOMP_RET_ERRNO | (unsigned)atoi(words[2]);

	if (which)
		*which++ = 0;
	for (char *nr = strtok(words[1], ","); nr && n < 50; nr = strtok(NULL, ",")) {
		filter[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, nr));
		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)atoi(nr), 0, which ? 3 : 1);
		if (which) {
			filter[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, args) + 8 * (which[0] - '0'));
			filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)strtoul(which + 2, NULL, 0), 0, 1);
		}
		filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, failure);
	}
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { n, filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("deprive");
		return 3;
	}
	execv(words[3], words + 3);
	perror(words[3]);
	return 4;
}

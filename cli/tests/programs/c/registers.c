/* Asks for its own numbers over and over, with every register full and signals
   coming in between: a call changes RAX, RCX and R11 and nothing else. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 400000, SIGNALS = 300 };

static volatile long signals;

static void on_alarm(int signal)
{
	char fill[256];
	memset(fill, 0x55, sizeof fill);
	__asm__ volatile("movups (%0), %%xmm0\n movups (%0), %%xmm7\n movups (%0), %%xmm15\n std\n cld" ::"r"(fill) : "xmm0", "xmm7", "xmm15", "memory");
	signals += signal == SIGALRM;
}

/* rbx rbp rdi rsi rdx r8 r9 r10 r12 r13 r14 r15, then 16 vector registers, then flags, rcx - rip, r11 - flags, rax */
struct state {
	unsigned long general[12];
	unsigned char vectors[16][16] __attribute__((aligned(16)));
	unsigned long flags, result;
} __attribute__((aligned(64)));

static struct state before, after;

static void call(long number, int carry)
{
	before.result = number;
	before.flags = carry;
	__asm__ volatile(
		"push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
		"mov %0, %%rax\n"
		".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n movaps 96+16*\\n(%%rax), %%xmm\\n\n .endr\n"
		"mov 0(%%rax), %%rbx\n mov 8(%%rax), %%rbp\n mov 16(%%rax), %%rdi\n mov 24(%%rax), %%rsi\n"
		"mov 32(%%rax), %%rdx\n mov 40(%%rax), %%r8\n mov 48(%%rax), %%r9\n mov 56(%%rax), %%r10\n"
		"mov 64(%%rax), %%r12\n mov 72(%%rax), %%r13\n mov 80(%%rax), %%r14\n mov 88(%%rax), %%r15\n"
		"btq $0, 352(%%rax)\n"
		"mov 360(%%rax), %%rax\n"
		"syscall\n"
		"mov %%rax, after+360(%%rip)\n"
		"lea after(%%rip), %%rax\n"
		"mov %%rbx, 0(%%rax)\n mov %%rbp, 8(%%rax)\n mov %%rdi, 16(%%rax)\n mov %%rsi, 24(%%rax)\n"
		"mov %%rdx, 32(%%rax)\n mov %%r8, 40(%%rax)\n mov %%r9, 48(%%rax)\n mov %%r10, 56(%%rax)\n"
		"mov %%r12, 64(%%rax)\n mov %%r13, 72(%%rax)\n mov %%r14, 80(%%rax)\n mov %%r15, 88(%%rax)\n"
		"mov $0, %%ecx\n setc %%cl\n mov %%rcx, 352(%%rax)\n"
		".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n movaps %%xmm\\n, 96+16*\\n(%%rax)\n .endr\n"
		"pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
		:
		: "r"(&before)
		: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
		  "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static long self(void)
{
	return syscall(SYS_gettid);
}

static void *in_thread(void *own)
{
	int right = syscall(SYS_getpid) == *(long *)own && self() != *(long *)own;
	return right ? own : 0;
}

/* Numbers that change hands: of a thread, of children, of a program executed. */
static void others(long own, char *program)
{
	pthread_t thread;
	void *right;
	int status[3];

	pthread_create(&thread, 0, in_thread, &own);
	pthread_join(thread, &right);
	if (!fork())
		_exit(syscall(SYS_getpid) == own || self() != syscall(SYS_getpid) || getppid() != own);
	wait(&status[0]);
	long child = vfork();
	if (!child)
		_exit(syscall(SYS_getpid) == own || self() != syscall(SYS_getpid));
	wait(&status[1]);
	if (!(child = fork())) {
		char text[20];
		sprintf(text, "%ld", (long)syscall(SYS_getpid));
		execl(program, program, text, (char *)0);
	}
	wait(&status[2]);
	printf("thread %d, fork %d, vfork %d, exec %d, again %d\n", right != 0, status[0], status[1], status[2],
	       syscall(SYS_getpid) == own && self() == own);
	fflush(stdout);
}

int main(int argc, char **words)
{
	if (argc > 1)
		return syscall(SYS_getpid) != atol(words[1]) || self() != atol(words[1]);
	struct itimerval often = { { 0, 200 }, { 0, 200 } };
	long own = getpid(), wrong = 0, calls = 0;

	for (unsigned n = 0; n < 16; n++)
		for (unsigned i = 0; i < 16; i++)
			before.vectors[n][i] = n * 16 + i * 7 + 1;
	others(own, words[0]);
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, 0);
	while (calls < CALLS || signals < SIGNALS) {
		for (int i = 0; i < 12; i++)
			before.general[i] = 0x1111111111111111ul * (i + 1) + calls;
		call(calls % 3 ? SYS_getpid : SYS_gettid, calls & 1);
		wrong += after.result != (unsigned long)own || after.flags != before.flags;
		wrong += memcmp(before.general, after.general, sizeof before.general) != 0;
		wrong += memcmp(before.vectors, after.vectors, sizeof before.vectors) != 0;
		calls++;
	}
	printf("%ld wrong, signals %s\n", wrong, signals >= SIGNALS ? "came" : "missing");
	return wrong != 0;
}

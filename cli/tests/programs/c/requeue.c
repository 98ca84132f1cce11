/*
 * Condition variables of locks that name their owner: FUTEX_WAIT_REQUEUE_PI
 * and FUTEX_CMP_REQUEUE_PI, what they do and what they refuse.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAITERS = 3 };

static _Atomic uint32_t word, other, lock;
static atomic_int waiting, woken, order;
static atomic_long result;
static pid_t waiter;
static int kind = FUTEX_PRIVATE_FLAG;

static long futex(_Atomic uint32_t *at, int op, uint32_t value, long value2, _Atomic uint32_t *at2, uint32_t value3)
{
	long result_ = syscall(SYS_futex, at, op | kind, value, value2, at2, value3);

	return result_ < 0 ? -errno : result_;
}

static void say(const char *what, long result_)
{
	if (result_ < 0)
		printf("%s: %s\n", what, strerrorname_np(-result_));
	else
		printf("%s: %ld\n", what, result_);
	fflush(stdout);
}

/* Until the thread sleeps. */
static void until_asleep(pid_t tid)
{
	char path[60], text[300] = "";

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	do {
		FILE *file = fopen(path, "r");

		usleep(2000);
		if (!file || !fgets(text, sizeof text, file))
			return;
		fclose(file);
	} while (*(strrchr(text, ')') + 2) != 'S');
}

static void acquire(void)
{
	uint32_t unlocked = 0;

	if (!atomic_compare_exchange_strong(&lock, &unlocked, gettid()))
		futex(&lock, FUTEX_LOCK_PI, 0, 0, NULL, 0);
}

static void release(void)
{
	uint32_t own = gettid();

	if (!atomic_compare_exchange_strong(&lock, &own, 0))
		futex(&lock, FUTEX_UNLOCK_PI, 0, 0, NULL, 0);
}

static void *wait_once(void *until)
{
	waiter = gettid();
	result = -1000;
	waiting++;
	result = futex(&word, FUTEX_WAIT_REQUEUE_PI, word, (long)until, &lock, 0);
	if (!result) {
		woken += (lock & FUTEX_TID_MASK) == (uint32_t)gettid();
		order++;
		release();
	}
	return NULL;
}

static pthread_t start(void *until)
{
	pthread_t thread;
	int before = waiting;

	pthread_create(&thread, NULL, wait_once, until);
	while (waiting == before)
		usleep(1000);
	until_asleep(waiter);
	return thread;
}

static void on_signal(int signal)
{
	(void)signal;
}

static void broadcast(int held, long more)
{
	pthread_t threads[WAITERS];

	woken = 0;
	for (int i = 0; i < WAITERS; i++)
		threads[i] = start(NULL);
	if (held)
		acquire();
	say(held ? "requeue with the lock held" : "requeue with the lock free",
	    futex(&word, FUTEX_CMP_REQUEUE_PI, 1, more, &lock, word));
	if (held) {
		usleep(20000);
		printf("nobody has it: %d, marked: %d\n", woken == 0, !!(lock & FUTEX_WAITERS));
		release();
	}
	if (more < WAITERS - 1) {
		usleep(50000);
		printf("woken: %d\n", woken);
		acquire();
		say("the others", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, WAITERS, &lock, word));
		release();
	}
	for (int i = 0; i < WAITERS; i++)
		pthread_join(threads[i], NULL);
	printf("all with the lock: %d, free again: %d\n", woken == WAITERS, lock == 0);
}

static struct timespec *in(long nanos)
{
	static struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += nanos;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return &until;
}

static void all(void)
{
	pthread_t thread;

	say("nobody waits", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 1, &lock, word));
	say("two to wake", futex(&word, FUTEX_CMP_REQUEUE_PI, 2, 1, &lock, word));
	say("none to wake", futex(&word, FUTEX_CMP_REQUEUE_PI, 0, 1, &lock, word));
	say("fewer than none", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, -1, &lock, word));
	say("another value", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 1, &lock, word + 1));
	say("onto itself", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 1, &word, word));
	say("nowhere", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 1, (void *)8, word));
	say("wait on itself", futex(&word, FUTEX_WAIT_REQUEUE_PI, word, 0, &word, 0));
	say("wait for the past", futex(&word, FUTEX_WAIT_REQUEUE_PI, word + 1, 0, &lock, 0));
	say("wait not long", futex(&word, FUTEX_WAIT_REQUEUE_PI, word, (long)in(1000000), &lock, 0));
	say("wait nowhere", futex((void *)8, FUTEX_WAIT_REQUEUE_PI, 0, 0, &lock, 0));

	broadcast(0, WAITERS);
	broadcast(1, WAITERS);
	broadcast(1, 0);
	broadcast(0, 1);

	thread = start(NULL);
	say("only wake", futex(&word, FUTEX_WAKE, 1, 0, NULL, 0));
	say("plain requeue", futex(&word, FUTEX_CMP_REQUEUE, 0, 1, &other, word));
	say("another lock", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 0, &other, word));
	lock = waiter;
	say("its own lock", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 0, &lock, word));
	lock = 0x3ffffff0;
	say("nobody's lock", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 0, &lock, word));
	lock = 0;
	word++;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	say("a signal after a change", result);

	acquire();
	thread = start(NULL);
	say("moved", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 0, &lock, word));
	usleep(10000);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	say("a signal after the move", result);
	release();

	acquire();
	thread = start(in(200000000));
	say("moved in time", futex(&word, FUTEX_CMP_REQUEUE_PI, 1, 0, &lock, word));
	pthread_join(thread, NULL);
	say("too late there", result);
	release();
	lock = 0;
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(SIGUSR1, &action, NULL);
	all();
	kind = 0;
	all();
	return 0;
}

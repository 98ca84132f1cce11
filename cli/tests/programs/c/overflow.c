/* Overflows its stack. */
#include <stdio.h>

static volatile int depth;

#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int dive(volatile char *above)
{
	volatile char here[4096];
	here[0] = above[0];
	depth++;
	return dive(here) + here[1];
}

int main(void)
{
	volatile char first[16] = { 1 };
	puts("diving");
	fflush(stdout);
	return dive(first);
}

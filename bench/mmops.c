/* mmops.c - cost of memory-management operations in guest TSC ticks.
 *
 * Freestanding static x86-64 program (no libc): needs only write(1), exit_group,
 * and whichever of mmap munmap mprotect madvise brk mremap fork wait4 getpid the
 * kernel has; an operation whose syscall fails is reported as "n/a errno".
 * Under `qemu-system-x86_64 -accel tcg -icount shift=0` one TSC tick is one guest
 * instruction (each REP iteration counts as one), so the numbers are instructions.
 * Can run as PID 1 (rdinit=/mmops): then it powers the machine off at the end.
 *
 * Build: gcc -O2 -static -nostdlib -nostartfiles -ffreestanding -fno-pic -no-pie \
 *            -fno-stack-protector -fcf-protection=none -mno-sse -o mmops mmops.c
 */
typedef unsigned long u64;
typedef long s64;
#define N 1000
#define NFORK 200

static inline s64 sc6(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f)
{
	register s64 r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	s64 r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}
#define sc0(n) sc6(n, 0, 0, 0, 0, 0, 0)
#define sc1(n, a) sc6(n, (s64)(a), 0, 0, 0, 0, 0)
#define sc2(n, a, b) sc6(n, (s64)(a), (s64)(b), 0, 0, 0, 0)
#define sc3(n, a, b, c) sc6(n, (s64)(a), (s64)(b), (s64)(c), 0, 0, 0)
#define sc4(n, a, b, c, d) sc6(n, (s64)(a), (s64)(b), (s64)(c), (s64)(d), 0, 0)
enum { WRITE = 1, MMAP = 9, MPROTECT = 10, MUNMAP = 11, BRK = 12, MREMAP = 25, MINCORE = 27,
       MADVISE = 28, GETPID = 39, FORK = 57, EXIT = 60, WAIT4 = 61, GETPPID = 110,
       NANOSLEEP = 35, REBOOT = 169, EXIT_GROUP = 231 };
enum { R = 1, W = 2, SHARED = 1, PRIVATE = 2, FIXED = 16, ANON = 32, POPULATE = 0x8000 };
#define PG 4096UL

static inline u64 tsc(void)
{
	unsigned lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) :: "memory");
	return ((u64)hi << 32) | lo;
}

static char obuf[512];
static int on;
static void oc(char c) { obuf[on++] = c; }
static void os(const char *s) { while (*s) oc(*s++); }
static void od(u64 v, int w)
{
	char t[24]; int n = 0;
	do { t[n++] = '0' + v % 10; v /= 10; } while (v);
	while (w-- > n) oc(' ');
	while (n) oc(t[--n]);
}
static void flush(void) { sc3(WRITE, 1, obuf, on); on = 0; }

static u64 smp[N];
static u64 ovh;		/* cost of an empty tsc();tsc() pair */

static void sortu(u64 *a, int n)	/* shell sort */
{
	for (int g = n / 2; g; g /= 2)
		for (int i = g; i < n; i++) {
			u64 v = a[i]; int j = i;
			for (; j >= g && a[j - g] > v; j -= g) a[j] = a[j - g];
			a[j] = v;
		}
}
/* one line: name, mean, min, median, p99, max - per operation, rdtsc overhead removed */
static void report(const char *name, int n, u64 per)
{
	u64 sum = 0;
	for (int i = 0; i < n; i++) { smp[i] = smp[i] > ovh ? smp[i] - ovh : 0; sum += smp[i]; }
	sortu(smp, n);
	int l = 0; const char *p = name;
	os("mmops "); while (*p) { oc(*p++); l++; }
	while (l++ < 26) oc(' ');
	const u64 col[5] = { sum / (n * per), smp[0] / per, smp[n / 2] / per, smp[n - 1 - n / 100] / per, smp[n - 1] / per };
	for (int i = 0; i < 5; i++) { oc(' '); od(col[i], 8); }	/* a space even before a very long number */
	od(n, 6);
	oc('\n'); flush();
}
static void na(const char *name, s64 e) { os("mmops "); os(name); os(" n/a errno "); od((u64)(-e), 0); oc('\n'); flush(); }
#define BAD(r) ((u64)(r) > -4096UL)
static s64 map(u64 len, s64 prot, s64 fl) { return sc6(MMAP, 0, len, prot, fl, -1, 0); }
static s64 map4k(u64 len)	/* anonymous, no transparent huge pages if the kernel knows the advice */
{
	s64 p = map(len, R | W, PRIVATE | ANON);
	if (!BAD(p)) sc3(MADVISE, p, len, 15);
	return p;
}
#define TIME(i, stmt) do { u64 t0_ = tsc(); stmt; smp[i] = tsc() - t0_; } while (0)

static void run(void)
{
	s64 r, p; int i;

	for (i = 0; i < N; i++) smp[i] = 1;	/* fault the sample buffer in */
	for (i = 0; i < N; i++) TIME(i, );
	sortu(smp, N); ovh = smp[0];
	os("mmops # rdtsc pair "); od(ovh, 0); os("\nmmops # op                       mean      min   median      p99      max     n\n"); flush();

	for (i = 0; i < N; i++)
		TIME(i, { int k = 1000; __asm__ volatile("1: dec %0\n jnz 1b" : "+r"(k)); });
	report("loop 2000 insns", N, 1);

	for (i = 0; i < N; i++) TIME(i, sc0(GETPID));
	report("getpid", N, 1);

	p = map4k(N * PG);
	if (BAD(p)) na("anon", p);
	else {
		volatile char *c = (char *)p;
		for (i = 0; i < N; i++) TIME(i, c[i * PG] = 1);
		report("anon write fault", N, 1);
		for (i = 0; i < N; i++) TIME(i, c[i * PG] = 2);
		report("touch present page", N, 1);
		r = sc3(MADVISE, p, N * PG, 4);
		if (BAD(r)) na("madvise", r);
		else {
			for (i = 0; i < N; i++) TIME(i, (void)c[i * PG]);
			report("anon read fault", N, 1);
			for (i = 0; i < N; i++) TIME(i, c[i * PG] = 3);
			report("zero-page COW fault", N, 1);
			for (i = 0; i < N; i++) TIME(i, sc3(MADVISE, p + i * PG, PG, 4));
			report("madvise DONTNEED 1 page", N, 1);
		}
		u64 t = 0; (void)t;
		for (i = 0; i < N; i++) c[i * PG] = 1;
		TIME(0, sc2(MUNMAP, p, N * PG));
		report("munmap 1000 pages, /page", 1, N);
	}
	TIME(0, p = map(N * PG, R | W, PRIVATE | ANON | POPULATE));
	if (!BAD(p)) { report("MAP_POPULATE 1000, /page", 1, N); sc2(MUNMAP, p, N * PG); }

	/* shared pages that are there already: one fault may map the 16 around it */
	p = map(16 * PG, R | W, SHARED | ANON);
	if (!BAD(p)) {
		volatile char *c = (char *)p;
		for (int k = 0; k < 16; k++) c[k * PG] = 1;
		for (i = 0; i < N; i++) {
			sc3(MADVISE, p, 16 * PG, 4);
			TIME(i, for (int k = 0; k < 16; k++) (void)c[k * PG]);
		}
		report("64K run, fault-around", N, 1);
		sc2(MUNMAP, p, 16 * PG);
	}

	/* private pages of an aligned run, with advice: one fault may fill the 16 where the kernel has
	   pages of 64 KiB switched on; elsewhere it takes 16 */
	p = map(32 * PG, R | W, PRIVATE | ANON);
	if (!BAD(p)) {
		s64 q = (p + 16 * PG - 1) & -(16 * PG);
		volatile char *c = (char *)q;
		sc3(MADVISE, q, 16 * PG, 14);
		for (i = 0; i < N; i++) {
			sc3(MADVISE, q, 16 * PG, 4);
			TIME(i, for (int k = 0; k < 16; k++) c[k * PG] = 1);
		}
		report("64K run, anon", N, 1);
		sc2(MUNMAP, p, 32 * PG);
	}

	for (i = 0; i < N; i++) TIME(i, { p = map(PG, R | W, PRIVATE | ANON); sc2(MUNMAP, p, PG); });
	report("mmap+munmap 4K", N, 1);
	for (i = 0; i < N; i++) TIME(i, { p = map(PG, R | W, PRIVATE | ANON); *(volatile char *)p = 1; sc2(MUNMAP, p, PG); });
	report("mmap+touch+munmap 4K", N, 1);
	for (i = 0; i < N; i++) TIME(i, { p = map(128UL << 20, R | W, PRIVATE | ANON); sc2(MUNMAP, p, 128UL << 20); });
	report("mmap+munmap 128M", N, 1);

	p = map4k(16 * PG);
	if (!BAD(p)) {
		for (i = 0; i < 16; i++) ((volatile char *)p)[i * PG] = 1;
		r = sc3(MPROTECT, p + 4 * PG, PG, R);
		if (BAD(r)) na("mprotect", r);
		else {
			sc3(MPROTECT, p + 4 * PG, PG, R | W);
			for (i = 0; i < N; i++) TIME(i, sc3(MPROTECT, p + 4 * PG, PG, (i & 1) ? R | W : R));
			report("mprotect split/merge", N, 1);
		}
		r = sc3(MINCORE, p, 16 * PG, obuf + 256);
		if (BAD(r)) na("mincore", r);
		else { for (i = 0; i < N; i++) TIME(i, sc3(MINCORE, p, 16 * PG, obuf + 256)); report("mincore 16 pages", N, 1); }
		sc2(MUNMAP, p, 16 * PG);
	}
	p = map4k(8 * PG);
	if (!BAD(p)) {
		s64 a = p, b = p + 4 * PG;
		sc2(MUNMAP, b, 4 * PG); sc2(MUNMAP, a + PG, 3 * PG);
		*(volatile char *)a = 1;
		r = sc6(MREMAP, a, PG, PG, 3, b, 0);
		if (BAD(r)) na("mremap", r);
		else {
			for (i = 0; i < N; i++) TIME(i, sc6(MREMAP, (i & 1) ? a : b, PG, PG, 3, (i & 1) ? b : a, 0));
			report("mremap move 1 page", N, 1);
		}
		sc2(MUNMAP, p, 8 * PG);
	}
	p = sc1(BRK, 0);
	r = sc1(BRK, p + PG);
	if (r != p + (s64)PG) na("brk", -12);
	else {
		for (i = 0; i < N; i++) TIME(i, { sc1(BRK, p); sc1(BRK, p + PG); });
		report("brk shrink+grow 1 page", N, 1);
		sc1(BRK, p);
	}
	p = map(2UL << 21, R | W, PRIVATE | ANON);
	if (!BAD(p)) {
		u64 q = (p + (2UL << 20) - 1) & -(2UL << 20);
		r = sc3(MADVISE, q, 2UL << 20, 14);
		if (BAD(r)) na("THP", r);
		else {
			for (i = 0; i < 20; i++) { TIME(i, *(volatile char *)q = 1); sc3(MADVISE, q, 2UL << 20, 4); }
			report("2M-aligned THP fault", 20, 1);
		}
		sc2(MUNMAP, p, 2UL << 21);
	}
	r = sc0(FORK);
	if (r == 0) sc1(EXIT, 0);
	if (BAD(r)) { na("fork", r); return; }
	sc4(WAIT4, r, 0, 0, 0);
	for (i = 0; i < NFORK; i++)
		TIME(i, { r = sc0(FORK); if (!r) sc1(EXIT, 0); sc4(WAIT4, r, 0, 0, 0); });
	report("fork+exit+wait", NFORK, 1);
	p = map4k(N * PG);
	if (!BAD(p)) {
		volatile char *c = (char *)p;
		for (i = 0; i < N; i++) c[i * PG] = 1;
		for (i = 0; i < NFORK; i++)
			TIME(i, { r = sc0(FORK); if (!r) sc1(EXIT, 0); sc4(WAIT4, r, 0, 0, 0); });
		report("fork+exit+wait +1000pg", NFORK, 1);
		r = sc0(FORK);
		if (r == 0) {	/* child writes 1000 shared pages, reports, exits */
			for (i = 0; i < N; i++) smp[i] = 1;
			for (i = 0; i < N; i++) TIME(i, c[i * PG] = 2);
			report("fork COW fault (child)", N, 1);
			sc1(EXIT, 0);
		}
		sc4(WAIT4, r, 0, 0, 0);
		for (i = 0; i < N; i++) smp[i] = 1;
		for (i = 0; i < N; i++) TIME(i, c[i * PG] = 3);
		report("fork COW reuse (parent)", N, 1);
		sc2(MUNMAP, p, N * PG);
	}
}

__attribute__((noreturn)) void cmain(void);
void cmain(void)
{
	/* as PID 1: let the boot's own kernel threads finish (an unsupported syscall is harmless) */
	static const u64 ts[2] = { 5, 0 };
	if (sc0(GETPID) == 1) sc2(NANOSLEEP, ts, 0);
	u64 t0 = tsc();
	os("mmops # start tsc "); od(t0, 0); oc('\n'); flush();
	run();
	os("mmops # end tsc "); od(tsc(), 0); os(" elapsed "); od(tsc() - t0, 0); oc('\n'); flush();
	if (sc0(GETPID) == 1) sc4(REBOOT, 0xfee1dead, 672274793, 0x4321fedc, 0);
	for (;;) sc1(EXIT_GROUP, 0);
}
__asm__(".globl _start\n_start: xor %ebp,%ebp\n and $-16,%rsp\n call cmain\n");

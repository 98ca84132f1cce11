/* A program with many sorts of mappings. `mmw pause` makes them, says where the
   named ones are, and stops; `mmw spin` computes for ever when it is continued.
   It stands alone: no library, so that any compiler of the architecture will do. */

typedef unsigned long word;

#if defined(__x86_64__)
enum { WRITE = 1, MMAP = 9, MPROTECT = 10, MADVISE = 28, GETPID = 39, FORK = 57, EXIT = 60, KILL = 62 };
static long call(long n, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}
#define fork() call(FORK, 0, 0, 0, 0, 0, 0)
#define START "mov %rsp, %rdi\n and $-16, %rsp\n call begin\n"
#elif defined(__i386__)
enum { EXIT = 1, FORK = 2, WRITE = 4, GETPID = 20, KILL = 37, MPROTECT = 125, MMAP = 192, MADVISE = 219 };
__asm__(".globl call\ncall:\n push %ebp\n push %ebx\n push %esi\n push %edi\n"
        " mov 20(%esp), %eax\n mov 24(%esp), %ebx\n mov 28(%esp), %ecx\n mov 32(%esp), %edx\n"
        " mov 36(%esp), %esi\n mov 40(%esp), %edi\n mov 44(%esp), %ebp\n int $0x80\n"
        " pop %edi\n pop %esi\n pop %ebx\n pop %ebp\n ret\n");
long call(long n, long a, long b, long c, long d, long e, long f);
#define fork() call(FORK, 0, 0, 0, 0, 0, 0)
#define START "mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call begin\n"
#elif defined(__aarch64__)
enum { WRITE = 64, EXIT = 93, KILL = 129, GETPID = 172, CLONE = 220, MMAP = 222, MPROTECT = 226, MADVISE = 233 };
static long call(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#define fork() call(CLONE, 17, 0, 0, 0, 0, 0)
#define START "mov x0, sp\n bl begin\n"
#endif

enum { PAGE = 4096, READ = 1, RW = 3, PRIVATE = 0x22, HUGE = 0x40022, MERGE = 14, STOP = 19, MAPPINGS = 300 };

__asm__(".globl _start\n_start:\n" START);

static word map(word bytes, int prot, int flags) {
    return call(MMAP, 0, bytes, prot, flags, -1, 0);
}

static void touch(word at, word bytes, word step) {
    if (at > -4096UL)
        return;
    for (word offset = 0; offset < bytes; offset += step)
        *(volatile char *)(at + offset) = offset / step;
}

static void say(const char *text) {
    word len = 0;
    while (text[len])
        len++;
    call(WRITE, 1, (long)text, len, 0, 0, 0);
}

static void hex(word number) {
    char text[2 * sizeof(word) + 3];
    char *at = text + sizeof text - 1;
    *at = 0;
    do {
        *--at = "0123456789abcdef"[number & 15];
        number >>= 4;
    } while (number);
    say(" 0x");
    say(at);
}

static void named(const char *name, word at, word bytes) {
    if (at > -4096UL)
        return;
    say(name);
    hex(at);
    hex(bytes);
    say("\n");
}

__attribute__((used)) void begin(word *stack) {
    const char *how = ((const char **)(stack + 1))[1];
    word plain = map(32 << 20, RW, PRIVATE);
    touch(plain, 32 << 20, 3 * PAGE);
    named("anon32M", plain, 32 << 20);
    word large = (map(12 << 20, RW, PRIVATE) + (4 << 20) - 1) & -(4UL << 20);
    call(MADVISE, large, 8 << 20, MERGE, 0, 0, 0);
    touch(large, 8 << 20, PAGE);
    named("thp8M", large, 8 << 20);
    word huge = map(4 << 20, RW, HUGE);
    touch(huge, 4 << 20, PAGE);
    named("hugetlb4M", huge, 4 << 20);
    /* Neighbours of unlike rights stay mappings of their own. */
    word many = map(MAPPINGS * 2 * PAGE, RW, PRIVATE);
    touch(many, MAPPINGS * 2 * PAGE, 5 * PAGE);
    for (word nth = 0; nth < MAPPINGS; nth += 2)
        call(MPROTECT, many + nth * 2 * PAGE, PAGE, READ, 0, 0, 0);
    /* Pages that a child shares, and some of which it copies. */
    word shared = map(4 << 20, RW, PRIVATE);
    touch(shared, 4 << 20, PAGE);
    if (fork() == 0)
        touch(shared, 1 << 20, PAGE);
    call(KILL, call(GETPID, 0, 0, 0, 0, 0, 0), STOP, 0, 0, 0, 0);
    /* Nothing is written any more: what was said of the pages stays true. */
    if (how && how[0] == 's')
        for (;;)
            __asm__ volatile("");
    for (;;)
        call(KILL, call(GETPID, 0, 0, 0, 0, 0, 0), STOP, 0, 0, 0, 0);
}

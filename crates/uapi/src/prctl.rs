//! Operations of `prctl(2)` and `arch_prctl(2)`.

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: u32 = $code;)*
    };
}

options! {
    /// Signal on the parent's death.
    PR_SET_PDEATHSIG = 1;
    /// Reads it.
    PR_GET_PDEATHSIG = 2;
    /// Whether it can be dumped and traced.
    PR_GET_DUMPABLE = 3;
    /// Sets that.
    PR_SET_DUMPABLE = 4;
    /// Whether capabilities survive a change of user.
    PR_GET_KEEPCAPS = 7;
    /// Sets that.
    PR_SET_KEEPCAPS = 8;
    /// Sets the thread's name.
    PR_SET_NAME = 15;
    /// Reads it.
    PR_GET_NAME = 16;
    /// Seccomp mode.
    PR_GET_SECCOMP = 21;
    /// Sets the seccomp mode.
    PR_SET_SECCOMP = 22;
    /// Whether a capability is in the bounding set.
    PR_CAPBSET_READ = 23;
    /// Drops one.
    PR_CAPBSET_DROP = 24;
    /// Whether `rdtsc` is allowed.
    PR_GET_TSC = 25;
    /// Sets that.
    PR_SET_TSC = 26;
    /// Slack of timers, ns.
    PR_SET_TIMERSLACK = 29;
    /// Reads it.
    PR_GET_TIMERSLACK = 30;
    /// Machine-check policy.
    PR_MCE_KILL = 33;
    /// Reads it.
    PR_MCE_KILL_GET = 34;
    /// Changes what `/proc/PID/stat` tells of the layout.
    PR_SET_MM = 35;
    /// Orphans of descendants come to this process.
    PR_SET_CHILD_SUBREAPER = 36;
    /// Reads that.
    PR_GET_CHILD_SUBREAPER = 37;
    /// Gains nothing through exec.
    PR_SET_NO_NEW_PRIVS = 38;
    /// Reads that.
    PR_GET_NO_NEW_PRIVS = 39;
    /// Address that is cleared at exit.
    PR_GET_TID_ADDRESS = 40;
    /// No transparent huge pages for this process.
    PR_SET_THP_DISABLE = 41;
    /// Reads that.
    PR_GET_THP_DISABLE = 42;
    /// Ambient capabilities.
    PR_CAP_AMBIENT = 47;
    /// Control-flow speculation.
    PR_GET_SPECULATION_CTRL = 52;
    /// Sets it.
    PR_SET_SPECULATION_CTRL = 53;
    /// Syscall user dispatch.
    PR_SET_SYSCALL_USER_DISPATCH = 59;
    /// Core scheduling.
    PR_SCHED_CORE = 62;
    /// Memory-deny-write-execute.
    PR_SET_MDWE = 65;
    /// Reads it.
    PR_GET_MDWE = 66;
    /// Same-page merging of the whole process.
    PR_SET_MEMORY_MERGE = 67;
    /// Reads that.
    PR_GET_MEMORY_MERGE = 68;
    /// Sets a property of a VMA (`PR_SET_VMA_ANON_NAME` is 0).
    PR_SET_VMA = 0x5356_4d41;
    /// Names anonymous memory.
    PR_SET_VMA_ANON_NAME = 0;
    /// Who may trace this process.
    PR_SET_PTRACER = 0x5961_6d61;
    /// Sets the GS base.
    ARCH_SET_GS = 0x1001;
    /// Sets the FS base.
    ARCH_SET_FS = 0x1002;
    /// Reads the FS base.
    ARCH_GET_FS = 0x1003;
    /// Reads the GS base.
    ARCH_GET_GS = 0x1004;
    /// Whether CPUID is allowed.
    ARCH_GET_CPUID = 0x1011;
    /// Sets that.
    ARCH_SET_CPUID = 0x1012;
    /// Supported xsave features.
    ARCH_GET_XCOMP_SUPP = 0x1021;
    /// Permitted xsave features.
    ARCH_GET_XCOMP_PERM = 0x1022;
    /// Asks for an xsave feature.
    ARCH_REQ_XCOMP_PERM = 0x1023;
    /// Turns a shadow-stack feature on.
    ARCH_SHSTK_ENABLE = 0x5001;
    /// Turns one off.
    ARCH_SHSTK_DISABLE = 0x5002;
    /// Locks them.
    ARCH_SHSTK_LOCK = 0x5003;
    /// Shadow-stack status.
    ARCH_SHSTK_STATUS = 0x5005;
}

/// Flag of [`PR_SET_THP_DISABLE`]: memory with `MADV_HUGEPAGE` keeps them.
pub const PR_THP_DISABLE_EXCEPT_ADVISED: u64 = 1 << 1;

//! The guests.

/// A machine and the Debian kernel on it.
pub(super) struct Guest {
    pub(super) name: &'static str,
    pub(super) qemu: &'static str,
    /// Debian's package of that.
    pub(super) package: &'static str,
    /// Machine and processor.
    pub(super) machine: &'static [&'static str],
    pub(super) memory: &'static str,
    /// Debian's architecture.
    pub(super) architecture: &'static str,
    /// Debian's package of the newest kernel.
    pub(super) kernel: &'static str,
    /// Added to the kernel's command line.
    pub(super) append: &'static str,
    /// A compiler for the guest's own program, if it is here.
    pub(super) compiler: &'static [&'static str],
    pub(super) compiler_package: &'static str,
    /// Whether QEMU can show all translations.
    pub(super) has_tlb: bool,
    /// Whether a flattened kdump is made, too.
    pub(super) has_kdump: bool,
}

const X86_64: Guest = Guest {
    name: "x86_64-4level",
    qemu: "qemu-system-x86_64",
    package: "qemu-system-x86",
    machine: &["-M", "q35", "-cpu", "max,la57=off"],
    memory: "512M",
    architecture: "amd64",
    kernel: "linux-image-cloud-amd64",
    append: "console=ttyS0",
    compiler: &["gcc"],
    compiler_package: "gcc",
    has_tlb: true,
    has_kdump: true,
};

const PAE: Guest = Guest {
    name: "i386-pae",
    qemu: "qemu-system-i386",
    machine: &["-M", "pc", "-cpu", "max,la57=off"],
    memory: "384M",
    architecture: "i386",
    kernel: "linux-image-686-pae",
    append: "console=ttyS0 highmem=64M",
    compiler: &["gcc", "-m32"],
    has_kdump: false,
    ..X86_64
};

/// All of them.
pub(super) const GUESTS: [Guest; 5] = [
    X86_64,
    Guest {
        name: "x86_64-5level",
        machine: &["-M", "q35", "-cpu", "max,la57=on"],
        has_kdump: false,
        ..X86_64
    },
    Guest {
        name: "i386-nonpae",
        machine: &["-M", "pc", "-cpu", "pentium2,-pae"],
        kernel: "linux-image-686",
        ..PAE
    },
    PAE,
    Guest {
        name: "arm64",
        qemu: "qemu-system-aarch64",
        package: "qemu-system-arm",
        machine: &["-M", "virt,gic-version=3", "-cpu", "cortex-a72"],
        architecture: "arm64",
        kernel: "linux-image-arm64",
        append: "console=ttyAMA0",
        compiler: &["aarch64-linux-gnu-gcc"],
        compiler_package: "gcc-aarch64-linux-gnu",
        has_tlb: false,
        has_kdump: false,
        ..X86_64
    },
];

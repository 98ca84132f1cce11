//! `/proc/PID/status`.

use alloc::string::String;
use alloc::vec::Vec;

use super::escape;
use super::scan::{ParseError, ascii, expected, lines};
use super::status_value::{
    AddressMask, Capabilities, Groups, Ids, Kib, NamespaceIds, SignalQueue, TaskState, Umask, Value,
};
use super::write::Text;
use crate::signal::SigSet;

macro_rules! status {
    ($($field:ident: $kind:ty = $label:literal;)*) => {
        /// A process, one labelled line per fact. A fact that is `None` has no
        /// line: a process without memory, or a kernel without the feature.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Status {
            /// Name, unescaped.
            pub name: Vec<u8>,
            $(#[doc = concat!("`", $label, "`.")] pub $field: Option<$kind>,)*
        }

        impl Text for Status {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(b"Name:\t");
                escape::task_name(&self.name, out);
                out.push(b'\n');
                $(
                    if let Some(value) = &self.$field {
                        out.extend_from_slice(concat!($label, ":\t").as_bytes());
                        value.put(out);
                        out.push(b'\n');
                    }
                )*
            }
        }

        impl Status {
            fn take(&mut self, label: &str, text: &str) -> Result<(), ParseError> {
                match label {
                    $($label => self.$field = Some(Value::take(text)?),)*
                    _ => return Err(expected("a known label")),
                }
                Ok(())
            }
        }
    };
}

status! {
    umask: Umask = "Umask";
    state: TaskState = "State";
    tgid: i32 = "Tgid";
    ngid: i32 = "Ngid";
    pid: i32 = "Pid";
    ppid: i32 = "PPid";
    tracer_pid: i32 = "TracerPid";
    uid: Ids = "Uid";
    gid: Ids = "Gid";
    fd_size: u32 = "FDSize";
    groups: Groups = "Groups";
    ns_tgid: NamespaceIds = "NStgid";
    ns_pid: NamespaceIds = "NSpid";
    ns_pgid: NamespaceIds = "NSpgid";
    ns_sid: NamespaceIds = "NSsid";
    kthread: u32 = "Kthread";
    vm_peak: Kib = "VmPeak";
    vm_size: Kib = "VmSize";
    vm_lck: Kib = "VmLck";
    vm_pin: Kib = "VmPin";
    vm_hwm: Kib = "VmHWM";
    vm_rss: Kib = "VmRSS";
    rss_anon: Kib = "RssAnon";
    rss_file: Kib = "RssFile";
    rss_shmem: Kib = "RssShmem";
    vm_data: Kib = "VmData";
    vm_stk: Kib = "VmStk";
    vm_exe: Kib = "VmExe";
    vm_lib: Kib = "VmLib";
    vm_pte: Kib = "VmPTE";
    vm_swap: Kib = "VmSwap";
    hugetlb_pages: Kib = "HugetlbPages";
    core_dumping: u32 = "CoreDumping";
    thp_enabled: u32 = "THP_enabled";
    untag_mask: AddressMask = "untag_mask";
    threads: u32 = "Threads";
    sig_q: SignalQueue = "SigQ";
    sig_pnd: SigSet = "SigPnd";
    shd_pnd: SigSet = "ShdPnd";
    sig_blk: SigSet = "SigBlk";
    sig_ign: SigSet = "SigIgn";
    sig_cgt: SigSet = "SigCgt";
    cap_inh: Capabilities = "CapInh";
    cap_prm: Capabilities = "CapPrm";
    cap_eff: Capabilities = "CapEff";
    cap_bnd: Capabilities = "CapBnd";
    cap_amb: Capabilities = "CapAmb";
    no_new_privs: u32 = "NoNewPrivs";
    seccomp: u32 = "Seccomp";
    seccomp_filters: u32 = "Seccomp_filters";
    speculation_store_bypass: String = "Speculation_Store_Bypass";
    speculation_indirect_branch: String = "SpeculationIndirectBranch";
    x86_thread_features: String = "x86_Thread_features";
    x86_thread_features_locked: String = "x86_Thread_features_locked";
    cpus_allowed: String = "Cpus_allowed";
    cpus_allowed_list: String = "Cpus_allowed_list";
    mems_allowed: String = "Mems_allowed";
    mems_allowed_list: String = "Mems_allowed_list";
    voluntary_ctxt_switches: u64 = "voluntary_ctxt_switches";
    nonvoluntary_ctxt_switches: u64 = "nonvoluntary_ctxt_switches";
}

impl Status {
    /// Reads the file.
    ///
    /// # Errors
    /// A line that is something else, or a label that Linux 6.18 does not have.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut status = Self::default();
        for line in lines(text) {
            if let Some(name) = line.strip_prefix(b"Name:\t") {
                status.name = escape::untask_name(name);
                continue;
            }
            let line = ascii(line, "a line")?;
            let (label, value) = line
                .split_once(":\t")
                .ok_or(expected("a label, a colon and a tab"))?;
            status.take(label, value)?;
        }
        Ok(status)
    }
}

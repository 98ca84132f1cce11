//! `foliant run`: runs a program on a machine of its own.

mod calls;
mod folios;
mod hotplug;
mod look;
mod owners;
mod place;
mod recorder;
mod trace;
mod zones;

use std::ffi::OsString;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use foliant_kernel::WaitStatus;
use foliant_mm::Global;
use foliant_phys::boot::RegionKind;
use foliant_uapi::Sysno;
use foliant_units::Errno;
use foliant_user::{Command, FolioSizes, MemoryPlan, Options, Outcome, RunError, Session};

use crate::report::Audit;
use crate::report::{self, Count, Ending, Form, Report};
use crate::size::Size;
use crate::{OWN_FAILURE, UNACCOUNTED};
use folios::Folios;
use look::{Look, Wish};
use owners::{Owners, Target};
use place::{Place, When};
use recorder::{Recorder, by_kind};
use trace::Trace;
use zones::Zones;

/// Run a program on a machine of its own, and tell what memory did.
///
/// The program's input, output, working folder, environment, terminal and exit
/// status are its own. When it ends, the machine ends, and with it what the
/// program left running in the background. Example: foliant run --ram 256M -- python3 -c 'print(1)'
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Memory of the machine.
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    ram: Size,
    /// CPUs of the machine [default: those of the host].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    cpus: Option<u32>,
    /// Zones instead of --ram: dma32=1G,normal=2G,movable=512M. The first
    /// 16 MiB are the zone DMA; movable is a part of the other two.
    #[arg(long, value_name = "LIST", conflicts_with = "ram")]
    zones: Option<Zones>,
    /// Memory that can be plugged in while the machine runs, in blocks of 128M,
    /// from physical address 0x100000000 on (4 GiB; behind RAM that reaches
    /// further, the next GiB): its root writes the address of a block to
    /// /sys/devices/system/memory/probe, and online to the block's state.
    #[arg(long, value_name = "SIZE", default_value = "0", hide_default_value = true)]
    hotplug: Size,
    /// Sizes that one fault on private memory may fill, as the kernel's own
    /// thp_anon= takes them: 64K:madvise, or 16K-64K:always;128K,1M:inherit.
    /// From 16K to 1M; all are "never" unless said otherwise, and the machine's
    /// root can change them below /sys/kernel/mm/transparent_hugepage.
    #[arg(long, value_name = "LIST")]
    thp_anon: Option<Folios>,
    /// What sizes do that inherit: always, madvise or never
    /// [default: never].
    #[arg(long, value_name = "WORD", value_parser = folios::global)]
    thp: Option<Global>,
    /// The same address-space layout every time.
    #[arg(long)]
    no_aslr: bool,
    /// Where the randomness of layouts starts: equal seeds, equal layouts.
    #[arg(long, value_name = "N", conflicts_with = "no_aslr")]
    seed: Option<u64>,
    /// text, json, html, each perhaps with =FILE, or none. Text and JSON go to
    /// standard error, HTML to foliant.html, unless a file is named.
    #[arg(long, value_name = "FORM", default_value = "text")]
    report: Form,
    /// Write every system call and fault to a file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// When all is over, look whether every frame came back; if not, say
    /// which did not and end with status 123.
    #[arg(long)]
    audit: bool,
    /// Remember who allocates each frame, as page_owner=on does: the report tells
    /// who had most when the first process ended, the file has all of them in
    /// the format of /sys/kernel/debug/page_owner, where the machine's root
    /// finds them while it runs.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    page_owner: Option<Target>,
    /// Make the N-th frame allocation from the start of the program fail, and
    /// audit: for authors of allocators, runtimes and programs that are to
    /// survive it. Run it for N = 1, 2, 3, ... and every path is seen.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    fail_frame: Option<u64>,
    /// Host mappings that a process may have at most [default: what the host
    /// allows]. Fewer make more TLB misses: for tests.
    #[arg(long, value_name = "N", hide = true)]
    host_mappings: Option<usize>,
    /// Write every system call to standard error.
    #[arg(long)]
    strace: bool,
    /// Explain in the report how the page tables translate these addresses,
    /// level by level: hexadecimal, or from the beginning of a mapping as in
    /// [heap]+1000 or /bin/cat+0, or back from the end as in [stack]-1000;
    /// perhaps after PID: for another process.
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',')]
    walk: Vec<Place>,
    /// When --walk and --pt look: at the process's exit, or after so many seconds.
    #[arg(long, value_name = "exit|SECONDS", default_value = "exit")]
    walk_at: When,
    /// The process that --walk and --pt mean [default: the first].
    #[arg(long, value_name = "PID")]
    walk_pid: Option<u64>,
    /// Write all mappings of the process to a file, as `foliant pt` does, in the
    /// format that its name ends with: .ptdump, .json, .csv, .parquet; else columns.
    #[arg(long, value_name = "FILE")]
    pt: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(
        value_name = "PROGRAM",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

/// Runs the program; its status is ours.
pub(crate) fn run(args: &Args) -> ExitCode {
    match try_run(args) {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            eprintln!("foliant: {why:#}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

fn try_run(args: &Args) -> Result<u8> {
    let recorder = Recorder::new(
        trace(args)?,
        Look::new(wish(args)),
        Owners::new(args.page_owner.as_ref()),
    );
    let seed = args.seed.unwrap_or_else(random_seed);
    let options = Options {
        memory: memory(args)?,
        cpus: args.cpus.unwrap_or_else(host_cpus),
        randomize: !args.no_aslr,
        seed,
        folios: FolioSizes {
            global: args.thp,
            sizes: args.thp_anon.clone().unwrap_or_default().0,
        },
        host_mappings: args.host_mappings,
        fail_at: args.fail_frame,
        page_owner: args.page_owner.is_some(),
        observer: Some(recorder.clone()),
    };
    let machine = report::Machine {
        ram: options
            .memory
            .map()
            .entries()
            .iter()
            .filter(|entry| entry.kind == RegionKind::Usable)
            .map(|entry| entry.range.len())
            .sum(),
        cpus: options.cpus,
        seed: options.randomize.then_some(seed),
        hotplug: None,
    };
    let region = options.memory.hotplug();
    let session = Session::new(options)?;
    recorder.watch(session.kernel())?;

    let status = match session.run(&Command::find(&args.command)) {
        Ok(Outcome::Ended(status)) => status,
        Ok(Outcome::Panicked) => {
            return Err(anyhow!(
                "the machine is broken: a fault of Foliant, please report what is said above"
            ));
        }
        Ok(Outcome::Failed(error)) => return Err(anyhow!("the host failed the machine: {error}")),
        Err(RunError::Exec(errno)) => return Ok(refuse(args, &session, errno)),
        // A shell would only see it die; what a hostile file asks for is no news.
        Err(RunError::Unmappable(Errno::NOMEM)) => return Ok(refuse(args, &session, Errno::NOMEM)),
        Err(RunError::Unmappable(_)) => return Ok(refuse(args, &session, Errno::NOEXEC)),
        Err(error) => {
            eprintln!("foliant: {error}");
            return Ok(verdict(audit(args, &session).as_ref()).unwrap_or(OWN_FAILURE));
        }
    };
    let mut report = gather(args, machine, &session, &recorder, status);
    report.machine.hotplug = hotplug::plugged(&session, region);
    report.audit = audit(args, &session);
    drop(session);
    recorder.finish()?;
    let looked = recorder.look().map_or(Ok(Vec::new()), Look::finish);
    report.walks = looked.as_ref().cloned().unwrap_or_default();
    let owned = recorder.owners().map_or(Ok(Vec::new()), Owners::finish);
    report.owners = owned.as_ref().cloned().unwrap_or_default();
    report::give(&report, &args.report)?;
    looked?;
    owned?;
    Ok(verdict(report.audit.as_ref()).unwrap_or(Outcome::Ended(status).exit_code()))
}

/// Ends everything and counts the frames, if asked.
fn audit(args: &Args, session: &Session) -> Option<Audit> {
    if !args.audit && args.fail_frame.is_none() {
        return None;
    }
    let account = session.account();
    Some(Audit {
        allocations: account.allocations,
        leaked_frames: account.leaked_frames(),
        leaked: account
            .leaked
            .iter()
            .map(|(owner, frames)| Count::new(owner.name(), *frames))
            .collect(),
        stuck_tasks: account.stuck_tasks as u64,
        audit: account.violations.iter().map(ToString::to_string).collect(),
    })
}

/// Says what is wrong with the frames. The status to end with if anything is.
fn verdict(audit: Option<&Audit>) -> Option<u8> {
    let audit = audit.filter(|audit| !audit.is_clean())?;
    for count in &audit.leaked {
        eprintln!("foliant: {} frames were leaked: {}", count.count, count.name);
    }
    if audit.stuck_tasks > 0 {
        eprintln!("foliant: {} tasks did not end", audit.stuck_tasks);
    }
    for violation in &audit.audit {
        eprintln!("foliant: {violation}");
    }
    Some(UNACCOUNTED)
}

/// Says why a program cannot run, and gives the status of a shell.
fn refuse(args: &Args, session: &Session, errno: Errno) -> u8 {
    let name = args
        .command
        .first()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    eprintln!("foliant: {name}: {errno}");
    let status = if errno == Errno::NOENT { 127 } else { 126 };
    verdict(audit(args, session).as_ref()).unwrap_or(status)
}

fn memory(args: &Args) -> Result<MemoryPlan> {
    let plan = match args.zones {
        None => MemoryPlan::flat(args.ram.0),
        Some(zones) => MemoryPlan::zoned(zones.dma32, zones.normal, zones.movable),
    };
    Ok(plan?.with_hotplug(args.hotplug.0)?)
}

fn wish(args: &Args) -> Wish {
    Wish {
        places: args.walk.clone(),
        when: args.walk_at,
        pid: args.walk_pid,
        file: args.pt.clone(),
    }
}

fn host_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
}

/// Different in every run.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn trace(args: &Args) -> Result<Option<Trace>> {
    let open = |path: &PathBuf| {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()));
        file.map(|file| Mutex::new(BufWriter::new(file)))
    };
    let file = args.trace.as_ref().map(open).transpose()?;
    Ok((args.strace || file.is_some()).then_some(Trace {
        strace: args.strace,
        file,
    }))
}

/// Puts the report together.
fn gather(
    args: &Args,
    machine: report::Machine,
    session: &Session,
    recorder: &Recorder,
    status: WaitStatus,
) -> Report {
    let (past, timeline) = recorder.take();
    let counts = session.kernel().counts();
    let (memory, other): (Vec<_>, Vec<_>) = counts.calls().partition(|(call, _)| is_of_memory(*call));
    let named = |calls: Vec<(Sysno, u64)>| {
        let mut list: Vec<Count> = calls
            .iter()
            .map(|(call, count)| Count::new(call.to_string(), *count))
            .collect();
        list.sort_by_key(|call| std::cmp::Reverse(call.count));
        list
    };
    let unsupported = counts.unsupported().into_iter().map(|(nr, count)| {
        let name = u32::try_from(nr).ok().and_then(|nr| Sysno::new(nr).name());
        Count::new(
            name.map_or_else(|| format!("system call {nr:#x}"), str::to_owned),
            count,
        )
    });
    Report {
        command: args
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        ending: match status {
            WaitStatus::Exited(code) => Ending::Exited(code),
            WaitStatus::Killed(signal, _) | WaitStatus::Stopped(signal) => Ending::Killed(signal.raw()),
            WaitStatus::Continued => Ending::Exited(0),
        },
        elapsed_ms: recorder.elapsed().as_millis() as u64,
        machine,
        faults: by_kind(&past.faults),
        processes: past.images,
        processes_left_out: past.left_out,
        blocks: folios::filled(session),
        zones: zones(session),
        owners: Vec::new(),
        tlb: translations(session),
        memory_calls: named(memory),
        other_calls: named(other),
        unsupported: unsupported.collect(),
        timeline,
        walks: Vec::new(),
        audit: None,
    }
}

/// The zones, as they are now.
fn zones(session: &Session) -> Vec<report::Zone> {
    let phys = session.kernel().memory().phys();
    let populated = phys.zones().iter().filter(|(_, zone)| zone.managed() > 0);
    populated
        .map(|(id, zone)| {
            let stats = phys.zone_stats(id);
            report::Zone {
                node: u32::from(zone.node().0),
                name: zone.kind().name().to_owned(),
                managed: zone.managed(),
                free: stats.free + stats.cached,
                free_by_order: stats.by_order.to_vec(),
            }
        })
        .collect()
}

/// What happened to cached translations.
fn translations(session: &Session) -> Vec<Count> {
    let counters = session.machine().counters();
    let count = |name: &str, counter: &AtomicU64| Count::new(name, counter.load(Ordering::Relaxed));
    vec![
        count("fills", &counters.fills),
        count("pages filled", &counters.filled_pages),
        count("flushes", &counters.flushes),
        count("shoot-downs", &counters.shoot_downs),
    ]
}

/// Whether a call belongs to memory management.
fn is_of_memory(call: Sysno) -> bool {
    const CALLS: &[Sysno] = &[
        Sysno::MMAP,
        Sysno::MUNMAP,
        Sysno::MPROTECT,
        Sysno::MREMAP,
        Sysno::BRK,
        Sysno::MADVISE,
        Sysno::PROCESS_MADVISE,
        Sysno::MLOCK,
        Sysno::MLOCK2,
        Sysno::MUNLOCK,
        Sysno::MLOCKALL,
        Sysno::MUNLOCKALL,
        Sysno::MSYNC,
        Sysno::MINCORE,
        Sysno::MSEAL,
        Sysno::REMAP_FILE_PAGES,
        Sysno::MEMFD_CREATE,
        Sysno::PKEY_MPROTECT,
        Sysno::PKEY_ALLOC,
        Sysno::PKEY_FREE,
        Sysno::SHMGET,
        Sysno::SHMAT,
        Sysno::SHMDT,
        Sysno::SHMCTL,
        Sysno::FORK,
        Sysno::VFORK,
        Sysno::CLONE,
        Sysno::CLONE3,
        Sysno::EXECVE,
        Sysno::EXECVEAT,
    ];
    CALLS.contains(&call)
}

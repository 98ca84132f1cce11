//! A guest under QEMU: booted, asked, stopped, and its memory written down.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::guests::Guest;
use super::progress::Progress;
use super::run_it;

/// How long a guest may take to become ready: TCG on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(1200);
const LOOK: Duration = Duration::from_millis(500);

/// Boots that may fail before one must not.
const TRIES: usize = 5;

/// What the monitor ends each answer with.
const PROMPT: &[u8] = b"(qemu) ";

/// Boots `kernel`, and puts what is true of it into `to`, its memory into `work`.
pub(super) fn run(
    guest: &Guest,
    kernel: &Path,
    initrd: &Path,
    work: &Path,
    to: &Path,
    progress: &mut Progress,
) -> Result<()> {
    let serial = work.join("serial.log");
    let monitor = work.join("monitor");
    let _none = (fs::remove_file(&serial), fs::remove_file(&monitor));
    let mut command = Command::new(guest.qemu);
    command
        .args(["-accel", "tcg,thread=single", "-m", guest.memory, "-smp", "1"])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .args(guest.machine)
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .arg("-append")
        .arg(format!("{} quiet loglevel=4 panic=-1 rdinit=/init", guest.append))
        .args(["-device", "vmcoreinfo", "-serial"])
        .arg(format!("file:{}", serial.display()))
        .arg("-monitor")
        .arg(format!("unix:{},server,nowait", monitor.display()));
    fs::write(to.join("RECIPE"), format!("{command:?}\n"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut machine = boot(&mut command, work, &serial, progress)?;
    machine.wait_for(
        "GUEST-END",
        progress,
        (40, 80),
        "the guest writes what is true of it",
    )?;
    machine.wait_for("GUEST-READY", progress, (80, 85), "programs go on")?;
    truth(&machine.said()?, work, to)?;
    progress.at(86, "memory");
    let mut monitor = Monitor::open(&monitor)?;
    monitor.ask("stop")?;
    fs::write(to.join("info_registers.txt"), monitor.ask("info registers")?)?;
    let tlb = if guest.has_tlb {
        monitor.ask("info tlb")?
    } else {
        String::new()
    };
    fs::write(work.join("info_tlb.txt"), tlb)?;
    let core = work.join("mem.elf");
    monitor.ask(&format!("dump-guest-memory {}", core.display()))?;
    if guest.has_kdump {
        let kdump = to.join("mem.kdump-zlib");
        let _none = fs::remove_file(&kdump);
        monitor.ask(&format!("dump-guest-memory -z {}", kdump.display()))?;
    }
    if !core.exists() {
        bail!("QEMU wrote no memory: see {}", work.join("qemu.log").display());
    }
    Ok(())
}

/// Starts the guest until it comes as far as its own program: QEMU's largest
/// processor makes some kernels die early now and then.
fn boot(command: &mut Command, work: &Path, serial: &Path, progress: &mut Progress) -> Result<Machine> {
    let mut tries = 0;
    loop {
        tries += 1;
        let errors = File::create(work.join("qemu.log"))?;
        let child = command.stderr(errors).spawn().context("QEMU")?;
        let serial = serial.to_owned();
        let mut machine = Machine { child, serial };
        match machine.wait_for("GUEST-TRUTH", progress, (25, 40), "boot") {
            Ok(()) => return Ok(machine),
            Err(why) if tries == TRIES || machine.child.try_wait()?.is_none() => return Err(why),
            Err(_) => progress.note("the guest died while it booted: once more"),
        }
    }
}

/// A running guest; dropped, it ends.
struct Machine {
    child: Child,
    serial: PathBuf,
}

impl Machine {
    fn said(&self) -> Result<String> {
        let bytes = fs::read(&self.serial).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
    }

    /// Waits until a line of the console begins with `word`.
    fn wait_for(
        &mut self,
        word: &str,
        progress: &mut Progress,
        (from, to): (usize, usize),
        what: &str,
    ) -> Result<()> {
        let start = Instant::now();
        let mut slow = 0;
        loop {
            let said = self.said()?;
            if said.lines().any(|line| line.trim() == word) {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                let last: Vec<_> = said.lines().rev().take(12).collect();
                let last: Vec<_> = last.into_iter().rev().collect();
                let why = if ended.is_some() {
                    "ended"
                } else {
                    "takes too long"
                };
                bail!("the guest {why} before {word}; it said:\n{}", last.join("\n"));
            }
            // Nobody knows how long it takes: half of what is left, again and again.
            slow += 1;
            progress.at(to - (to - from) * 60 / (60 + slow), what);
            sleep(LOOK);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Unpacks what the guest wrote between its marks.
fn truth(said: &str, work: &Path, to: &Path) -> Result<()> {
    let (_, rest) = said.split_once("GUEST-TRUTH\n").context("no truth")?;
    let (text, _) = rest.split_once("GUEST-END\n").context("no end of the truth")?;
    let is_packed = |line: &&str| {
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        !line.is_empty() && line.bytes().all(base64)
    };
    // The kernel's own lines may stand between.
    let packed: Vec<_> = text.lines().filter(is_packed).collect();
    let path = work.join("truth.base64");
    fs::write(&path, packed.join("\n") + "\n")?;
    let archive = to.join("truth.tgz");
    let output = Command::new("base64").arg("-d").arg(&path).output()?;
    fs::write(&archive, output.stdout)?;
    run_it(Command::new("tar").arg("-tzf").arg(&archive)).context("what the guest wrote is damaged")?;
    Ok(())
}

/// QEMU's monitor.
struct Monitor(UnixStream);

impl Monitor {
    fn open(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).context("QEMU's monitor")?;
        let mut monitor = Self(stream);
        monitor.answer()?;
        Ok(monitor)
    }

    /// What the monitor says to a command, without echo and prompt.
    fn ask(&mut self, command: &str) -> Result<String> {
        writeln!(self.0, "{command}")?;
        let answer = self.answer()?;
        let lines = answer.split_once('\n').map_or("", |(_echo, lines)| lines);
        Ok(lines.to_owned())
    }

    fn answer(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut piece = [0; 1 << 16];
        while !bytes.ends_with(PROMPT) {
            match self.0.read(&mut piece)? {
                0 => bail!("QEMU's monitor closed"),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
        bytes.truncate(bytes.len() - PROMPT.len());
        Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
    }
}

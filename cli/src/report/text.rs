//! The report for reading.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::data::{Area, Count, Ending, Process, Report, Resident};

/// Most mappings that are listed; those with the most faults.
const AREAS: usize = 24;
/// Most processes that are listed.
const PROCESSES: usize = 12;
/// Most owners of frames that are listed.
pub(super) const OWNERS: usize = 12;

/// The report as text.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    processes(&mut out, report);
    faults(&mut out, report);
    frames(&mut out, report);
    owners(&mut out, report);
    counts(&mut out, "translations (the machine's TLB)", &report.tlb);
    counts(
        &mut out,
        "system calls of memory management",
        &report.memory_calls,
    );
    counts(&mut out, "other system calls", &report.other_calls);
    out.push_str(&walks(report));
    if let Some(audit) = report.audit.as_ref().filter(|audit| audit.is_clean()) {
        let allocations = audit.allocations;
        line(
            &mut out,
            &format!("every frame is accounted for, after {allocations} allocations"),
        );
    }
    if report.unsupported.is_empty() {
        line(&mut out, "everything the program asked for was supported");
    } else {
        counts(&mut out, "not supported", &report.unsupported);
    }
    out
}

/// The translations that were to be explained, as text.
pub(super) fn walks(report: &Report) -> String {
    let mut out = String::new();
    for walk in &report.walks {
        let (pid, name) = (walk.pid, &walk.name);
        let mut asked = walk.asked.clone();
        let address = format!("{:x}", walk.address);
        if !walk.tables.is_empty() && !asked.ends_with(&address) {
            asked = format!("{asked} = {address}");
        }
        line(&mut out, &format!("walk of {asked} in process {pid} {name}:"));
        let mapping = [format!("in {}", walk.mapping)];
        let tables = [walk.tables.clone()];
        let rest = walk.steps.iter().chain(&walk.accesses).chain(&walk.frame);
        for text in mapping.iter().chain(&tables).chain(rest) {
            if !text.is_empty() {
                line(&mut out, &format!("  {text}"));
            }
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str("foliant: ");
    out.push_str(text);
    out.push('\n');
}

fn head(out: &mut String, report: &Report) {
    let ending = match report.ending {
        Ending::Exited(code) => format!("exit status {code}"),
        Ending::Killed(signal) => format!("killed by signal {signal}"),
    };
    let seconds = report.elapsed_ms as f64 / 1000.0;
    line(
        out,
        &format!("{}: {ending} after {seconds:.3} s", report.command.join(" ")),
    );
    let machine = &report.machine;
    let layout = match machine.seed {
        Some(seed) => format!("layout seed {seed}"),
        None => "layout not random".to_owned(),
    };
    line(
        out,
        &format!(
            "machine: {} MiB, {} CPUs, {layout}",
            machine.ram >> 20,
            machine.cpus
        ),
    );
    if let Some(hotplug) = machine.hotplug {
        let mib = |bytes: u64| bytes >> 20;
        let (size, plugged, online) = (mib(hotplug.size), mib(hotplug.plugged), mib(hotplug.online));
        line(
            out,
            &format!(
                "to be plugged in at {:#x}: {size} MiB, of which {plugged} MiB were, {online} MiB of them online",
                hotplug.start
            ),
        );
    }
}

fn processes(out: &mut String, report: &Report) {
    let mut table = table(&[
        "process",
        "peak KiB",
        "anon",
        "file",
        "shmem",
        "last KiB",
        "minor",
        "major",
        "tables KiB",
    ]);
    for process in report.processes.iter().take(PROCESSES) {
        let Resident { anon, file, shmem } = process.peak;
        table.add_row([
            format!("{} {}", process.pid, process.name),
            process.peak_total.to_string(),
            anon.to_string(),
            file.to_string(),
            shmem.to_string(),
            process.last.total().to_string(),
            process.minor_faults.to_string(),
            process.major_faults.to_string(),
            list(&process.tables),
        ]);
    }
    section(out, "processes and their resident memory", &mut table, 1..8);
    let hidden = report.processes.len().saturating_sub(PROCESSES) as u64 + report.processes_left_out;
    if hidden > 0 {
        line(out, &format!("and {hidden} more"));
    }
}

fn faults(out: &mut String, report: &Report) {
    counts(out, "faults", &report.faults);
    counts(out, "blocks that one fault filled", &report.blocks);
    let mut areas: Vec<(&Process, &Area, u64)> = Vec::new();
    for process in &report.processes {
        for area in process.areas.iter().chain(&process.gone) {
            let total = area.faults.iter().map(|count| count.count).sum();
            areas.push((process, area, total));
        }
    }
    areas.retain(|(_, _, total)| *total > 0);
    areas.sort_by_key(|(_, _, total)| std::cmp::Reverse(*total));
    let hidden = areas.len().saturating_sub(AREAS);
    areas.truncate(AREAS);
    areas.sort_by_key(|(process, area, _)| (process.pid, area.start));
    let mut table = table(&["process", "mapping", "perms", "KiB", "resident", "name", "faults"]);
    for (process, area, _) in areas {
        table.add_row([
            process.pid.to_string(),
            if area.end == 0 {
                "unmapped since".to_owned()
            } else {
                format!("{:x}-{:x}", area.start, area.end)
            },
            area.perms.clone(),
            area.size().to_string(),
            area.resident.to_string(),
            area.name.clone(),
            list(&area.faults),
        ]);
    }
    section(out, "faults by mapping", &mut table, 3..5);
    if hidden > 0 {
        line(out, &format!("and {hidden} mappings with fewer faults"));
    }
}

fn frames(out: &mut String, report: &Report) {
    let mut table = table(&["zone", "frames", "free", "free blocks of order 0, 1, 2, ..."]);
    for zone in &report.zones {
        let orders: Vec<String> = zone.free_by_order.iter().map(u64::to_string).collect();
        table.add_row([
            format!("{} {}", zone.node, zone.name),
            zone.managed.to_string(),
            zone.free.to_string(),
            orders.join(" "),
        ]);
    }
    section(out, "frames at the end", &mut table, 1..3);
}

fn owners(out: &mut String, report: &Report) {
    let mut table = table(&["frames", "allocations", "for", "by", "in process"]);
    for owned in report.owners.iter().take(OWNERS) {
        table.add_row([
            owned.frames.to_string(),
            owned.folios.to_string(),
            owned.purpose.clone(),
            owned.doing.clone(),
            format!("{} {}", owned.pid, owned.name),
        ]);
    }
    section(
        out,
        "who had the frames when the first process ended",
        &mut table,
        0..2,
    );
    let hidden = &report.owners[report.owners.len().min(OWNERS)..];
    if !hidden.is_empty() {
        let frames: u64 = hidden.iter().map(|owned| owned.frames).sum();
        line(out, &format!("and {frames} frames of {} others", hidden.len()));
    }
}

fn counts(out: &mut String, title: &str, counts: &[Count]) {
    if counts.is_empty() {
        return;
    }
    line(out, &format!("{title}: {}", list(counts)));
}

/// `12 anonymous, 3 zero page`.
fn list(counts: &[Count]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|count| format!("{} {}", count.count, count.name))
        .collect();
    parts.join(", ")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table
}

/// Prints a table, unless it is empty, with some columns flush right.
fn section(out: &mut String, title: &str, table: &mut Table, numbers: std::ops::Range<usize>) {
    if table.is_empty() {
        return;
    }
    for at in numbers {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(out, &format!("{title}:"));
    for row in table.lines() {
        let _fits = writeln!(out, "foliant:   {}", row.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_report_is_short_and_true() {
        let text = render(&Report {
            command: vec!["true".into()],
            ..Report::default()
        });
        assert!(text.contains("true: exit status 0"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}

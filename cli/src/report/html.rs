//! The report for looking at: one page that needs nothing else.

use super::chart::{self, Series, put};
use super::data::{Count, Ending, Report};
use super::space_map;

/// Most processes whose address space is drawn.
const SPACES: usize = 8;

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}\
table{border-collapse:collapse}td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}text{font-size:11px;fill:#444}\
.map text{font-size:11px}.address{font-family:ui-monospace,monospace}.gap{fill:#999}.faults{fill:#888}\
.grid{stroke:#e5e5e5}polyline{fill:none;stroke-width:2}\
.anon{fill:#3b78b8;stroke:#3b78b8}.file{fill:#5a9e5a;stroke:#5a9e5a}.shmem{fill:#c28a2b;stroke:#c28a2b}\
.heap{fill:#7d5ab5;stroke:#7d5ab5}.stack{fill:#b8506a;stroke:#b8506a}.bar{fill-opacity:.18}\
polyline.anon{fill:none}.key span{display:inline-block;margin-right:1.2em}\
.key i{display:inline-block;width:.8em;height:.8em;margin-right:.35em}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}text{fill:#bbb}td,th{border-color:#444}\
.grid{stroke:#333}}";

/// What the colours mean: class and word.
const KEY: &[(&str, &str)] = &[
    ("anon", "private"),
    ("heap", "heap"),
    ("stack", "stack"),
    ("file", "file"),
    ("shmem", "shared"),
];

/// The report as a page.
pub(super) fn render(report: &Report) -> String {
    let title = escape(&report.command.join(" "));
    let mut page = format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Foliant: {title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    head(&mut page, report);
    over_time(&mut page, report);
    spaces(&mut page, report);
    walks(&mut page, report);
    table(&mut page, "Faults", &report.faults);
    table(&mut page, "Blocks that one fault filled", &report.blocks);
    zones(&mut page, report);
    owners(&mut page, report);
    table(&mut page, "Translations (the machine's TLB)", &report.tlb);
    table(
        &mut page,
        "System calls of memory management",
        &report.memory_calls,
    );
    table(&mut page, "Other system calls", &report.other_calls);
    table(&mut page, "Not supported", &report.unsupported);
    page.push_str("</body></html>\n");
    page
}

fn head(page: &mut String, report: &Report) {
    let ending = match report.ending {
        Ending::Exited(code) => format!("exit status {code}"),
        Ending::Killed(signal) => format!("killed by signal {signal}"),
    };
    let peak = report
        .processes
        .iter()
        .map(|process| process.peak_total)
        .max()
        .unwrap_or(0);
    let count = report.processes.len() as u64 + report.processes_left_out;
    put(
        page,
        format_args!(
            "<p>{ending} after {} ms on {} and {} CPUs; {count} processes, the largest with {} resident.</p>",
            report.elapsed_ms,
            space_map::size(report.machine.ram),
            report.machine.cpus,
            space_map::size(peak * 1024),
        ),
    );
}

fn over_time(page: &mut String, report: &Report) {
    let resident = [
        Series {
            name: "private",
            class: "anon",
            value: |moment| moment.resident.anon,
        },
        Series {
            name: "file",
            class: "file",
            value: |moment| moment.resident.file,
        },
        Series {
            name: "shared",
            class: "shmem",
            value: |moment| moment.resident.shmem,
        },
    ];
    let faults = [Series {
        name: "faults so far",
        class: "anon",
        value: |moment| moment.faults,
    }];
    page.push_str("<h2>Resident memory over time</h2>");
    key(page);
    page.push_str(&chart::draw(&report.timeline, &resident, true, "KiB"));
    page.push_str("<h2>Faults over time</h2>");
    page.push_str(&chart::draw(&report.timeline, &faults, false, ""));
}

fn spaces(page: &mut String, report: &Report) {
    for process in report
        .processes
        .iter()
        .filter(|process| !process.areas.is_empty())
        .take(SPACES)
    {
        put(
            page,
            format_args!(
                "<h2>Address space of {} ({})</h2>",
                escape(&process.name),
                process.pid
            ),
        );
        key(page);
        page.push_str(&space_map::draw(process));
    }
}

fn walks(page: &mut String, report: &Report) {
    if !report.walks.is_empty() {
        let text = escape(&super::text::walks(report));
        put(page, format_args!("<h2>Translations</h2><pre>{text}</pre>"));
    }
}

fn owners(page: &mut String, report: &Report) {
    if report.owners.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Who had the frames when the first process ended</h2><table><tr><th>process</th><th>for</th>\
         <th>by</th><th>allocations</th><th>frames</th></tr>",
    );
    for owned in report.owners.iter().take(super::text::OWNERS) {
        put(
            page,
            format_args!(
                "<tr><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                owned.pid,
                escape(&owned.name),
                escape(&owned.purpose),
                escape(&owned.doing),
                owned.folios,
                owned.frames
            ),
        );
    }
    page.push_str("</table>");
}

fn zones(page: &mut String, report: &Report) {
    if report.zones.is_empty() {
        return;
    }
    page.push_str("<h2>Frames at the end</h2><table><tr><th>zone</th><th>frames</th><th>free</th>");
    let orders = report
        .zones
        .iter()
        .map(|zone| zone.free_by_order.len())
        .max()
        .unwrap_or(0);
    for order in 0..orders {
        put(page, format_args!("<th>order {order}</th>"));
    }
    page.push_str("</tr>");
    for zone in &report.zones {
        put(
            page,
            format_args!(
                "<tr><td>{} {}</td><td>{}</td><td>{}</td>",
                zone.node,
                escape(&zone.name),
                zone.managed,
                zone.free
            ),
        );
        for count in &zone.free_by_order {
            put(page, format_args!("<td>{count}</td>"));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

fn table(page: &mut String, title: &str, counts: &[Count]) {
    if counts.is_empty() {
        return;
    }
    put(page, format_args!("<h2>{title}</h2><table>"));
    for count in counts {
        put(
            page,
            format_args!(
                "<tr><td>{}</td><td>{}</td></tr>",
                escape(&count.name),
                count.count
            ),
        );
    }
    page.push_str("</table>");
}

fn key(page: &mut String) {
    page.push_str("<p class='key'>");
    for (class, word) in KEY {
        put(
            page,
            format_args!(
                "<span><svg style='width:.8em;height:.8em' viewBox='0 0 1 1'><rect class='{class}' width='1' height='1'/></svg> {word}</span>"
            ),
        );
    }
    page.push_str("</p>");
}

/// Text that may stand anywhere in a page.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Area, Moment, Process, Resident};

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let page = render(&Report {
            command: vec!["<script>".into()],
            processes: vec![Process {
                areas: vec![Area {
                    start: 0x1000,
                    end: 0x3000,
                    name: "/tmp/<b>'".into(),
                    perms: "rw-p".into(),
                    ..Area::default()
                }],
                ..Process::default()
            }],
            timeline: vec![
                Moment::default(),
                Moment {
                    ms: 10,
                    resident: Resident {
                        anon: 100,
                        ..Resident::default()
                    },
                    faults: 3,
                },
            ],
            ..Report::default()
        });
        assert!(!page.contains("<script>") && !page.contains("<b>"));
        assert!(page.contains("polygon") && page.contains("polyline"));
    }
}

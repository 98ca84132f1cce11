//! `cargo xtask bench run`: what running a program on Foliant costs.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets};

use super::floor::{Floor, Probe};
use super::gates::{self, Results};
use super::mmops::{self, Report};
use super::peers::{Peer, Stage};
use crate::tree;

/// Runs the peers in turn, `rounds` times, and prints medians and ratios.
pub(super) fn run(rounds: usize, cpu: Option<u32>, gate: bool) -> Result<ExitCode> {
    let root = tree::root()?;
    let folder = tree::target()?.join("bench");
    std::fs::create_dir_all(&folder)?;
    let mmops = mmops::build(&root, &folder)?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "foliant-cli"])
        .current_dir(&root)
        .status()
        .context("cargo")?;
    if !built.success() {
        bail!("the foliant command does not build");
    }
    let probe = Probe::build(&root, cpu)?;
    let mut floors = Vec::new();
    let stage = Stage::new(folder, mmops, tree::target()?.join("release/foliant"), cpu);

    let mut peers: Vec<(Peer, Vec<Report>)> = Vec::new();
    for peer in Peer::EVERY {
        match stage.prepare(peer) {
            Ok(()) => peers.push((peer, Vec::new())),
            Err(why) => println!("{} is left out: {why:#}", peer.name()),
        }
    }
    for round in 0..rounds {
        match probe.run() {
            Ok(floor) => floors.push(floor),
            Err(why) => println!("round {}: {why:#}", round + 1),
        }
        for (peer, reports) in &mut peers {
            match stage.run(*peer) {
                Ok(report) => reports.push(report),
                Err(why) => println!("round {}: {why:#}", round + 1),
            }
        }
    }

    let medians: Vec<(Peer, Report)> = peers
        .iter()
        .map(|(peer, reports)| (*peer, mmops::median(reports)))
        .collect();
    let floor = Floor::median(&floors);
    println!("{}", table(&medians)?);
    if let Some(floor) = floor {
        println!("{floor}");
    }
    println!("{}", host_folios());
    conclude(&medians, floor, gate)
}

/// What the row "64K run, anon" compares, which depends on the host.
fn host_folios() -> String {
    let path = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
    let shown = std::fs::read_to_string(path).unwrap_or_default();
    let setting = shown.split(['[', ']']).nth(1).unwrap_or("not there");
    let faults = match setting {
        "always" | "madvise" => "one fault",
        "inherit" => "one fault or sixteen, as its setting for all sizes says",
        _ => "sixteen faults",
    };
    format!(
        "64K run, anon: Foliant runs with --thp-anon 64K:madvise and takes one fault; \
         this host has hugepages-64kB/enabled {setting}, so native takes {faults}"
    )
}

/// One line per operation: ticks of each peer and the multiple of native.
fn table(medians: &[(Peer, Report)]) -> Result<Table> {
    let native = find(medians, Peer::Native).context("mmops did not run natively")?;
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let mut header = vec!["operation (median ticks)".to_owned()];
    for (peer, _) in medians {
        header.push(peer.name().to_owned());
        if *peer != Peer::Native {
            header.push("/ native".to_owned());
        }
    }
    table.set_header(header);
    for row in &native.rows {
        let mut cells = vec![row.name.clone()];
        for (peer, report) in medians {
            let theirs = report.row(&row.name);
            cells.push(theirs.map_or("-".to_owned(), |theirs| theirs.median.to_string()));
            if *peer != Peer::Native {
                let ratio = theirs.map(|theirs| theirs.median as f64 / row.median.max(1) as f64);
                cells.push(ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
            }
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(table)
}

fn conclude(medians: &[(Peer, Report)], floor: Option<Floor>, gate: bool) -> Result<ExitCode> {
    let native = find(medians, Peer::Native).context("mmops did not run natively")?;
    let Some(foliant) = find(medians, Peer::Foliant) else {
        println!("Foliant did not run");
        return Ok(ExitCode::FAILURE);
    };
    let results = Results {
        native,
        foliant,
        user_mode_linux: find(medians, Peer::UserModeLinux),
        gvisor: find(medians, Peer::Gvisor),
        floor,
    };
    let missed = gates::missed(&results);
    for line in gates::ahead(&results) {
        println!("not compared: {line}");
    }
    for line in &missed {
        println!("gate missed: {line}");
    }
    if missed.is_empty() {
        println!("every gate is met");
    }
    Ok(if gate && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn find(medians: &[(Peer, Report)], wanted: Peer) -> Option<&Report> {
    let (_, report) = medians.iter().find(|(peer, _)| *peer == wanted)?;
    (!report.rows.is_empty()).then_some(report)
}

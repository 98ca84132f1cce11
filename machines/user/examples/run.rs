//! Runs a program on a machine, with nothing around it.
//!
//! ```text
//! cargo run --release -p foliant-user --example run -- /bin/true
//! ```

use std::process::ExitCode;

use foliant_user::{Command, MemoryPlan, Options, Outcome, Session};

fn main() -> ExitCode {
    let command: Vec<_> = std::env::args_os().skip(1).collect();
    match run(&Command::find(&command)) {
        Ok(Outcome::Failed(error)) => complain(&error, 125),
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => complain(&*error, 126),
    }
}

fn run(command: &Command) -> Result<Outcome, Box<dyn std::error::Error>> {
    let session = Session::new(Options {
        memory: MemoryPlan::flat(2 << 30)?,
        cpus: 2,
        randomize: false,
        seed: 1,
        folios: foliant_user::FolioSizes::default(),
        host_mappings: None,
        fail_at: None,
        page_owner: false,
        observer: None,
    })?;
    let outcome = session.run(command)?;
    if std::env::var_os("FOLIANT_COUNTERS").is_some() {
        eprintln!("{:?}", session.machine().counters());
    }
    Ok(outcome)
}

fn complain(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("run: {error}");
    ExitCode::from(code)
}

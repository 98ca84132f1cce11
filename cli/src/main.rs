//! The `foliant` command.

fn main() -> std::process::ExitCode {
    foliant_cli::main()
}

//! The `kithara` command.

fn main() -> std::process::ExitCode {
    kithara::cli::main().into()
}

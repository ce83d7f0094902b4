//! The binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match pctr::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; everything else is a mistake in the arguments.
            let code = if error.use_stderr() { pctr::error::Kind::Config.exit_code() } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    // A panic is our bug: it is told as one, with the exit code for bugs.
    match std::panic::catch_unwind(|| pctr::cli::run(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            pctr::cli::report(&error);
            ExitCode::from(error.kind().exit_code())
        }
        Err(_) => ExitCode::from(pctr::error::Kind::Bug.exit_code()),
    }
}

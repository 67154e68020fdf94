use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tier::cli::main())
}

//! The `ferry` program: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use ferry::args::Args;

fn main() -> ExitCode {
    ferry::run(Args::parse()).into()
}

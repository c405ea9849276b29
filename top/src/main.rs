//! The program `moji-top`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    moji_top::cli::main()
}

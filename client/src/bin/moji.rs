//! The operator's program: hands over to the library and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    moji_client::operator::main()
}

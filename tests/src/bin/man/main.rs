//! `man [--check]`: makes the man pages and the daemons' completions from what their `--help` says.
//!
//! Owns which programs have them and where they lie. Must never build a program: the newest that lies beside it says
//! its help (`cargo build --workspace` first). With `--check` it writes nothing and fails when a file is not what it
//! would write.

mod completion;
mod help;
mod roff;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use completion::Operands;
use help::Help;
use roff::Page;

/// A program: its page, the folder of its files, and what completes its operands; None of one that brings its
/// completions itself.
type Program = (Page, &'static str, Option<Operands>);

const PROGRAMS: [Program; 4] = [
    (
        Page {
            program: "moji",
            section: 1,
            files: &[
                (
                    "~/.config/moji.conf, /etc/moji.conf",
                    "Where the hub is, and the file of the operators' secret.",
                ),
                ("/run/moji-server/PORT.hub", "Where a hub on this machine has its secrets."),
                ("~/.local/state/moji/known_hubs", "Keys of hubs, trusted at first use."),
            ],
            see_also: "moji-top(1), moji-client(8), moji-server(8)",
        },
        "client/dist",
        None,
    ),
    (
        Page {
            program: "moji-top",
            section: 1,
            files: &[(
                "~/.config/moji.conf, /etc/moji.conf",
                "Where the hub is, and the file of the operators' secret, as for moji.",
            )],
            see_also: "moji(1), moji-server(8)",
        },
        "top/dist",
        // It is called by moji, whose completion knows it.
        None,
    ),
    (
        Page {
            program: "moji-client",
            section: 8,
            files: &[
                ("/etc/sysconfig/moji-client", "Settings of the service."),
                ("/etc/sysconfig/moji-hub", "The farm's address and key, of the package moji-release."),
                ("/etc/moji/builder.token", "The token that 'moji-server token' prints on the hub."),
            ],
            see_also: "moji(1), moji-server(8), mock(1)",
        },
        "client/dist",
        Some(Operands::HubAndMock),
    ),
    (
        Page {
            program: "moji-server",
            section: 8,
            files: &[
                ("/etc/sysconfig/moji-server", "Settings of the service."),
                ("/var/lib/moji-server", "The service's folders."),
            ],
            see_also: "moji(1), moji-client(8)",
        },
        "server/dist",
        Some(Operands::Folders),
    ),
];

fn main() -> ExitCode {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [word] if word == "--check" => true,
        _ => {
            eprintln!("usage: man [--check]");
            return ExitCode::from(2);
        }
    };
    match PROGRAMS.iter().try_for_each(|program| one(program, check)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("man: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes or checks the files of one program.
fn one((page, folder, operands): &Program, check: bool) -> Result<(), String> {
    let name = page.program;
    let help = help_of(name)?;
    let mut files = vec![(format!("{name}.{}", page.section), roff::render(page, &help)?)];
    if let Some(operands) = *operands {
        files.extend([
            (format!("completion/bash/{name}"), completion::bash(name, &help, operands)),
            (format!("completion/zsh/_{name}"), completion::zsh(name, &help, operands)),
            (format!("completion/fish/{name}.fish"), completion::fish(name, &help, operands)),
        ]);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    files.iter().try_for_each(|(file, text)| settle(&folder.join(file), text, check))
}

/// Writes a file, or sees that it is so.
fn settle(path: &Path, text: &str, check: bool) -> Result<(), String> {
    let shown = path.display();
    if check {
        return match std::fs::read_to_string(path) {
            Ok(there) if there == text => Ok(()),
            _ => Err(format!("{shown} is not what the help says: run 'cargo run -p moji-tests --bin man'")),
        };
    }
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let write = || std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
    write().map_err(|error| format!("cannot write {shown}: {error}"))
}

fn help_of(name: &str) -> Result<Help, String> {
    let program = moji_tests::program(name);
    let said = Command::new(&program).arg("--help").output();
    let said = said.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if !said.status.success() {
        return Err(format!("{} --help: {}", program.display(), said.status));
    }
    String::from_utf8(said.stdout)
        .map(|text| Help::read(&text))
        .map_err(|error| format!("{name} --help: {error}"))
}

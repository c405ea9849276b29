//! Lines of the logs that tell what went wrong.
//!
//! Owns the table of what to look for. Says nothing about what a line means: the hub rules.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use moji_proto::Line;
use moji_proto::limits::EVIDENCE_MAX;
use moji_proto::message::{Exit, Which};

use super::collect::open_regular;

/// Most lines kept of one log for one needle: a missing library is said once a package, and the
/// names matter; anything else says the same every time.
const LINES_PER_NEEDLE: [usize; RANKS] = [32, 4, 4, 4];
/// How many last lines are sent when no needle was found.
const LAST_LINES: usize = 20;
/// Most bytes of a line that are looked at; the rest of a longer one is skipped.
const LINE_LOOKED_AT_BYTES: usize = 16 * 1024;

/// What tells best comes first when there is too much.
const RANKS: usize = 4;

/// Rank and text: 0 missing dependencies, 1 memory, 2 the builder or the world, 3 the package.
const NEEDLES: [(usize, &str); 48] = [
    (0, "No matching package"),
    (0, "nothing provides"),
    (0, "Failed build dependencies"),
    (0, "is needed by"),
    (0, "none of the providers can be installed"),
    (0, "No match for argument:"),
    (0, "No Package found for"),
    (1, "Killed signal terminated program"),
    (1, "terminated with signal 9"),
    (1, "virtual memory exhausted"),
    (1, "Cannot allocate memory"),
    (1, "out of memory"),
    (1, "Out of memory"),
    (1, "return code was: -9"),
    (1, "failed to map segment"),
    (1, " Killed "),
    (1, ": Killed"),
    (1, "] Killed"),
    (2, "No space left on device"),
    (2, "more space needed"),
    (2, "Disk quota exceeded"),
    (2, "Read-only file system"),
    (2, "Input/output error"),
    (2, "Failed to download"),
    (2, "Failed to synchronize cache"),
    (2, "All mirrors were tried"),
    (2, "Cannot download"),
    (2, "Error downloading packages"),
    (2, "Unable to find a match"),
    (2, "Curl error"),
    (2, "Status code: "),
    (2, "No such command: builddep"),
    (2, "builddep command missing"),
    (2, "dnf-plugins-core"),
    (2, "Build root is locked"),
    (2, "Could not find required config file"),
    (2, "Could not create output directory"),
    (2, "Cannot find/open srpm"),
    (3, "Timeout("),
    (3, "is excluded by"),
    (3, "ExclusiveArch"),
    (3, "ExcludeArch"),
    (3, "No compatible architectures found for build"),
    (3, "Architecture is not included"),
    (3, "Architecture is excluded"),
    (3, "Bad exit status from"),
    (3, "error:"),
    // How make ends: `make[1]: *** [Makefile:31: main.o] Error 1`.
    (3, ": *** "),
];

/// Reads the four logs of `result` and returns at most [`EVIDENCE_MAX`] lines, best first.
#[must_use]
pub(super) fn gather(result: &Path, exit: Exit) -> Vec<(Which, Line)> {
    let mut ranks: [Vec<(Which, Line)>; RANKS] = Default::default();
    let mut last: Vec<(Which, VecDeque<String>)> = Vec::new();
    for which in Which::ALL {
        let Ok(file) = open_regular(&result.join(which.file_name())) else { continue };
        let mut tail = VecDeque::new();
        // What was read before an error still counts.
        let _ = scan(file, which, &mut ranks, &mut tail);
        last.push((which, tail));
    }
    let mut evidence: Vec<(Which, Line)> = ranks.into_iter().flatten().collect();
    // What stood still, or went on and on, is told by where it was.
    if exit.is_limit() || (evidence.is_empty() && exit != Exit::Code(0)) {
        evidence = last_lines(last);
    }
    evidence.truncate(usize::from(EVIDENCE_MAX));
    evidence
}

fn scan(
    file: File,
    which: Which,
    ranks: &mut [Vec<(Which, Line)>; RANKS],
    tail: &mut VecDeque<String>,
) -> io::Result<()> {
    let mut reader = BufReader::new(file);
    let mut found = [0_usize; NEEDLES.len()];
    let mut bytes = Vec::new();
    while read_line(&mut reader, &mut bytes)? {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if let Some(at) = NEEDLES.iter().position(|(_, needle)| text.contains(needle)) {
            let rank = NEEDLES[at].0;
            let line = (which, Line::lossy(text));
            if found[at] < LINES_PER_NEEDLE[rank] && !ranks[rank].contains(&line) {
                found[at] += 1;
                ranks[rank].push(line);
            }
        }
        if tail.len() == LAST_LINES {
            tail.pop_front();
        }
        tail.push_back(text.chars().take(moji_proto::limits::LINE_BYTES_MAX).collect());
    }
    Ok(())
}

/// Reads one line, of which at most [`LINE_LOOKED_AT_BYTES`] are kept. False at the end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = piece.iter().position(|&byte| byte == b'\n');
        let used = end.unwrap_or(piece.len());
        let room = LINE_LOOKED_AT_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&piece[..used.min(room)]);
        reader.consume(used + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// The last lines of the log that tells most: what rpmbuild said, else dnf, else mock.
fn last_lines(logs: Vec<(Which, VecDeque<String>)>) -> Vec<(Which, Line)> {
    let order = [Which::Build, Which::Root, Which::Mock, Which::State];
    for wanted in order {
        if let Some((which, lines)) = logs.iter().find(|(which, lines)| *which == wanted && !lines.is_empty())
        {
            return lines.iter().map(|line| (*which, Line::lossy(line))).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn gathered(logs: &[(&str, &str)], exit: Exit) -> Vec<(Which, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in logs {
            fs::write(folder.path().join(name), text).unwrap();
        }
        gather(folder.path(), exit)
            .into_iter()
            .map(|(which, line)| (which, line.as_str().to_owned()))
            .collect()
    }

    #[test]
    fn missing_dependencies_come_before_everything_else_and_once() {
        let root = "Curl error (7)\nError: No matching package to install: 'pkga(api) >= 1'\n\
                    Error: No matching package to install: 'pkga(api) >= 1'\n";
        assert_eq!(
            gathered(&[("root.log", root)], Exit::Code(30)),
            [
                (Which::Root, "Error: No matching package to install: 'pkga(api) >= 1'".to_owned()),
                (Which::Root, "Curl error (7)".to_owned())
            ]
        );
    }

    #[test]
    fn without_a_needle_the_last_lines_of_the_most_telling_log_are_sent() {
        let build: String = (0..30).map(|n| format!("line {n}\n")).collect();
        let lines = gathered(&[("build.log", &build), ("mock.log", "x\n")], Exit::Code(1));
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines.last(), Some(&(Which::Build, "line 29".to_owned())));
        assert_eq!(gathered(&[("build.log", &build)], Exit::Code(0)), []);
    }

    #[test]
    fn of_a_build_that_was_ended_the_last_lines_are_sent_whatever_it_said_before() {
        let build = "configure: error: no foo, never mind\nlinking giant\n";
        let lines = gathered(&[("build.log", build)], Exit::Silent(9));
        assert_eq!(lines.last(), Some(&(Which::Build, "linking giant".to_owned())));
        assert_eq!(gathered(&[("build.log", build)], Exit::Code(1)).len(), 1);
    }

    #[test]
    fn one_needle_does_not_flood_the_evidence_and_a_giant_line_does_no_harm() {
        let mut build: String = (0..1000).map(|n| format!("{n}: No space left on device\n")).collect();
        build.push_str(&"y".repeat(100_000));
        build.push_str(" No space left on device\nerror: Bad exit status from /var/tmp/x (%build)\n");
        let lines = gathered(&[("build.log", &build)], Exit::Code(1));
        assert_eq!(lines.len(), LINES_PER_NEEDLE[2] + 1);
        assert!(lines.last().is_some_and(|(_, line)| line.contains("Bad exit status")));
    }
}

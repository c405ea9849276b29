//! Where log lines go: stderr, or syslog.
//!
//! Owns the set-up only; what is logged is said by whoever owns the state that changed.

use log::LevelFilter;
use syslog::{BasicLogger, Facility, Formatter3164};

/// Starts logging. `verbose` 0 is info, 1 debug, more trace.
///
/// # Errors
/// In words, if syslog cannot be reached.
pub fn start(to_syslog: bool, verbose: u8) -> Result<(), String> {
    let level = match verbose {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    if to_syslog {
        let formatter = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: "moji-server".into(),
            pid: std::process::id(),
        };
        let logger = syslog::unix(formatter).map_err(|error| format!("failed to reach syslog: {error}"))?;
        log::set_boxed_logger(Box::new(BasicLogger::new(logger))).map_err(|error| error.to_string())?;
        log::set_max_level(level);
    } else {
        env_logger::Builder::new()
            .filter_level(LevelFilter::Warn)
            .filter_module("moji_server", level)
            .format_target(false)
            .format_timestamp_secs()
            .init();
    }
    Ok(())
}

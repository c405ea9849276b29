//! The exposition format of Prometheus, version 0.0.4.
//!
//! Owns its syntax: families with HELP and TYPE, samples, escapes. A library would keep a registry of its own beside the
//! hub's state; here all numbers come from one snapshot.

use std::fmt::Write as _;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; its name ends with `_total`.
    Counter,
    /// Counts by size.
    Histogram,
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    family: &'static str,
}

impl Text {
    /// Begins a family; each has all its samples in one place.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.family = name;
    }

    /// A sample of the family; a histogram's have a suffix.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{name}=\"{}\"", if at == 0 { '{' } else { ',' }, escape(value));
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_samples_stand_below_their_family() {
        let mut text = Text::default();
        text.family("a_bytes", Kind::Gauge, "one\\two");
        text.sample("", &[], 1.5);
        text.sample("", &[("x", "a\"b\\c\nd"), ("y", "é")], 20_000_000_000.0);
        assert_eq!(
            text.finish(),
            "# HELP a_bytes one\\\\two\n# TYPE a_bytes gauge\na_bytes 1.5\na_bytes{x=\"a\\\"b\\\\c\\nd\",y=\"é\"} 20000000000\n"
        );
    }
}

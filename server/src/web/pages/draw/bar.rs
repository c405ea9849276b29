//! A bar of parts: how many packages are in which state.

use std::fmt::Write as _;

use super::super::say::{Markup, escape};

/// Width of the drawing, in its own units; it is as wide as the page.
const WIDTH: u64 = 1_000;
/// A part that is there is seen, however small its share.
const LEAST: u64 = 4;

/// A part.
pub(in super::super) struct Part {
    /// Its style.
    pub(in super::super) tone: &'static str,
    /// Its name.
    pub(in super::super) name: String,
    pub(in super::super) count: u64,
}

/// Parts side by side; None if there is nothing to show.
pub(in super::super) fn bar(parts: &[Part]) -> Option<Markup> {
    let parts: Vec<&Part> = parts.iter().filter(|part| part.count > 0).collect();
    let total: u64 = parts.iter().map(|part| part.count).sum();
    if total == 0 {
        return None;
    }
    let said: Vec<String> = parts.iter().map(|part| format!("{} {}", part.count, part.name)).collect();
    let mut svg = format!(
        "<svg class=\"bar\" viewBox=\"0 0 {WIDTH} 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        escape(&said.join(", "))
    );
    let mut x = 0;
    for (part, width) in parts.iter().zip(widths(&parts, total)) {
        let _ = write!(
            svg,
            "<rect class=\"f-{}\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"10\"><title>{} {}</title></rect>",
            part.tone,
            part.count,
            escape(&part.name)
        );
        x += width;
    }
    svg.push_str("</svg>");
    Some(Markup(svg))
}

/// Their widths: together [`WIDTH`], none below [`LEAST`]; the widest gives what the smallest take.
fn widths(parts: &[&Part], total: u64) -> Vec<u64> {
    let share = |part: &&Part| (part.count * WIDTH / total).max(LEAST);
    let mut widths: Vec<u64> = parts.iter().map(share).collect();
    let sum: u64 = widths.iter().sum();
    if let Some(widest) = widths.iter_mut().max() {
        *widest = (*widest + WIDTH).saturating_sub(sum);
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(counts: &[u64]) -> Vec<Part> {
        let part = |count: &u64| Part { tone: "ok", name: "<x>".into(), count: *count };
        counts.iter().map(part).collect()
    }

    #[test]
    fn parts_fill_the_bar_and_none_of_them_vanishes() {
        for counts in [vec![1], vec![1, 24_999], vec![3, 3, 3], vec![1; 11], vec![1, 1, 1_000_000]] {
            let parts = parts(&counts);
            let all: Vec<&Part> = parts.iter().collect();
            let widths = widths(&all, counts.iter().sum());
            assert_eq!(widths.iter().sum::<u64>(), WIDTH, "{counts:?}: {widths:?}");
            assert!(widths.iter().all(|width| *width >= LEAST), "{counts:?}: {widths:?}");
        }
    }

    #[test]
    fn a_bar_says_in_words_what_it_shows() {
        let svg = bar(&parts(&[2, 0, 5])).unwrap().0;
        assert!(svg.contains("aria-label=\"2 &lt;x&gt;, 5 &lt;x&gt;\""), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(bar(&parts(&[0, 0])).is_none());
    }
}

//! A package between those that it waits for and those that wait for it: drawn, and as two lists where a drawing would
//! be too small to read. The stylesheet shows one of them.

use std::fmt::Write as _;

use super::super::say::{Markup, escape};

/// The drawing, in its own units, which are pixels where there is room.
const WIDTH: usize = 720;
const BOX_WIDTH: usize = 200;
const BOX_HEIGHT: usize = 34;
const GAP: usize = 10;
/// Boxes at one side; the last one says how many more there are.
const SIDE_MAX: usize = 8;
/// Characters that fit into a box.
const NAME_MAX: usize = 25;

/// A package in the graph.
pub(in super::super) struct Node {
    pub(in super::super) name: String,
    /// Where its box leads; empty: nowhere.
    pub(in super::super) path: String,
    pub(in super::super) tone: &'static str,
    /// Its state, or what else is to be said of it.
    pub(in super::super) word: String,
}

/// `before` at the left, `middle`, `after` at the right; None if it would be alone.
pub(in super::super) fn graph(middle: &Node, before: &[Node], after: &[Node]) -> Option<Markup> {
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let rows = before.len().max(after.len()).clamp(1, SIDE_MAX);
    let height = rows * (BOX_HEIGHT + GAP) + GAP;
    let center = (WIDTH - BOX_WIDTH) / 2;
    let right = WIDTH - BOX_WIDTH;
    let mut svg = format!(
        "<svg class=\"graph\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(&said(middle, before, after))
    );
    let middle_y = (height - BOX_HEIGHT) / 2;
    for (side, x, from_left) in [(before, 0, true), (after, right, false)] {
        let shown = side.len().min(SIDE_MAX);
        let top = (height - (shown * (BOX_HEIGHT + GAP)).saturating_sub(GAP)) / 2;
        for at in 0..shown {
            let y = top + at * (BOX_HEIGHT + GAP);
            let (a, b) = if from_left { (BOX_WIDTH, center) } else { (center + BOX_WIDTH, right) };
            let (from, to) = if from_left { (y, middle_y) } else { (middle_y, y) };
            line(&mut svg, a, from + BOX_HEIGHT / 2, b, to + BOX_HEIGHT / 2);
            let more = side.len() - at;
            if at + 1 == SIDE_MAX && more > 1 {
                let name = format!("and {more} more");
                let rest = Node { name, path: String::new(), tone: "off", word: String::new() };
                draw(&mut svg, &rest, x, y, "");
            } else {
                draw(&mut svg, &side[at], x, y, "");
            }
        }
    }
    draw(&mut svg, middle, center, middle_y, " self");
    svg.push_str("</svg>");
    for (head, nodes) in [("It waits for", before), ("What waits for it", after)] {
        list(&mut svg, head, nodes);
    }
    Some(Markup(svg))
}

/// The same as a list.
fn list(out: &mut String, head: &str, nodes: &[Node]) {
    if nodes.is_empty() {
        return;
    }
    let _ = write!(out, "<div class=\"beside\"><p>{head}</p><ul>");
    for node in nodes.iter().take(SIDE_MAX) {
        let name = escape(node.name.strip_suffix(".src.rpm").unwrap_or(&node.name));
        let badge = format!("<span class=\"badge {}\">{}</span>", node.tone, escape(&node.word));
        if node.path.is_empty() {
            let _ = write!(out, "<li>{name} {badge}</li>");
        } else {
            let _ = write!(out, "<li><a href=\"{}\">{name}</a> {badge}</li>", escape(&node.path));
        }
    }
    if let Some(more) = nodes.len().checked_sub(SIDE_MAX).filter(|more| *more > 0) {
        let _ = write!(out, "<li>and {more} more</li>");
    }
    out.push_str("</ul></div>");
}

fn line(svg: &mut String, x1: usize, y1: usize, x2: usize, y2: usize) {
    let bend = (x1 + x2) / 2;
    let _ = write!(svg, "<path class=\"edge\" d=\"M{x1} {y1}C{bend} {y1} {bend} {y2} {} {y2}\"/>", x2 - 5);
    let _ = write!(svg, "<path class=\"tip\" d=\"M{x2} {y2}l-7 -4v8z\"/>");
}

fn draw(svg: &mut String, node: &Node, x: usize, y: usize, extra: &str) {
    let is_link = !node.path.is_empty();
    if is_link {
        let _ = write!(svg, "<a href=\"{}\">", escape(&node.path));
    }
    let _ = write!(
        svg,
        "<g class=\"node{extra}\"><title>{} {}</title><rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" \
         height=\"{BOX_HEIGHT}\" rx=\"5\"/><rect class=\"f-{}\" x=\"{x}\" y=\"{y}\" width=\"5\" height=\"{BOX_HEIGHT}\" \
         rx=\"2\"/><text x=\"{}\" y=\"{}\">{}</text>",
        escape(&node.name),
        escape(&node.word),
        node.tone,
        x + 13,
        y + if node.word.is_empty() { 21 } else { 15 },
        escape(&shortened(&node.name)),
    );
    if !node.word.is_empty() {
        let _ = write!(
            svg,
            "<text class=\"word\" x=\"{}\" y=\"{}\">{}</text>",
            x + 13,
            y + 28,
            escape(&node.word)
        );
    }
    svg.push_str("</g>");
    if is_link {
        svg.push_str("</a>");
    }
}

/// What fits into a box: the beginning, without the ending that all have.
fn shortened(name: &str) -> String {
    let name = name.strip_suffix(".src.rpm").unwrap_or(name);
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(NAME_MAX - 1).collect();
    short.push('…');
    short
}

/// The same in words.
fn said(middle: &Node, before: &[Node], after: &[Node]) -> String {
    let list = |nodes: &[Node]| {
        let mut names: Vec<&str> = nodes.iter().map(|node| &*node.name).take(SIDE_MAX).collect();
        let more = format!("{} more", nodes.len().saturating_sub(SIDE_MAX));
        if nodes.len() > SIDE_MAX {
            names.push(&more);
        }
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    format!("{} waits for: {}. What waits for it: {}.", middle.name, list(before), list(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<Node> {
        let node = |n| Node {
            name: format!("p{n}<b>-1.src.rpm"),
            path: format!("/packages/p{n}"),
            tone: "ok",
            word: "success".into(),
        };
        (0..count).map(node).collect()
    }

    #[test]
    fn neighbours_are_drawn_and_named_in_words() {
        let own = nodes(1).remove(0);
        let svg = graph(&own, &nodes(2), &nodes(1)).unwrap().0;
        assert_eq!(svg.matches("class=\"edge\"").count(), 3);
        // In the drawing, itself too, and in the lists.
        assert_eq!(svg.matches("<a href").count(), 4 + 3);
        assert!(
            svg.contains("<p>It waits for</p><ul><li><a href=\"/packages/p0\">p0&lt;b&gt;-1</a>"),
            "{svg}"
        );
        let want = "waits for: p0&lt;b&gt;-1.src.rpm, p1&lt;b&gt;-1.src.rpm. What waits for it: p0";
        assert!(svg.contains(want), "{svg}");
        assert!(!svg.contains("<b>"));
        assert!(graph(&own, &[], &[]).is_none());
    }

    #[test]
    fn a_crowd_is_cut_and_counted() {
        let svg = graph(&nodes(1)[0], &[], &nodes(100)).unwrap().0;
        assert_eq!(svg.matches("class=\"edge\"").count(), SIDE_MAX);
        assert!(svg.contains("and 93 more") && svg.contains("92 more."), "{svg}");
        assert!(svg.contains("<li>and 92 more</li>"), "{svg}");
        assert!(shortened(&"é".repeat(60)).chars().count() == NAME_MAX);
    }
}

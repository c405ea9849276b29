//! What sources are called: which one a capability may come from, by its name alone.
//!
//! Pure. A guess, which the order and explanations may go by and nothing else.

/// So many words are taken off a name's end to find its source.
const WORDS_OFF_MAX: usize = 4;

/// Names that the source of a capability may have, the likeliest first.
pub(in crate::core::queue) fn sources_of(capability: &str) -> Vec<String> {
    if let Some((_, file)) = capability.rsplit_once('/') {
        return shorter(file);
    }
    let Some((kind, rest)) = capability.split_once('(') else { return shorter(capability) };
    let inside = rest.split([')', '(']).next().unwrap_or("").trim();
    let dashed = || inside.replace("::", "-").replace(['/', '.', ':'], "-");
    let with = |prefixes: &[&str]| prefixes.iter().map(|prefix| format!("{prefix}{}", dashed())).collect();
    match kind {
        "pkgconfig" | "cmake" => {
            let plain = inside.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
            let names = [inside, plain].into_iter().flat_map(|name| [name.to_owned(), format!("lib{name}")]);
            names.chain([inside.to_lowercase()]).chain(shorter(inside)).collect()
        }
        "perl" => with(&["perl-"]),
        "rubygem" => with(&["rubygem-"]),
        "npm" => with(&["nodejs-", ""]),
        "tex" => vec!["texlive".to_owned()],
        "golang" => with(&["golang-", ""]),
        _ if kind.starts_with("python") && kind.ends_with("dist") => with(&["python-", "python3-", ""]),
        // A library: `libfoo.so.1()(64bit)`.
        _ if kind.contains(".so") => {
            let stem = kind.split(".so").next().unwrap_or(kind);
            let plain = stem.strip_prefix("lib").unwrap_or(stem);
            vec![stem.to_owned(), plain.to_owned()]
        }
        _ => shorter(kind),
    }
}

/// A name, and what is left of it when words are taken off its end: `foo-bar-devel`, `foo-bar`, `foo`.
fn shorter(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    let mut rest = name;
    while let Some((shorter, _)) = rest.rsplit_once('-').filter(|(shorter, _)| !shorter.is_empty())
        && all.len() <= WORDS_OFF_MAX
    {
        all.push(shorter.to_owned());
        rest = shorter;
    }
    all
}

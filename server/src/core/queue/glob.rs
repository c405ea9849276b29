//! Shell patterns: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`, and `\` before a sign meant as itself.
//!
//! Owns the matcher only. Work is bounded by the product of the two lengths.

/// Whether all of `text` matches.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last `*` has to take one sign more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        let step = match text.get(t) {
            None if p == pattern.len() => return true,
            None => return false,
            Some(&sign) => one(&pattern[p..], sign),
        };
        match (step, retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                t = from + 1;
                retry = Some((after, from + 1));
            }
            (None, None) => return false,
        }
    }
}

/// How many signs of the pattern match this one sign; None if they do not.
fn one(pattern: &[char], sign: char) -> Option<usize> {
    match pattern {
        [] => None,
        ['?', ..] => Some(1),
        ['\\', literal, ..] => (*literal == sign).then_some(2),
        ['[', rest @ ..] => match class(rest, sign) {
            Some((used, is_in)) => is_in.then_some(used + 1),
            None => (sign == '[').then_some(1),
        },
        [literal, ..] => (*literal == sign).then_some(1),
    }
}

/// The class behind a `[`: its length with the `]`, and whether the sign is in it. None if it never ends.
fn class(rest: &[char], sign: char) -> Option<(usize, bool)> {
    let negated = matches!(rest.first(), Some('!' | '^'));
    let start = usize::from(negated);
    // A `]` that comes first is meant as itself.
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let mut set = &rest[start..end];
    let mut found = false;
    while let Some(first) = set.first() {
        match set {
            [low, '-', high, ..] => {
                found |= (*low..=*high).contains(&sign);
                set = &set[3..];
            }
            _ => {
                found |= *first == sign;
                set = &set[1..];
            }
        }
    }
    Some((end + 1, found != negated))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_a_shell_would() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("gcc*", "gcc-4.8-1", true),
            ("gcc*", "xgcc", false),
            ("*gcc*13*", "cross-gcc-13.2-1.src.rpm", true),
            ("g?c-*", "gcc-1", true),
            ("g?c", "gc", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[ab", "[ab", true),
            ("\\*x", "*x", true),
            ("\\*x", "ax", false),
            ("a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern:?} on {text:?}");
        }
    }
}

//! What a package needs, as rpm writes it and as dnf and rpm say it in a log.
//!
//! Owns the grammar (rpm's `docs/manual/dependencies.md` and `boolean_dependencies.md`) and how versions meet
//! (`rpmverOverlap` in rpm's `rpmio/rpmver.c`). Texts come from builders, so none may cost more than its length.

use std::cmp::Ordering;
use std::fmt;

use rpm_version::Evr;

use crate::rpmfile::Capability;

/// Sense bits of a comparison (`rpmds.h`).
pub(super) const LESS: u32 = 2;
pub(super) const GREATER: u32 = 4;
pub(crate) const EQUAL: u32 = 8;
/// How deep rich dependencies may nest; deeper ones are taken for a name that nobody has. Real ones have two levels.
const DEPTH_MAX: usize = 8;

/// Something that must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// A name, a path or `name(thing)`, perhaps with a version.
    One(Capability),
    /// `(a and b and …)`.
    And(Vec<Requirement>),
    /// `(a or b or …)`.
    Or(Vec<Requirement>),
    /// `(a with b with …)`: one package has all of it.
    With(Vec<Requirement>),
    /// `(a without b)`: a package has the first and not the second.
    Without(Box<Requirement>, Box<Requirement>),
    /// `(a if b)` and `(a if b else c)`: the first if the second is installed, otherwise the third.
    If(Box<Requirement>, Box<Requirement>, Option<Box<Requirement>>),
    /// `(a unless b)` and `(a unless b else c)`: the first if the second is not installed, otherwise the third.
    Unless(Box<Requirement>, Box<Requirement>, Option<Box<Requirement>>),
}

impl Requirement {
    /// Reads what a log or a header says. What is no requirement is taken for a name, which nobody will provide.
    #[must_use]
    pub fn parse(text: &str) -> Requirement {
        let text = text.trim();
        rich(text, DEPTH_MAX).unwrap_or_else(|| one(text))
    }

    /// Of a header's array.
    #[must_use]
    pub fn of(capability: &Capability) -> Requirement {
        if capability.name.starts_with('(') {
            return Requirement::parse(&capability.name);
        }
        Requirement::One(capability.clone())
    }

    /// The names, paths and `name(thing)`s in it, in their order.
    #[must_use]
    pub fn atoms(&self) -> Vec<&Capability> {
        let mut all = Vec::new();
        self.gather(&mut all);
        all
    }

    fn gather<'a>(&'a self, all: &mut Vec<&'a Capability>) {
        match self {
            Requirement::One(capability) => all.push(capability),
            Requirement::And(of) | Requirement::Or(of) | Requirement::With(of) => {
                of.iter().for_each(|one| one.gather(all));
            }
            Requirement::Without(a, b) => [a, b].into_iter().for_each(|one| one.gather(all)),
            Requirement::If(a, b, c) | Requirement::Unless(a, b, c) => {
                [Some(a), Some(b), c.as_ref()].into_iter().flatten().for_each(|one| one.gather(all));
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = |f: &mut fmt::Formatter<'_>, word: &str, of: &[Requirement]| {
            f.write_str("(")?;
            for (at, one) in of.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                one.fmt(f)?;
            }
            f.write_str(")")
        };
        let choice = |f: &mut fmt::Formatter<'_>, word: &str, a, b, c: &Option<Box<Requirement>>| {
            let (a, b): (&Requirement, &Requirement) = (a, b);
            write!(f, "({a} {word} {b}")?;
            if let Some(c) = c {
                write!(f, " else {c}")?;
            }
            f.write_str(")")
        };
        match self {
            Requirement::One(one) => match sign(one.flags) {
                "" => f.write_str(&one.name),
                sign => write!(f, "{} {sign} {}", one.name, one.evr),
            },
            Requirement::And(of) => chain(f, "and", of),
            Requirement::Or(of) => chain(f, "or", of),
            Requirement::With(of) => chain(f, "with", of),
            Requirement::Without(a, b) => choice(f, "without", a, b, &None),
            Requirement::If(a, b, c) => choice(f, "if", a, b, c),
            Requirement::Unless(a, b, c) => choice(f, "unless", a, b, c),
        }
    }
}

/// Whether what is provided meets what is wanted, the names being equal. A side that compares nothing meets all; a
/// version without release meets all its releases, if equality is allowed; no epoch is epoch 0.
pub(super) fn meets(wanted: &Capability, flags: u32, evr: &str) -> bool {
    overlap(wanted.flags, &wanted.evr, flags, evr)
}

/// As [`meets`], of flags and a version each.
#[must_use]
pub(crate) fn overlap(wanted_flags: u32, wanted_evr: &str, flags: u32, evr: &str) -> bool {
    if wanted_flags == 0 || flags == 0 || wanted_evr.is_empty() || evr.is_empty() {
        return true;
    }
    let (want, have) = (split(wanted_evr), split(evr));
    let (no_release_wanted, no_release_had) = (want.release().is_empty(), have.release().is_empty());
    let order = if no_release_wanted != no_release_had {
        let without =
            |evr: &Evr<'_>| Evr::new(evr.epoch().to_owned(), evr.version().to_owned(), String::new());
        let order = without(&have).cmp(&without(&want));
        let loose = if no_release_wanted { wanted_flags } else { flags };
        if order == Ordering::Equal && loose & EQUAL != 0 {
            return true;
        }
        order
    } else {
        have.cmp(&want)
    };
    match order {
        Ordering::Less => flags & GREATER != 0 || wanted_flags & LESS != 0,
        Ordering::Greater => flags & LESS != 0 || wanted_flags & GREATER != 0,
        Ordering::Equal => flags & wanted_flags & (LESS | GREATER | EQUAL) != 0,
    }
}

/// Which `[epoch:]version[-release]` is the later one; a release that only one of them has makes it later.
#[must_use]
pub fn compare_evrs(a: &str, b: &str) -> Ordering {
    split(a).cmp(&split(b))
}

/// `[epoch:]version[-release]`, as `rpmverParse` has it: an epoch is digits, and the last dash counts.
pub(super) fn split(evr: &str) -> Evr<'_> {
    let epoch = evr.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|b| b.is_ascii_digit()));
    let (epoch, rest) = epoch.unwrap_or(("", evr));
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    Evr::new(epoch, version, release)
}

fn sign(flags: u32) -> &'static str {
    match flags & (LESS | GREATER | EQUAL) {
        LESS => "<",
        GREATER => ">",
        EQUAL => "=",
        10 => "<=",
        12 => ">=",
        _ => "",
    }
}

fn flags(sign: &str) -> Option<u32> {
    Some(match sign {
        "<" => LESS,
        ">" => GREATER,
        "=" | "==" => EQUAL,
        "<=" | "=<" => LESS | EQUAL,
        ">=" | "=>" => GREATER | EQUAL,
        _ => return None,
    })
}

/// `name`, or `name OP version`; a name may hold spaces inside its parentheses (`libx.so.1(V 1)`).
fn one(text: &str) -> Requirement {
    let words = words(text);
    let (name, flags, evr) = match &words.as_deref() {
        Some([name, sign, evr]) if flags(sign).is_some() => (*name, flags(sign).unwrap_or(0), *evr),
        _ => (text, 0, ""),
    };
    Requirement::One(Capability { name: name.to_owned(), flags, evr: evr.to_owned() })
}

/// A rich dependency; None if the text is none.
fn rich(text: &str, depth: usize) -> Option<Requirement> {
    let inside = text.strip_prefix('(')?.strip_suffix(')')?;
    let words = words(inside)?;
    let mut rest = &words[..];
    let depth = depth.checked_sub(1)?;
    let first = operand(&mut rest, depth)?;
    let Some((word, more)) = rest.split_first() else { return Some(first) };
    rest = more;
    let second = operand(&mut rest, depth)?;
    match *word {
        "and" | "or" | "with" => {
            let mut of = vec![first, second];
            while let Some((again, more)) = rest.split_first() {
                // Only one word may be chained, without parentheses of its own.
                if again != word {
                    return None;
                }
                rest = more;
                of.push(operand(&mut rest, depth)?);
            }
            Some(match *word {
                "and" => Requirement::And(of),
                "or" => Requirement::Or(of),
                _ => Requirement::With(of),
            })
        }
        "without" if rest.is_empty() => Some(Requirement::Without(first.into(), second.into())),
        "if" | "unless" => {
            let third = match rest.split_first() {
                None => None,
                Some((&"else", more)) => {
                    rest = more;
                    let third = operand(&mut rest, depth)?;
                    if !rest.is_empty() {
                        return None;
                    }
                    Some(third.into())
                }
                Some(_) => return None,
            };
            let choice = if *word == "if" { Requirement::If } else { Requirement::Unless };
            Some(choice(first.into(), second.into(), third))
        }
        _ => None,
    }
}

/// Takes one operand from the front of the words.
fn operand(rest: &mut &[&str], depth: usize) -> Option<Requirement> {
    let (first, more) = rest.split_first()?;
    if first.starts_with('(') {
        *rest = more;
        return rich(first, depth);
    }
    let (flags, evr, more) = match more {
        [sign, evr, more @ ..] if flags(sign).is_some() => (flags(sign)?, *evr, more),
        _ => (0, "", more),
    };
    *rest = more;
    Some(Requirement::One(Capability { name: (*first).to_owned(), flags, evr: evr.to_owned() }))
}

/// Splits at spaces that are outside of parentheses; None if those do not match.
fn words(text: &str) -> Option<Vec<&str>> {
    let (mut all, mut depth, mut start) = (Vec::new(), 0_usize, None);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ if c.is_whitespace() && depth == 0 => {
                all.extend(start.take().map(|start| &text[start..at]));
                continue;
            }
            _ => {}
        }
        start.get_or_insert(at);
    }
    all.extend(start.map(|start| &text[start..]));
    (depth == 0).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dnf_says_is_read() {
        let check = |text: &str, name: &str, flags: u32, evr: &str| {
            let want = Capability { name: name.to_owned(), flags, evr: evr.to_owned() };
            assert_eq!(Requirement::parse(text), Requirement::One(want), "{text}");
        };
        check("gcc", "gcc", 0, "");
        check("pkga(api) >= 1", "pkga(api)", GREATER | EQUAL, "1");
        check(" pkgconfig(x)  <  1:2.0-3 ", "pkgconfig(x)", LESS, "1:2.0-3");
        check("perl == 4:5", "perl", EQUAL, "4:5");
        check("/usr/bin/x y", "/usr/bin/x y", 0, "");
        check("libx.so.1(V 1)", "libx.so.1(V 1)", 0, "");
        check("libx.so.1(V 1)(64bit) = 2", "libx.so.1(V 1)(64bit)", EQUAL, "2");
        check("a ~ 1", "a ~ 1", 0, "");
        check("a >=", "a >=", 0, "");
        check("", "", 0, "");
        // Not closed, closed twice, mixed words, a word missing: nobody provides such a name.
        for text in [
            "(a or b",
            "(a or b))",
            "(a or b and c)",
            "(a or)",
            "(or b)",
            "(a xor b)",
            "()",
            "(a if b else c d)",
        ] {
            check(text, text, 0, "");
        }
    }

    #[test]
    fn rich_dependencies_are_read_and_written() {
        for text in [
            "(a or b)",
            "(a and b >= 1:2-3 and c(d e))",
            "(a if b)",
            "(a if (b or c) else d)",
            "(a unless b)",
            "(a unless b else (c and d))",
            "(a >= 1 with a < 2)",
            "(a without b)",
            "((a or b) and (c or (d if e)))",
        ] {
            let read = Requirement::parse(text);
            assert!(!matches!(read, Requirement::One(_)), "{text}");
            assert_eq!(read.to_string(), text);
        }
        let names = |text| {
            let read = Requirement::parse(text);
            read.atoms().iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names("((a or b = 1) and (c if d else e) and (f unless g) and (h without i))"),
            "a b c d e f g h i"
        );
        // One in parentheses, and nested too deep.
        assert_eq!(Requirement::parse("(a)"), Requirement::parse("a"));
        let deep = format!("{}a or b{}", "(".repeat(9), ")".repeat(9));
        assert!(matches!(Requirement::parse(&deep), Requirement::One(_)));
        assert_eq!(Requirement::parse(&deep[1..deep.len() - 1]), Requirement::parse("(a or b)"));
    }

    #[test]
    fn any_text_is_read_and_long_ones_in_good_time() {
        let parts = ["(", ")", " ", "a", "or", "if", "else", "and", "with", ">=", "1-2", "é", "\t"];
        let mut dice = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(parts[(dice >> 33) as usize % parts.len()]);
            }
            let read = Requirement::parse(&text);
            assert_eq!(Requirement::parse(&read.to_string()), read, "{text}");
        }
        let long = "(".repeat(1_000_000);
        assert!(matches!(Requirement::parse(&long), Requirement::One(_)));
    }

    #[test]
    fn versions_meet_as_rpm_has_them() {
        let check = |wanted: &str, had: &str, want: bool| {
            let (wanted, had) = (Requirement::parse(wanted), Requirement::parse(had));
            let (Requirement::One(wanted), Requirement::One(had)) = (&wanted, &had) else { panic!() };
            assert_eq!(meets(wanted, had.flags, &had.evr), want, "{wanted:?} of {had:?}");
        };
        // As in rpm's tests/rpmds.at.
        check("a", "a", true);
        check("a = 1", "a", true);
        check("a", "a = 1", true);
        check("a = 1", "a = 1", true);
        check("a = 1", "a = 2", false);
        check("a >= 1", "a = 2", true);
        check("a > 1", "a = 1", false);
        check("a < 1", "a = 1", false);
        check("a <= 1", "a = 1", true);
        check("a < 1", "a = 0.9", true);
        // A release that is not said is any, where equality counts.
        check("a = 1", "a = 1-5", true);
        check("a <= 1", "a = 1-5", true);
        check("a > 1", "a = 1-5", false);
        check("a < 1", "a = 1-5", false);
        check("a = 1-5", "a = 1", true);
        check("a > 1-5", "a = 1", true);
        check("a = 1-5", "a = 1-6", false);
        // Epochs.
        check("a = 1", "a = 0:1", true);
        check("a = 1", "a = 1:1", false);
        check("a >= 1:1", "a = 2", false);
        check("a < 1:1", "a = 2", true);
        // What is provided may be a range too.
        check("a = 3", "a >= 2", true);
        check("a = 1", "a >= 2", false);
        check("a > 1", "a < 2", true);
        check("a < 1", "a > 2", false);
        // Tilde and caret.
        check("a >= 1.0", "a = 1.0~rc1-1", false);
        check("a > 1.0", "a = 1.0^git1-1", true);
        check("a >= 1.0~rc1", "a = 1.0-1", true);
    }

    #[test]
    fn versions_compare_as_in_rpms_own_tests() {
        // rpm's tests/rpmvercmp.at.
        let vectors = "1.0 = 1.0|1.0 < 2.0|2.0.1 = 2.0.1|2.0 < 2.0.1|2.0.1a = 2.0.1a|2.0.1a > 2.0.1|5.5p1 = 5.5p1|\
            5.5p1 < 5.5p2|5.5p10 = 5.5p10|5.5p1 < 5.5p10|10xyz < 10.1xyz|xyz10 = xyz10|xyz10 < xyz10.1|xyz.4 = xyz.4|\
            xyz.4 < 8|xyz.4 < 2|5.5p2 < 5.6p1|5.6p1 < 6.5p1|6.0.rc1 > 6.0|10b2 > 10a1|10a2 < 10b2|1.0aa = 1.0aa|\
            1.0a < 1.0aa|10.0001 = 10.0001|10.0001 = 10.1|10.0001 < 10.0039|4.999.9 < 5.0|20101121 = 20101121|\
            20101121 < 20101122|2_0 = 2_0|2.0 = 2_0|a = a|a+ = a+|a+ = a_|+a = +a|+a = _a|+_+ = +_+|_+ = _+|_+ = +_|+ = _|\
            1.0~rc1 = 1.0~rc1|1.0~rc1 < 1.0|1.0~rc1 < 1.0~rc2|1.0~rc1~git123 = 1.0~rc1~git123|\
            1.0~rc1~git123 < 1.0~rc1|1.0~rc1 > 1.0~rc1~git123|1.0^ = 1.0^|1.0^ > 1.0|1.0^git1 = 1.0^git1|\
            1.0^git1 > 1.0|1.0^git1 < 1.0^git2|1.0^git1 < 1.01|1.0^20160101 = 1.0^20160101|1.0^20160101 < 1.0.1|\
            1.0^20160101^git1 = 1.0^20160101^git1|1.0^20160102 > 1.0^20160101^git1|1.0~rc1^git1 = 1.0~rc1^git1|\
            1.0~rc1^git1 > 1.0~rc1|1.0^git1~pre = 1.0^git1~pre|1.0^git1 > 1.0^git1~pre|1b.fc17 = 1b.fc17|\
            1b.fc17 < 1.fc17|1g.fc17 = 1g.fc17|1g.fc17 > 1.fc17|1.1.α = 1.1.β|1.1.αα = 1.1.α";
        for vector in vectors.split('|') {
            let words: Vec<&str> = vector.split_whitespace().collect();
            let want = match words[1] {
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                _ => Ordering::Equal,
            };
            let order = |a: &str, b: &str| split(&format!("{a}-1")).cmp(&split(&format!("{b}-1")));
            assert_eq!(order(words[0], words[2]), want, "{vector}");
            assert_eq!(order(words[2], words[0]), want.reverse(), "{vector}");
        }
    }
}

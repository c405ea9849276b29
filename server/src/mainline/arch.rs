//! Which architectures' packages a chroot can use.
//!
//! Owns rpm's `arch_compat` (`rpmrc.in`) as far as repositories mix architectures.

/// Whether a chroot for `target` can use packages for `arch`; without a target, whether any chroot can.
#[must_use]
pub(crate) fn fits(arch: &str, target: Option<&str>) -> bool {
    if matches!(arch, "src" | "nosrc") {
        return false;
    }
    let Some(target) = target else { return true };
    let target = match target {
        "amd64" | "ia32e" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    match (arch, target) {
        ("noarch", _) => true,
        // x86_64_v2 and so on are for newer machines of the same kind, and i686 is there for multilib.
        _ if target.starts_with("x86_64") => arch.starts_with("x86_64") || is_x86(arch),
        _ if is_x86(target) => is_x86(arch),
        _ => arch == target || Arm::of(arch).zip(Arm::of(target)).is_some_and(|(a, t)| a.runs_on(t)),
    }
}

/// The hub calls any of them the same (`i386` builds `i686`).
fn is_x86(arch: &str) -> bool {
    matches!(arch, "i386" | "i486" | "i586" | "i686" | "athlon" | "geode" | "pentium3" | "pentium4")
}

/// A 32 bit ARM: `armv5tel`, `armv7hnl`.
#[derive(Clone, Copy)]
struct Arm {
    version: u32,
    is_hard_float: bool,
    has_neon: bool,
}

impl Arm {
    fn of(arch: &str) -> Option<Arm> {
        let rest = arch.strip_prefix("armv")?;
        let version = rest.chars().next()?.to_digit(10)?;
        Some(Arm { version, is_hard_float: rest.contains('h'), has_neon: rest.contains('n') })
    }

    fn runs_on(self, target: Arm) -> bool {
        self.version <= target.version
            && self.is_hard_float == target.is_hard_float
            && (!self.has_neon || target.has_neon || target.version > self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_fit_as_rpm_has_it_and_sources_never() {
        let check = |target: &str, yes: &[&str], no: &[&str]| {
            yes.iter().for_each(|arch| assert!(fits(arch, Some(target)), "{arch} on {target}"));
            no.iter().for_each(|arch| assert!(!fits(arch, Some(target)), "{arch} on {target}"));
        };
        check("x86_64", &["x86_64", "noarch", "i686", "x86_64_v2"], &["src", "nosrc", "aarch64", "armv7hl"]);
        check("i386", &["i686", "i386", "noarch"], &["x86_64"]);
        check("armv5tel", &["armv5tel", "armv4tl", "noarch"], &["armv7hl", "armv6l", "aarch64"]);
        check("armv7hl", &["armv7hl", "armv6hl"], &["armv7hnl", "armv5tel", "armv7l"]);
        check("armv7hnl", &["armv7hnl", "armv7hl"], &["armv8hl"]);
        check("arm64", &["aarch64", "noarch"], &["armv7hl"]);
        check("riscv64", &["riscv64", "noarch"], &["ppc64le", "src"]);
        assert!(fits("s390x", None) && fits("noarch", None) && !fits("src", None));
    }
}

//! What mock installs into a chroot before a package's own BuildRequires, as `mock --debug-config-expanded` prints it.
//!
//! Owns the reading of that text: `config_opts['KEY'] = VALUE` lines, whose values are Python literals, long strings in
//! parentheses and in pieces. What is as mock's defaults have it is left out there. Says nothing about what it means: the hub
//! finds the packages.

use moji_proto::Line;

/// mock's own `chroot_setup_cmd`.
const SETUP: &str = "install @buildsys-build";
/// What mock installs into a bootstrap chroot for each package manager, its first word being the command.
const MANAGERS: [(&str, &str); 4] = [
    ("dnf", "install python3-dnf python3-dnf-plugins-core"),
    ("dnf5", "install dnf5 dnf5-plugins"),
    ("yum", "install yum yum-utils"),
    ("microdnf", "dnf-install microdnf dnf dnf-plugins-core"),
];

/// The words of the setup, those of a bootstrap chroot after them, and whether weak dependencies are installed too. A setup
/// that is longer than a line of the protocol may be counts as unknown.
#[must_use]
pub fn parse(text: &str) -> (Line, bool) {
    let string = |key: &str| raw(text, key).and_then(unquote);
    // What is there and no string, a list, is not guessed at.
    let command = raw(text, "chroot_setup_cmd").map_or(Some(SETUP.to_owned()), unquote);
    let Some(mut words) = command else { return Default::default() };
    let bootstrap = raw(text, "use_bootstrap").or_else(|| raw(text, "use_bootstrap_container"));
    if bootstrap.is_none_or(|value| !value.starts_with("False")) {
        let manager = string("package_manager").unwrap_or_else(|| MANAGERS[0].0.to_owned());
        let known =
            MANAGERS.iter().find(|(name, _)| *name == manager).map(|(_, command)| (*command).to_owned());
        let command = string(&format!("{manager}_install_command")).or(known).unwrap_or_default();
        if let Some((_, packages)) = command.trim_start().split_once(' ') {
            words = words + " " + packages;
        }
    }
    let conf = string("dnf.conf").or_else(|| string("yum.conf")).unwrap_or_default();
    let weak = conf.lines().rev().find_map(|line| {
        let value = line.trim().strip_prefix("install_weak_deps")?.trim_start().strip_prefix('=')?;
        Some(!matches!(value.trim(), "0" | "False" | "false" | "no"))
    });
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    (Line::new(words.join(" ")).unwrap_or_default(), weak.unwrap_or(true))
}

/// What stands behind `config_opts['KEY'] = `, to the text's end.
fn raw<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let name = format!("config_opts['{key}'] = ");
    let (at, _) = text.match_indices(&name).find(|(at, _)| *at == 0 || text[..*at].ends_with('\n'))?;
    Some(&text[at + name.len()..])
}

/// The Python string at the beginning of `text`, of one piece or of many; None if there is none.
fn unquote(text: &str) -> Option<String> {
    let mut chars = text.chars().peekable();
    let mut string = None::<String>;
    while let Some(quote) = chars.find(|c| !c.is_whitespace() && *c != '(') {
        if quote != '\'' && quote != '"' {
            break;
        }
        let string = string.get_or_insert_default();
        while let Some(c) = chars.next().filter(|c| *c != quote) {
            let c = match c {
                '\\' => match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                },
                c => c,
            };
            string.push(c);
        }
        // The next option begins a line; the next piece is indented.
        if chars.peek() == Some(&'\n') {
            chars.next();
            if chars.peek() != Some(&' ') {
                break;
            }
        }
    }
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As mock 6.7 prints a Fedora configuration.
    const FEDORA: &str = r#"config_opts['bootstrap_image'] = 'registry.fedoraproject.org/fedora:43'
config_opts['chroot_setup_cmd'] = 'install @buildsys-build'
config_opts['description'] = 'Fedora 43'
config_opts['dnf.conf'] = ('\n'
 '[main]\n'
 'keepcache=1\n'
 'install_weak_deps=0\n'
 'metadata_expire=0\n'
 "protected_packages='a b'\n"
 '\n'
 '[fedora]\n'
 'name=fedora\n'
 'baseurl=http://mirror/$releasever/$basearch/\n')
config_opts['package_manager'] = 'dnf5'
config_opts['plugin_conf'] = {'root_cache_enable': True, 'chroot_setup_cmd': 'no'}
config_opts['releasever'] = '43'
config_opts['root'] = 'fedora-43-armv5tel'
config_opts['target_arch'] = 'armv5tel'
"#;

    fn check(text: &str, setup: &str, weak: bool) {
        let (line, is_weak) = parse(text);
        assert_eq!((line.as_str(), is_weak), (setup, weak), "{text}");
    }

    #[test]
    fn what_a_real_configuration_says_is_found() {
        check(FEDORA, "install @buildsys-build dnf5 dnf5-plugins", false);
    }

    #[test]
    fn what_is_left_out_is_as_mock_has_it() {
        check("", "install @buildsys-build python3-dnf python3-dnf-plugins-core", true);
        check("config_opts['use_bootstrap'] = False\n", SETUP, true);
        check("config_opts['use_bootstrap_container'] = False\n", SETUP, true);
        check("config_opts['package_manager'] = 'zypper'\n", SETUP, true);
        let own =
            "config_opts['dnf_install_command'] = 'install dnf4'\nconfig_opts['use_bootstrap'] = True\n";
        check(own, "install @buildsys-build dnf4", true);
    }

    #[test]
    fn a_long_setup_in_pieces_is_one_and_one_that_is_too_long_is_unknown() {
        let pieces = "config_opts['chroot_setup_cmd'] = ('install bash \"gcc-c++\" it\\'s '\n \"tar \"\n 'xz')\n\
                      config_opts['use_bootstrap'] = False\n";
        check(pieces, "install bash \"gcc-c++\" it's tar xz", true);
        let long = format!("config_opts['chroot_setup_cmd'] = 'install {}'\n", "x ".repeat(2000));
        check(&long, "", true);
        check("config_opts['chroot_setup_cmd'] = ['install', 'bash']\n", "", false);
        for cut in 0..FEDORA.len() {
            let _ = parse(&FEDORA[..cut]);
        }
    }

    #[test]
    fn weak_dependencies_are_installed_unless_the_last_word_is_no() {
        for (conf, weak) in [
            ("install_weak_deps=1", true),
            ("install_weak_deps = False", false),
            ("install_weak_deps=0\\ninstall_weak_deps=1", true),
            ("#install_weak_deps=0", true),
            ("install_weak_deps_too=0", true),
        ] {
            let text = format!(
                "config_opts['use_bootstrap'] = False\nconfig_opts['dnf.conf'] = '[main]\\n{conf}\\n'\n"
            );
            check(&text, SETUP, weak);
        }
        check(
            "config_opts['use_bootstrap'] = False\nconfig_opts['yum.conf'] = 'install_weak_deps=0'\n",
            SETUP,
            false,
        );
    }
}

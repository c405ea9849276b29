//! Finding things: names of packages, candidates of completion, the hub itself; and what is said when
//! something is not found.

use std::fs;

use moji_tests::{Farm, SOON, run_to_end, simple_spec, srpm_from_spec};

use crate::{
    assert_plain_error, drop_planned, file, lacks_ghost, no, object, objects, ok, shell, wait_state,
};

/// Names as JSON has them, of whatever a command lists.
fn srpms(farm: &Farm, words: &[&str]) -> Vec<String> {
    objects(farm, words).iter().map(|row| row["srpm"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn a_package_is_found_by_every_name_it_has_and_what_is_not_found_is_helped() {
    let farm = Farm::plan().builders(0).start();
    for (name, version, extra) in
        [("zlib", "1.2", ""), ("zlib", "1.3", ""), ("zlib-ng", "2", ""), ("dated", "7", "Epoch: 3\n")]
    {
        farm.drop_file(&srpm_from_spec(farm.path(), &simple_spec(name, version, extra)));
    }
    farm.wait_until("all to be known", SOON, |farm| objects(farm, &["list", "waiting"]).len() == 4);
    let (old, new, ng) = ("zlib-1.2-1.src.rpm", "zlib-1.3-1.src.rpm", "zlib-ng-2-1.src.rpm");
    for (name, found) in [
        ("zlib-1.3-1.src.rpm", &[new][..]),
        ("zlib-1.3-1", &[new]),
        ("zlib", &[old, new]),
        ("zlib*", &[old, new, ng]),
        ("zlib-[1]*", &[old, new]),
        ("zlib-1.?-1", &[old, new]),
        ("zlib-ng", &[ng]),
        ("*.src.rpm", &["dated-7-1.src.rpm", old, new, ng]),
        ("dated", &["dated-7-1.src.rpm"]),
        ("dated-3:7-1", &["dated-7-1.src.rpm"]),
        ("dated-7-1", &["dated-7-1.src.rpm"]),
    ] {
        assert_eq!(srpms(&farm, &["list", name]), found, "{name}");
    }
    assert_eq!(object(&farm, &["list", "dated"])["nevr"], "dated-3:7-1");
    // One is wanted and several fit: they are named, and nothing is done.
    for words in [&["show", "zlib"][..], &["cancel", "zlib"], &["log", "zlib"]] {
        let said = no(&farm, words);
        assert!(said.contains("zlib-1.2-1") && said.contains("zlib-1.3-1"), "{words:?}: {said}");
        assert!(!said.contains("zlib-ng"), "{words:?}: {said}");
    }
    assert_eq!(objects(&farm, &["list", "waiting"]).len(), 4);
    let said = no(&farm, &["show", "zlip-1.3-1"]);
    assert!(said.contains("zlip-1.3-1") && said.contains("zlib-1.3-1"), "{said}");
    assert!(!no(&farm, &["show", "quite-different"]).contains("dated"));
    // A glob says that several are meant.
    let said = ok(&farm, &["cancel", "zlib-1*"]);
    assert!(
        said.contains("zlib-1.2-1") && said.contains("zlib-1.3-1") && !said.contains("zlib-ng"),
        "{said}"
    );
    completion(&farm);
}

/// What bash offers for the words of a line, its last one unfinished.
fn offered(farm: &Farm, words: &[&str]) -> Vec<String> {
    let script = "source <(\"$1\" completion bash); shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}; \
                  read -r -a how <<< \"$(complete -p moji)\"; \
                  for ((i = 0; i < ${#how[@]}; i++)); do [ \"${how[i]}\" = -F ] && f=${how[i + 1]}; done; \
                  \"$f\" moji \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let moji = farm.moji_with(&[]);
    let mut bash = std::process::Command::new("bash");
    for (name, value) in moji.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        bash.env(name, value);
    }
    let folder = std::path::Path::new(moji.get_program()).parent().expect("a program has a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    bash.env("PATH", path).env("MOJI_HUB", moji.get_args().nth(1).expect("the hub's address"));
    // The secret is found as on the hub itself, or by the configuration.
    let config = farm.path().join(".config");
    fs::create_dir_all(&config).expect("a folder");
    let secret = farm.state().join("operator.secret");
    fs::write(config.join("moji.conf"), format!("password-file = {}\n", secret.display())).expect("written");
    bash.args(["-c", script, "bash"]).arg(moji.get_program()).args(words);
    let ended = run_to_end(bash, SOON);
    assert!(ended.stderr.is_empty(), "{words:?}: {ended:?}");
    let mut found: Vec<String> = ended.stdout.lines().map(|line| line.trim().to_owned()).collect();
    found.retain(|word| !word.is_empty());
    found.sort();
    found
}

fn completion(farm: &Farm) {
    assert_eq!(offered(farm, &["moji", "sta"]), ["status"]);
    assert!(offered(farm, &["moji", "re"]).contains(&"retry".to_owned()));
    assert_eq!(offered(farm, &["moji", "show", "zlib-n"]), ["zlib-ng-2-1"]);
    assert_eq!(offered(farm, &["moji", "retry", "zlib-1"]), ["zlib-1.2-1", "zlib-1.3-1"]);
    assert!(offered(farm, &["moji", "list", "wai"]).contains(&"waiting".to_owned()));
    assert!(offered(farm, &["moji", "log", "--wh"]).contains(&"--which".to_owned()));
    for of in ["zsh", "fish"] {
        let text = ok(farm, &["completion", of]);
        assert!(text.contains("moji") && text.contains("__complete"), "{of}: {text}");
    }
}

#[test]
fn each_mistake_has_its_exit_code_and_a_line_that_says_what_to_do() {
    let mut farm = Farm::plan().builders(0).start();
    drop_planned(&farm, "one", lacks_ghost());
    wait_state(&farm, "one", "waiting");
    usage(&farm);
    hub_is_found(&farm);
    // No, and why.
    let said = no(&farm, &["show", "nothing"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    // A secret that is none, one that is another's, and none at all.
    let wrong = farm.path().join("wrong");
    fs::write(&wrong, "not the secret at all\n").expect("written");
    let listen = farm.hub_addr().to_string();
    let missing = farm.path().join("missing");
    let builders = farm.path().join("secret");
    for path in [&wrong, &missing, &builders] {
        let mut command = farm.moji_command();
        command.args(["--hub", &listen, "--password-file"]).arg(path).arg("status");
        let ended = run_to_end(command, SOON);
        assert_eq!(ended.code, 3, "{}: {ended:?}", path.display());
        assert_plain_error(&ended);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    // Nobody there.
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    let ended = farm.moji(&["status"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_plain_error(&ended);
    assert!(ended.stderr.contains(&listen), "it names the address: {ended:?}");
}

fn usage(farm: &Farm) {
    for words in [
        &["no-such-command"][..],
        &[],
        &["show"],
        &["list", "--no-such-option"],
        &["retry", "one", "--verdict", "nonsense"],
        &["prio", "one", "--first", "--last"],
        &["wait", "one", "--timeout", "soon"],
        &["log", "one", "--which", "nonsense"],
        &["completion", "tcsh"],
    ] {
        let ended = farm.moji(words);
        assert_eq!(ended.code, 2, "moji {words:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "moji {words:?}: {ended:?}");
    }
    let mut command = farm.moji_command();
    command.args(["--hub", "no:such:port", "status"]);
    let ended = run_to_end(command, SOON);
    assert!(matches!(ended.code, 2 | 3), "{ended:?}");
    let mut command = farm.moji_command();
    command.arg("help");
    let ended = run_to_end(command, SOON);
    assert_eq!(ended.code, 0, "{ended:?}");
    for word in ["status", "retract", "approve", "completion", "--password-file"] {
        assert!(ended.stdout.contains(word), "'{word}' in:\n{}", ended.stdout);
    }
    // A command that is nearly one is helped.
    assert!(farm.moji(&["statsu"]).stderr.contains("status"));
}

/// By the environment, the configuration, and where hubs of this machine say that they run.
fn hub_is_found(farm: &Farm) {
    let listen = farm.hub_addr().to_string();
    let secret = farm.state().join("operator.secret");
    let mut command = farm.moji_command();
    command.env("MOJI_HUB", &listen).arg("--password-file").arg(&secret).args(["list", "one"]);
    let ended = run_to_end(command, SOON);
    assert!(ended.code == 0 && ended.stdout.contains("one-1-1"), "{ended:?}");
    let mut command = farm.moji_command();
    command.args(["--hub", &listen, "list", "one"]);
    let ended = run_to_end(command, SOON);
    assert!(
        ended.code == 0 && ended.stdout.contains("one-1-1"),
        "the hub says where its secret is: {ended:?}"
    );
    let config = farm.path().join(".config");
    fs::create_dir_all(&config).expect("a folder");
    let text = format!("# where the farm is\nhub = {listen}\npassword-file = {}\n", secret.display());
    fs::write(config.join("moji.conf"), text).expect("written");
    let mut command = farm.moji_command();
    command.args(["list", "one"]);
    let ended = run_to_end(command, SOON);
    assert!(ended.code == 0 && ended.stdout.contains("one-1-1"), "{ended:?}");
    fs::remove_file(config.join("moji.conf")).expect("removed");
    // A script of bash sees what a person types.
    let ended = shell(farm, "\"$@\" | wc -l", &["--json", "list", &file("one")]);
    assert_eq!(ended.stdout.trim(), "1", "{ended:?}");
}

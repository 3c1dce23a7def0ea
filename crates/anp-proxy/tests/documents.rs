//! The documents that list things list all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use toml_edit::DocumentMut;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository; empty, and so without anything a test looks for, if it is not there.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

#[test]
fn every_setting_is_in_the_configuration_reference() {
    let document = read("docs/configuration.md");
    let sources = [
        ("gateway", read("crates/anp-gateway/src/config.rs")),
        ("receiver", read("crates/anp-receiver/src/config.rs")),
        ("log", read("crates/anp-proxy/src/logging.rs")),
    ];
    for (section, source) in sources {
        let start = format!("## [{section}]\n");
        let rest = document.split_once(&start).unwrap().1;
        let described = rest.split("\n## ").next().unwrap();
        let fields = source.lines().filter_map(|line| {
            let field = line
                .strip_prefix("    pub ")
                .or(line.strip_prefix("    pub(crate) "))?;
            let (name, _) = field.split_once(": ")?;
            let plain = |b: u8| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit();
            name.bytes().all(plain).then_some(name)
        });
        // Errors have fields, too, but none that a setting could be called.
        for field in fields.filter(|f| !matches!(*f, "key" | "expected" | "message")) {
            assert!(
                described.contains(&format!("| `{field}` |")),
                "[{section}] {field} is not in docs/configuration.md"
            );
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let document = read("docs/dependencies.md");
    let workspace: DocumentMut = read("Cargo.toml").parse().unwrap();
    let listed = |name: &str| {
        let mut names = document.lines().filter_map(|line| {
            let cell = line.strip_prefix("| ")?.split(" |").next()?;
            Some(cell.split(", "))
        });
        names.any(|mut cell| cell.any(|listed| listed == name))
    };
    let dependencies = workspace["workspace"]["dependencies"].as_table().unwrap();
    for (name, value) in dependencies {
        let own = value
            .as_inline_table()
            .is_some_and(|table| table.contains_key("path"));
        assert!(own || listed(name), "{name} is not in docs/dependencies.md");
    }
}

#[test]
fn the_readme_leads_to_files_that_are_there() {
    let text = read("README.md");
    assert!(text.contains("]("));
    for link in text.split("](").skip(1) {
        let target = link.split([')', '#']).next().unwrap();
        assert!(
            target.contains("://") || root().join(target).exists(),
            "{target} is not there"
        );
    }
}

#[test]
fn the_systemd_units_use_names_and_flags_that_exist() {
    let help = |command: &str| {
        let help = Command::new(env!("CARGO_BIN_EXE_anp-proxy"))
            .args([command, "--help"])
            .output()
            .unwrap();
        String::from_utf8(help.stdout).unwrap()
    };
    let (gateway, receiver) = (help("gateway"), help("receiver"));
    let mut names = Vec::new();
    let mut commands = 0;
    for unit in fs::read_dir(root().join("examples/systemd")).unwrap() {
        let text = fs::read_to_string(unit.unwrap().path()).unwrap();
        for line in text.lines() {
            let setting = line.starts_with(['#', '[']) || line.is_empty() || line.contains('=');
            assert!(setting, "{line}");
            if let Some(name) = line.strip_prefix("FileDescriptorName=") {
                names.push(name.to_owned());
            }
            if let Some(command) = line.strip_prefix("ExecStart=") {
                commands += 1;
                let help = match command.split(' ').nth(1) {
                    Some("gateway") => &gateway,
                    Some("receiver") => &receiver,
                    _ => panic!("{command}"),
                };
                for flag in command.split(' ').filter(|word| word.starts_with("--")) {
                    assert!(
                        help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                        "{flag}"
                    );
                }
            }
        }
    }
    names.sort();
    assert_eq!(names, ["public", "tunnel"]);
    assert_eq!(commands, 3);
}

//! The source keeps its shape: layers import downwards, operations not each other, and files stay small.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A file past this is asking to be two; tests at its bottom do not count.
const MAX_LINES: usize = 500;

/// Lowest first; modules of one row may not import each other unless [`TOGETHER`] says so.
const LAYERS: [&[&str]; 9] = [
    &["error", "clock", "progress", "context"],
    &["model"],
    &["store"],
    &["catalog"],
    &["data"],
    &["exports"],
    &["hot"],
    &["scan"],
    &[
        "archive",
        "compact",
        "history",
        "inspect",
        "lifecycle",
        "publish",
        "query",
        "rebuild",
        "rehydrate",
        "restore",
        "simulate",
        "status",
        "vacuum",
        "vault",
        "verify",
    ],
];

/// Imports between neighbours or upwards that are meant, with the reason.
const TOGETHER: [(&str, &str); 2] = [
    // The wish to stop is an error kind.
    ("progress", "error"),
    // The context is the bundle of what every operation needs: it names the layers below the operations that it carries.
    ("context", "*"),
];

fn files() -> BTreeMap<PathBuf, String> {
    fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(SRC).unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    collect(Path::new(SRC), &mut all);
    assert!(all.len() > 50, "only {} files found", all.len());
    all
}

/// The top-level module a file belongs to.
fn module(file: &Path) -> String {
    let first = file.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without its unit tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// Lines of code that are no comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(code(text).lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|row| row.contains(&module)).unwrap_or_else(|| match module {
        "cli" | "main" | "lib" => LAYERS.len(),
        _ => panic!("src/{module} has no layer: name it in tests/tidy.rs"),
    })
}

/// Modules named after `crate::` anywhere in a file, in `use` lines or in full paths.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for rest in line.split("crate::").skip(1) {
            let names = rest.strip_prefix('{').map_or(rest, |group| group.split('}').next().unwrap_or(group));
            for name in if names.len() < rest.len() { names.split(", ").collect() } else { vec![rest] } {
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
                found.push((number, name[..end].to_owned()));
            }
        }
    }
    found
}

#[test]
fn lower_layers_never_import_higher_ones_and_operations_never_each_other() {
    let mut broken = Vec::new();
    for (file, text) in files() {
        let from = module(&file);
        if matches!(from.as_str(), "cli" | "main" | "lib") {
            continue;
        }
        for (line, to) in imports(&text) {
            let is_meant =
                TOGETHER.iter().any(|(a, b)| *a == from && (*b == to || *b == "*" && layer(&to) < LAYERS.len() - 1));
            if from != to && layer(&to) >= layer(&from) && !is_meant {
                broken.push(format!("src/{}:{line}: {from} imports {to}", file.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// Where `needles` may stand in code; anywhere else is a mistake.
fn only_in(allowed: &[&str], needles: &[&str]) {
    let mut broken = Vec::new();
    for (file, text) in files() {
        if allowed.contains(&module(&file).as_str()) {
            continue;
        }
        for (line, code) in code_lines(&text) {
            broken.extend(
                needles
                    .iter()
                    .filter(|needle| code.contains(**needle))
                    .map(|needle| format!("src/{}:{line}: {needle} belongs in {allowed:?}", file.display())),
            );
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn only_the_command_line_talks_to_people() {
    only_in(
        &["cli"],
        &["clap::", "indicatif::", "anstream::", "comfy_table::", "rustyline::", "println!", "print!(", "dbg!"],
    );
}

#[test]
fn only_the_store_talks_to_clouds() {
    only_in(&["store"], &["aws_config", "aws_credential_types", "aws_smithy", "aws_sdk", "AmazonS3"]);
}

#[test]
fn only_the_hot_tier_talks_to_cassandra() {
    only_in(&["hot"], &["scylla::"]);
}

#[test]
fn only_the_clock_asks_for_time_and_randomness() {
    only_in(&["clock"], &["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "new_v4", "rand::"]);
}

#[test]
fn files_are_small_documented_and_finished() {
    let mut broken = Vec::new();
    for (file, text) in files() {
        let name = file.display();
        let lines = code(&text).lines().count();
        if lines > MAX_LINES {
            broken.push(format!("src/{name} has {lines} lines"));
        }
        if !text.starts_with("//!") && name.to_string() != "main.rs" {
            broken.push(format!("src/{name} does not begin with what it is for"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            let unfinished = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];
            broken.extend(
                unfinished
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("src/{name}:{number}: {word}")),
            );
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn no_module_is_named_for_leftovers() {
    let vague = ["util", "utils", "helper", "helpers", "common", "misc"];
    let named: Vec<_> =
        files().into_keys().filter(|file| vague.contains(&file.file_stem().unwrap().to_str().unwrap())).collect();
    assert_eq!(named, Vec::<PathBuf>::new());
}

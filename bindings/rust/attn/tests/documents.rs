// SPDX-License-Identifier: BSD-3-Clause
//! The README's program, put together and installed as is printed there, prints what is printed there; the examples run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The first block of the README's that begins so.
fn block(language: &str) -> String {
    let readme = fs::read_to_string(here().join("README.md")).unwrap();
    let begin = format!("```{language}\n");
    let (_, rest) = readme.split_once(&begin).expect(language);
    rest.split_once("```").unwrap().0.to_string()
}

/// What a command prints. It succeeds.
fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{command:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

fn cargo(directory: &Path) -> Command {
    let mut cargo = Command::new(env::var("CARGO").unwrap());
    cargo
        .current_dir(directory)
        .env("CARGO_NET_OFFLINE", "true");
    cargo
}

#[test]
fn readme_installs_and_runs_as_printed() {
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    let _ = fs::remove_dir_all(&project);
    fs::create_dir_all(project.join("src")).unwrap();
    let manifest =
        "[package]\nname = \"readme\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(project.join("Cargo.toml"), manifest).unwrap();
    fs::write(project.join("src/main.rs"), block("rust")).unwrap();
    let root = fs::canonicalize(here().join("../..")).unwrap();
    let install = block("sh")
        .trim()
        .replace("libattn/bindings", &format!("{}/bindings", root.display()));
    let mut words = install.split_whitespace();
    assert_eq!(words.next(), Some("cargo"));
    run(cargo(&project).args(words));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("target");
    let said = run(cargo(&project)
        .args(["run", "--quiet"])
        .env("CARGO_TARGET_DIR", target));
    assert_eq!(said, block("text"));
}

#[test]
fn examples_run() {
    // Built beside this program, which cargo does before it runs tests.
    let programs = env::current_exe().unwrap();
    let programs = programs.parent().unwrap().join("../examples");
    for (example, says) in [
        ("sentence", "cat  0.009  0.475"),
        ("decoder_step", "as without a memory: true"),
        ("layer", "step 500: mean square error 0.0"),
    ] {
        let said = run(&mut Command::new(programs.join(example)));
        assert!(said.contains(says), "{example}: {said}");
    }
}

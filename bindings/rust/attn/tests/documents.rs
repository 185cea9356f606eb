// SPDX-License-Identifier: BSD-3-Clause
//! The README's programs, put together and installed as is printed there, print what is printed there; the examples run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The blocks of the README's that begin so.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(here().join("README.md")).unwrap();
    let begin = format!("```{language}\n");
    let parts = readme.split(&begin).skip(1);
    parts
        .map(|part| part.split_once("```").unwrap().0.to_string())
        .collect()
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
    let root = fs::canonicalize(here().join("../..")).unwrap();
    let install = blocks("sh")[0]
        .trim()
        .replace("libattn/bindings", &format!("{}/bindings", root.display()));
    let mut words = install.split_whitespace();
    assert_eq!(words.next(), Some("cargo"));
    let (programs, wanted) = (blocks("rust"), blocks("text"));
    assert_eq!((programs.len(), wanted.len()), (2, 2));
    fs::write(project.join("src/main.rs"), &programs[0]).unwrap(); // cargo wants one to add to
    run(cargo(&project).args(words));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("target");
    for (program, wanted) in programs.iter().zip(wanted) {
        fs::write(project.join("src/main.rs"), program).unwrap();
        let said = run(cargo(&project)
            .args(["run", "--quiet"])
            .env("CARGO_TARGET_DIR", &target));
        assert_eq!(said, wanted);
    }
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

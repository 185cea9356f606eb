// SPDX-License-Identifier: BSD-3-Clause
//! Finds libattn: in the directory that ATTN_LIB_DIR names, or by pkg-config. Where that is no directory of the
//! system's, its library is linked from a link in cargo's own output, whose directories cargo tells to the dynamic
//! linker: what it runs and tests finds the library too.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

const SHARED: [&str; 2] = ["libattn.so", "libattn.so.0"];

fn by_pkg_config() -> Result<Vec<String>, String> {
    let command = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let done = Command::new(&command)
        .args(["--libs-only-L", "attn"])
        .output()
        .map_err(|why| format!("{command} does not run: {why}"))?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).trim().to_string());
    }
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    Ok(said
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix("-L").map(String::from))
        .collect())
}

/// Links to the libraries of a directory, in the output; cargo warns of one that has none.
fn link_from(directory: &Path, out: &Path) -> Result<(), String> {
    for name in SHARED {
        let (library, link) = (directory.join(name), out.join(name));
        let library =
            fs::canonicalize(&library).map_err(|why| format!("{}: {why}", library.display()))?;
        let _ = fs::remove_file(&link);
        #[cfg(unix)]
        std::os::unix::fs::symlink(&library, &link).map_err(|why| why.to_string())?;
        #[cfg(not(unix))]
        fs::copy(&library, &link).map_err(|why| why.to_string())?;
    }
    Ok(())
}

fn main() {
    for variable in ["ATTN_LIB_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-lib=attn");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let found = match env::var("ATTN_LIB_DIR") {
        Ok(directory) if !directory.is_empty() => Ok(vec![directory]),
        _ => by_pkg_config(),
    };
    let linked = found.and_then(|directories| {
        for directory in &directories {
            link_from(Path::new(directory), Path::new(&out))?;
            println!("cargo:rerun-if-changed={directory}/{}", SHARED[0]);
            println!("cargo:rustc-link-search=native={out}");
            println!("cargo:directory={out}");
        }
        Ok(())
    });
    if let Err(why) = linked {
        eprintln!(
            "libattn was not found: install it, or name the directory that has {} in ATTN_LIB_DIR ({why})",
            SHARED.join(" and ")
        );
        std::process::exit(1);
    }
}

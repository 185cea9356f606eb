// SPDX-License-Identifier: BSD-3-Clause
//! Tells the dynamic linker where the library is, for the examples in this crate's documentation: cargo does so for all
//! that it runs but these.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LD_LIBRARY_PATH");
    // What attn-sys says of itself; nothing, where the library is among the system's.
    if let Ok(directory) = env::var("DEP_ATTN_DIRECTORY") {
        let others = env::var("LD_LIBRARY_PATH").unwrap_or_default();
        let colon = if others.is_empty() { "" } else { ":" };
        println!("cargo:rustc-env=LD_LIBRARY_PATH={directory}{colon}{others}");
    }
}

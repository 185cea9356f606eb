// SPDX-License-Identifier: BSD-3-Clause
//! `cargo run -p attn-generate`: writes attn-sys/src/generated.rs anew, from the header of this source tree.

use std::path::Path;
use std::{fs, process};

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = here.join("../../../include/attn/attn.h");
    let made = fs::read_to_string(&header)
        .map_err(|why| format!("{}: {why}", header.display()))
        .and_then(|text| attn_generate::generate(&text))
        .and_then(|rust| {
            fs::write(here.join("../attn-sys/src/generated.rs"), rust)
                .map_err(|why| why.to_string())
        });
    if let Err(why) = made {
        eprintln!("{why}");
        process::exit(1);
    }
}

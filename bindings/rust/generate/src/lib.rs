// SPDX-License-Identifier: BSD-3-Clause
//! Makes the declarations of attn-sys from `attn.h`. It knows the C that this header is written in, which its own rules
//! keep plain (fixed-width integers, pointers, structs that are never passed by value), and refuses what it does not
//! know: [`header`] reads, [`write`] writes.

mod header;
mod words;
mod write;

pub use header::{Header, Item, Member};

/// The Rust declarations of what is in the text of the header.
///
/// # Errors
///
/// A sentence, where the header has something that this program does not know.
pub fn generate(text: &str) -> Result<String, String> {
    Ok(write::rust(&header::read(text)?))
}

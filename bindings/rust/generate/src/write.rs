// SPDX-License-Identifier: BSD-3-Clause
//! Writes declarations as Rust, with the header's comments, and tables of all constants and structs for a test to hold
//! against the library.

use crate::header::{Header, Item, Member};
use std::fmt::Write;

const TOP: &str = "\
// SPDX-License-Identifier: BSD-3-Clause
// Made from include/attn/attn.h by `cargo run -p attn-generate`; not to be edited.

use std::os::raw::{c_char, c_void};
";

/// What cannot be made, moved or shared but by the library: threads are the caller's business.
const HANDLE: &str = "\
#[repr(C)]
pub struct NAME {
    hidden: [u8; 0],
    marker: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}";

/// Comments as documentation: as they stand, for they are laid out as plain text.
fn document(out: &mut String, indent: &str, comments: &[String]) {
    if comments.is_empty() {
        return;
    }
    if let [line] = comments {
        // What is one line of words alone is no layout.
        if !line.contains(['\n', '[', '<', '*']) {
            writeln!(out, "{indent}/// {line}").unwrap();
            return;
        }
    }
    writeln!(out, "{indent}/// ```text").unwrap();
    for (i, comment) in comments.iter().enumerate() {
        if i > 0 {
            writeln!(out, "{indent}///").unwrap();
        }
        for line in comment.lines() {
            writeln!(out, "{}", format!("{indent}/// {line}").trim_end()).unwrap();
        }
    }
    writeln!(out, "{indent}/// ```").unwrap();
}

fn write_struct(out: &mut String, name: &str, members: &[Member]) {
    writeln!(
        out,
        "#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {name} {{"
    )
    .unwrap();
    for member in members {
        document(out, "    ", &member.comment);
        writeln!(out, "    pub {}: {},", member.name, member.rust_type).unwrap();
    }
    out.push_str("}\n\n");
    let sized = members.first().map_or(false, |m| m.name == "struct_size");
    let zero = "unsafe { std::mem::zeroed() }"; // integers, floats and pointers that may be null
    let body = if sized {
        writeln!(out, "/// Zeros, which are the defaults, and the size.").unwrap();
        format!("Self {{ struct_size: std::mem::size_of::<Self>() as u32, ..{zero} }}")
    } else {
        writeln!(out, "/// Zeros.").unwrap();
        zero.to_string()
    };
    writeln!(
        out,
        "impl Default for {name} {{\n    fn default() -> Self {{\n        {body}\n    }}\n}}"
    )
    .unwrap();
}

fn write_function(out: &mut String, name: &str, arguments: &[Member], returns: &Option<String>) {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|a| format!("{}: {}", a.name, a.rust_type))
        .collect();
    let returns = returns
        .as_ref()
        .map_or(String::new(), |r| format!(" -> {r}"));
    let line = format!("    pub fn {name}({}){returns};", arguments.join(", "));
    if line.len() <= 100 {
        writeln!(out, "{line}").unwrap();
    } else {
        let arguments = arguments.join(",\n        ");
        writeln!(
            out,
            "    pub fn {name}(\n        {arguments},\n    ){returns};"
        )
        .unwrap();
    }
}

/// The header in Rust.
pub fn rust(header: &Header) -> String {
    let mut out = String::from(TOP);
    let mut functions = String::new();
    let (mut constants, mut sizes) = (String::new(), String::new());
    for (comment, item) in &header.items {
        if let Item::Function {
            name,
            arguments,
            returns,
        } = item
        {
            if !functions.is_empty() {
                functions.push('\n');
            }
            document(&mut functions, "    ", comment);
            write_function(&mut functions, name, arguments, returns);
            continue;
        }
        out.push('\n');
        document(&mut out, "", comment);
        match item {
            Item::Constant {
                name,
                rust_type,
                value,
            } => {
                writeln!(out, "pub const {name}: {rust_type} = {value};").unwrap();
                writeln!(constants, "    (\"{name}\", {value}),").unwrap();
            }
            Item::Alias { name, rust_type } => {
                writeln!(out, "pub type {name} = {rust_type};").unwrap();
            }
            Item::Handle { name } => {
                writeln!(out, "{}", HANDLE.replace("NAME", name)).unwrap();
            }
            Item::Struct { name, members } => {
                write_struct(&mut out, name, members);
                writeln!(
                    sizes,
                    "    (\"sizeof {name}\", std::mem::size_of::<{name}>()),"
                )
                .unwrap();
            }
            Item::Function { .. } => unreachable!("these are gathered"),
        }
    }
    write!(
        out,
        "\nextern \"C\" {{\n{functions}}}\n\n\
         /// Every constant by its name, for `attn_constant` to agree with.\n\
         pub static CONSTANTS: &[(&str, i64)] = &[\n{constants}];\n\n\
         /// Every struct's size by the name that `attn_constant` has for it.\n\
         pub static SIZES: &[(&str, usize)] = &[\n{sizes}];\n"
    )
    .unwrap();
    out
}

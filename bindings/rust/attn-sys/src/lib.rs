// SPDX-License-Identifier: BSD-3-Clause
//! The declarations of libattn's C header, `attn.h`, as Rust has them: functions, structs, constants, under their own
//! names and with the header's own comments, which are the reference. The crate `attn` makes them safe; programs want
//! that one.
//!
//! The library that is linked is the one in the directory that the environment variable `ATTN_LIB_DIR` names while this
//! is built, otherwise the one that pkg-config knows as `attn`.
//!
//! Every struct that has a size in its first member has it from `Default`, as from the header's `_INIT` macros.
#![allow(non_camel_case_types)]

#[rustfmt::skip]
mod generated;

pub use generated::*;

// SPDX-License-Identifier: BSD-3-Clause
//! The library that is linked is the one that the declarations are of.

use attn_sys::*;
use std::ffi::{CStr, CString};

fn constant(name: &str) -> Option<i64> {
    let (name, mut value) = (CString::new(name).unwrap(), 0);
    let status = unsafe { attn_constant(name.as_ptr(), &mut value) };
    (status == ATTN_OK).then_some(value)
}

#[test]
fn binary_interface_is_this_one() {
    assert_eq!(unsafe { attn_abi_version() }, ATTN_ABI_VERSION);
    let version = unsafe { CStr::from_ptr(attn_version()) };
    let header = [ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR, ATTN_VERSION_PATCH];
    let header: Vec<String> = header.iter().map(i32::to_string).collect();
    assert_eq!(version.to_str().unwrap(), header.join("."));
    assert_eq!(env!("CARGO_PKG_VERSION"), header.join("."));
}

#[test]
fn structs_have_the_sizes_that_the_library_knows() {
    assert!(SIZES.len() >= 12);
    for &(name, size) in SIZES {
        assert_eq!(constant(name), Some(size as i64), "{name}");
    }
}

#[test]
fn constants_are_those_of_the_library() {
    assert!(CONSTANTS.len() >= 50);
    for &(name, value) in CONSTANTS {
        // Macros are the preprocessor's alone.
        if !name.starts_with("ATTN_VERSION_") {
            assert_eq!(constant(name), Some(value), "{name}");
        }
    }
}

#[test]
fn defaults_have_their_size() {
    assert_eq!(
        attn_forward_args::default().struct_size as usize,
        std::mem::size_of::<attn_forward_args>()
    );
    assert!(attn_forward_args::default().query.is_null());
}

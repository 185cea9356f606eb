// SPDX-License-Identifier: BSD-3-Clause
//! What is committed is what the header makes; and what the generator does not know it refuses.

use attn_generate::generate;

const HEADER: &str = include_str!("../../../../include/attn/attn.h");
const COMMITTED: &str = include_str!("../../attn-sys/src/generated.rs");

#[test]
fn generated_declarations_are_those_of_the_header() {
    let made = generate(HEADER).unwrap();
    let pairs = made.lines().zip(COMMITTED.lines());
    for (number, (made, committed)) in pairs.enumerate() {
        assert_eq!(
            made,
            committed,
            "generated.rs, line {}: run cargo run -p attn-generate",
            number + 1
        );
    }
    assert_eq!(
        made.len(),
        COMMITTED.len(),
        "run cargo run -p attn-generate"
    );
}

#[test]
fn a_changed_header_makes_other_declarations() {
    for (old, new) in [
        ("ATTN_ERR_SHAPE = 20", "ATTN_ERR_SHAPE = 21"),
        ("double dropout;", "double dropout;\n    int32_t another;"),
        (
            "attn_status attn_rope(attn_engine *engine",
            "attn_status attn_rope(const attn_engine *engine",
        ),
    ] {
        assert!(HEADER.contains(old), "{old}");
        assert_ne!(generate(&HEADER.replacen(old, new, 1)).unwrap(), COMMITTED);
    }
}

#[test]
fn what_is_unknown_is_refused() {
    for text in [
        "typedef long attn_number;",
        "typedef struct attn_a { float x; } attn_a;",
        "attn_status attn_f(int32_t x",
        "#define ATTN_SQUARE(x) ((x) * (x))",
        "enum { ATTN_A = 1 << 3 };",
        "typedef struct attn_a { uint32_t struct_size; int32_t x; } attn_a;\n#define ATTN_A_INIT {(uint32_t)sizeof(attn_a), 7}",
    ] {
        assert!(generate(text).is_err(), "{text}");
    }
}

// SPDX-License-Identifier: BSD-3-Clause
//! The types of elements, and which of them are computed with.

use attn_sys as sys;

mod sealed {
    pub trait Sealed {}
}

/// A type that tensors have: `f32`, `f64`, `bool` for masks, `i32` and `i64` for lengths and positions.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    #[doc(hidden)]
    const DTYPE: i32;
    #[doc(hidden)]
    const NAME: &'static str;
}

/// A type that is computed with: `f32` or `f64`.
pub trait Float: Element {}

macro_rules! elements {
    ($($element:ty: $dtype:ident),*) => {$(
        impl sealed::Sealed for $element {}
        impl Element for $element {
            const DTYPE: i32 = sys::$dtype;
            const NAME: &'static str = stringify!($element);
        }
    )*};
}

elements!(f32: ATTN_F32, f64: ATTN_F64, bool: ATTN_BOOL, i32: ATTN_I32, i64: ATTN_I64);

impl Float for f32 {}
impl Float for f64 {}

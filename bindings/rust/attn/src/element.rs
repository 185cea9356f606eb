// SPDX-License-Identifier: BSD-3-Clause
//! The types of elements, and which of them are computed with.

use crate::half::{Bf16, F16};
use attn_sys as sys;

mod sealed {
    pub trait Sealed {}
}

/// A type that tensors have: those of [`Float`], `bool` for masks, `i32` and `i64` for lengths and positions.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    #[doc(hidden)]
    const DTYPE: i32;
    #[doc(hidden)]
    const NAME: &'static str;
}

/// A type that is computed with: `f32`, `f64`; [`F16`] and [`Bf16`], which are computed with in `f32`, exactly as they are,
/// every result being rounded once.
pub trait Float: Stored {
    /// The type of what stands beside queries, keys, values, bias, context and their gradients: weights, scores, log-sum-exp,
    /// stats, slopes, tables, and a mechanism's parameters. `f32` where those have 16 bits, else the same.
    type Wide: Float<Wide = Self::Wide>;
}

/// A type that keys and values are kept in, by a [`Memory`](crate::Memory) for one: one that is computed with, or `i8`.
pub trait Stored: Element {}

macro_rules! elements {
    ($($element:ty: $dtype:ident),*) => {$(
        impl sealed::Sealed for $element {}
        impl Element for $element {
            const DTYPE: i32 = sys::$dtype;
            const NAME: &'static str = stringify!($element);
        }
    )*};
}

macro_rules! floats {
    ($($float:ty: $wide:ty),*) => {$(
        impl Stored for $float {}
        impl Float for $float {
            type Wide = $wide;
        }
    )*};
}

elements!(f32: ATTN_F32, f64: ATTN_F64, F16: ATTN_F16, Bf16: ATTN_BF16, i8: ATTN_I8);
elements!(bool: ATTN_BOOL, i32: ATTN_I32, i64: ATTN_I64);
floats!(f32: f32, f64: f64, F16: f32, Bf16: f32);
impl Stored for i8 {}

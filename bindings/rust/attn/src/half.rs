// SPDX-License-Identifier: BSD-3-Clause
//! Numbers of 16 bits, which Rust has no types for.

use std::cmp::Ordering;
use std::fmt;

/// The bits without the last `dropped` of them, 1 to 24, rounded to the nearest, of two to the even one.
fn rounded(bits: u32, dropped: u32) -> u32 {
    (bits + (1 << (dropped - 1)) - 1 + (bits >> dropped & 1)) >> dropped
}

fn to_f16(number: f32) -> u16 {
    let bits = number.to_bits();
    let size = bits & 0x7fff_ffff;
    let narrow = match size {
        0..=0x387f_ffff => match 126 - (size >> 23) {
            // Below 2^-14: a multiple of 2^-24.
            dropped @ 0..=24 => rounded(size & 0x7f_ffff | 0x80_0000, dropped),
            _ => 0,
        },
        0x3880_0000..=0x477f_ffff => rounded(size - (112 << 23), 13),
        0x4780_0000..=0x7f80_0000 => 0x7c00, // infinity
        _ => 0x7e00 | size >> 13 & 0x3ff,
    };
    (bits >> 16 & 0x8000 | narrow) as u16
}

fn from_f16(bits: u16) -> f32 {
    let (sign, size) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let wide = match size {
        0..=0x3ff => (size as f32 / 16_777_216.0).to_bits(), // 2^24
        0x400..=0x7bff => (size << 13) + (112 << 23),
        0x7c00 => f32::INFINITY.to_bits(),
        _ => 0x7fc0_0000 | (size & 0x3ff) << 13,
    };
    f32::from_bits(sign | wide)
}

fn to_bf16(number: f32) -> u16 {
    let bits = number.to_bits();
    if number.is_nan() {
        return (bits >> 16 | 0x40) as u16;
    }
    rounded(bits, 16) as u16
}

fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

macro_rules! half {
    ($(#[$what:meta])* $name:ident, $to:ident, $from:ident) => {
        $(#[$what])*
        ///
        /// It is kept and passed on, and computed with as what it is in `f32`: there is no arithmetic. A slice of its bits, such
        /// as other crates have for types of their own, is one of it by another name, without a copy:
        ///
        /// ```
        #[doc = concat!("use attn::", stringify!($name), ";")]
        /// let bits = [0u16, 0x3c00, 0x3f80];
        #[doc = concat!("let numbers: &[", stringify!($name), "] = ", stringify!($name), "::slice_of_bits(&bits);")]
        /// assert_eq!(numbers[0].to_f32(), 0.0);
        #[doc = concat!("assert_eq!(", stringify!($name), "::bits_of_slice(numbers), bits);")]
        /// ```
        #[repr(transparent)]
        #[derive(Clone, Copy, Default)]
        pub struct $name(u16);

        impl $name {
            /// Rounded to the nearest, of two to the even one; to infinity, where it is too large.
            #[inline]
            pub fn from_f32(number: f32) -> Self {
                Self($to(number))
            }

            /// Exactly.
            #[inline]
            pub fn to_f32(self) -> f32 {
                $from(self.0)
            }

            /// What these bits say.
            #[inline]
            pub const fn from_bits(bits: u16) -> Self {
                Self(bits)
            }

            /// Its bits.
            #[inline]
            pub const fn to_bits(self) -> u16 {
                self.0
            }

            /// A slice of bits, as the numbers that they say.
            #[inline]
            pub fn slice_of_bits(bits: &[u16]) -> &[Self] {
                // SAFETY: it is one u16, transparently, and any bits say a number; here and below.
                unsafe { std::slice::from_raw_parts(bits.as_ptr() as *const Self, bits.len()) }
            }

            /// The same to be written.
            #[inline]
            pub fn slice_of_bits_mut(bits: &mut [u16]) -> &mut [Self] {
                unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr() as *mut Self, bits.len()) }
            }

            /// A slice of numbers, as their bits.
            #[inline]
            pub fn bits_of_slice(numbers: &[Self]) -> &[u16] {
                unsafe { std::slice::from_raw_parts(numbers.as_ptr() as *const u16, numbers.len()) }
            }

            /// The same to be written.
            #[inline]
            pub fn bits_of_slice_mut(numbers: &mut [Self]) -> &mut [u16] {
                unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr() as *mut u16, numbers.len()) }
            }
        }

        impl From<$name> for f32 {
            #[inline]
            fn from(number: $name) -> f32 {
                number.to_f32()
            }
        }

        impl From<$name> for f64 {
            #[inline]
            fn from(number: $name) -> f64 {
                f64::from(number.to_f32())
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_f32(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.to_f32(), f)
            }
        }
    };
}

half! {
    /// IEEE binary16: 11 significant bits, up to 65504.
    F16, to_f16, from_f16
}

half! {
    /// bfloat16: the first half of an `f32`, 8 significant bits and its range.
    Bf16, to_bf16, from_bf16
}

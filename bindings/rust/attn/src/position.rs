// SPDX-License-Identifier: BSD-3-Clause
//! What tells a model where a token stands: rotary positions, sinusoids, ALiBi's slopes.

use crate::element::Float;
use crate::engine::Engine;
use crate::error::{check, Result};
use crate::layout::size;
use crate::tensor::{Indices, Tensor, TensorMut};
use attn_sys as sys;
use std::ptr;

/// Which elements of a row of n make pair i, i < n / 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// (2i, 2i + 1): the paper's; GPT-J, Llama's own code.
    Interleaved,
    /// (i, i + n/2): GPT-NeoX, Llama's weights as transformers has them.
    Halves,
}

/// Rotary positions (Su 2021): pair i of the row at position p is turned by the angle p base^(-2i/n).
///
/// ```
/// let rope = attn::Rope { base: 500000.0, ..attn::Rope::new(attn::RopeLayout::Halves) };
/// # let _ = rope;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Which elements are turned together.
    pub layout: RopeLayout,
    /// n, even: that many of each row are turned, the first ones. 0: all.
    pub dimensions: usize,
    /// From 1e-100 to 1e100.
    pub base: f64,
}

impl Rope {
    /// All dimensions, to the base 10000.
    pub fn new(layout: RopeLayout) -> Self {
        let (dimensions, base) = (0, 10000.0);
        Self {
            layout,
            dimensions,
            base,
        }
    }

    pub(crate) fn options(&self) -> sys::attn_rope_options {
        sys::attn_rope_options {
            layout: match self.layout {
                RopeLayout::Interleaved => sys::ATTN_ROPE_INTERLEAVED,
                RopeLayout::Halves => sys::ATTN_ROPE_HALVES,
            },
            dimensions: size(self.dimensions),
            base: self.base,
            ..Default::default()
        }
    }
}

/// Where rows stand that are to be turned.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    first: i64,
    given: Option<Indices<'a>>,
    inverse: bool,
}

impl<'a> Positions<'a> {
    /// Row t is at first + t.
    pub fn from(first: i64) -> Self {
        let (given, inverse) = (None, false);
        Self {
            first,
            given,
            inverse,
        }
    }

    /// Each row is where this says, [B, T], or \[T\] for all sequences.
    pub fn given(positions: impl Into<Indices<'a>>) -> Self {
        Self {
            first: 0,
            given: Some(positions.into()),
            inverse: false,
        }
    }

    /// Turns back, by the negative angles: what the gradient needs.
    pub fn inverse(mut self) -> Self {
        self.inverse = true;
        self
    }
}

impl Engine {
    /// Writes to `to` the rows of `from` [B, H, T, D], each turned by its position. The gradient by `from` is that by `to`,
    /// turned back ([`Positions::inverse`]).
    ///
    /// # Errors
    ///
    /// `Argument`: an option or a position out of range. `Shape`, `Overlap`, `Overflow`, `OutOfMemory`.
    pub fn rope<T: Float>(
        &self,
        rope: Rope,
        positions: Positions<'_>,
        from: Tensor<'_, T>,
        to: TensorMut<'_, T>,
    ) -> Result<()> {
        self.turn(rope, positions, &from.raw, &to.raw)
    }

    /// Turns the rows of a tensor where they are.
    ///
    /// # Errors
    ///
    /// As [`rope`](Self::rope).
    pub fn rope_in_place<T: Float>(
        &self,
        rope: Rope,
        positions: Positions<'_>,
        rows: TensorMut<'_, T>,
    ) -> Result<()> {
        self.turn(rope, positions, &rows.raw, &rows.raw)
    }

    fn turn(
        &self,
        rope: Rope,
        positions: Positions<'_>,
        from: &sys::attn_tensor,
        to: &sys::attn_tensor,
    ) -> Result<()> {
        let options = sys::attn_rope_options {
            first: positions.first,
            inverse: i32::from(positions.inverse),
            positions: positions.given.as_ref().map_or(ptr::null(), |p| &p.raw),
            ..rope.options()
        };
        // SAFETY: tensors are views of slices that are borrowed for the call, `to` mutably.
        check(unsafe { sys::attn_rope(self.raw(), &options, from, to) })
    }
}

/// Fills table [T, D] with the sinusoids of positions first to first + T - 1 (Vaswani 2017, section 3.5); base is 10000 in
/// the paper.
///
/// # Errors
///
/// `Argument`: a base or a position out of range. `Shape`, `Overlap`, `Overflow`.
pub fn sinusoidal<T: Float>(table: TensorMut<'_, T>, first: i64, base: f64) -> Result<()> {
    // SAFETY: the table is a view of a slice that is borrowed mutably for the call.
    check(unsafe { sys::attn_position_sinusoidal(&table.raw, first, base) })
}

/// Fills slopes \[H\] for [`Mechanism::set_alibi`](crate::Mechanism::set_alibi) (Press 2022).
///
/// # Errors
///
/// `Shape`, `Overflow`.
pub fn alibi_slopes<T: Float>(slopes: &mut [T]) -> Result<()> {
    let heads = slopes.len();
    let slopes = TensorMut::new(slopes, &[heads])?;
    // SAFETY: as above.
    check(unsafe { sys::attn_position_alibi_slopes(&slopes.raw) })
}

// SPDX-License-Identifier: BSD-3-Clause
//! Keys and values that are written into pages of the caller's, where their slots say.

use crate::element::Float;
use crate::engine::Engine;
use crate::error::{check, Result};
use crate::tensor::{pointer, Indices, RowsMut, Tensor, TensorMut};
use attn_sys as sys;

/// n rows of keys and of values, and the N pages that they are written to: those that
/// [`Inputs::page_table`](crate::Inputs::page_table) reads. Either of the two may be left out. `T` is what the rows are of;
/// pages of another type get them rounded.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// # use attn::*;
/// let (keys, mut pages) = ([1.0f32, 2.0, 3.0, 4.0], [0.0f32; 2 * 3 * 2]); // 2 pages of 3 positions
/// let rows = PagesAppend::new(&[4, 0]) // the second of page 1, the first of page 0
///     .key(Tensor::new(&keys, &[2, 2])?, TensorMut::new(&mut pages, &[2, 1, 3, 2])?);
/// Engine::new()?.pages_append(rows)?;
/// assert_eq!(pages, [3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct PagesAppend<'a, T: Float> {
    slots: Indices<'a>,
    key: Option<Tensor<'a, T>>,
    value: Option<Tensor<'a, T>>,
    key_pages: Option<RowsMut<'a>>,
    value_pages: Option<RowsMut<'a>>,
    key_scales: Option<TensorMut<'a, f32>>,
    value_scales: Option<TensorMut<'a, f32>>,
}

impl<'a, T: Float> PagesAppend<'a, T> {
    /// Row i goes to place slots\[i\] mod page of page slots\[i\] / page; -1: nowhere.
    pub fn new(slots: impl Into<Indices<'a>>) -> Self {
        Self {
            slots: slots.into(),
            key: None,
            value: None,
            key_pages: None,
            value_pages: None,
            key_scales: None,
            value_scales: None,
        }
    }

    /// Keys [1, Hk, n, Dk], for pages [N, Hk, page, Dk].
    pub fn key<P: Float>(mut self, key: Tensor<'a, T>, pages: TensorMut<'a, P>) -> Self {
        self.key_scales = None;
        (self.key, self.key_pages) = (Some(key), Some(pages.into()));
        self
    }

    /// Values [1, Hk, n, Dv], for pages [N, Hk, page, Dv].
    pub fn value<P: Float>(mut self, value: Tensor<'a, T>, pages: TensorMut<'a, P>) -> Self {
        self.value_scales = None;
        (self.value, self.value_pages) = (Some(value), Some(pages.into()));
        self
    }

    /// Keys, for pages of 8 bits with what each row of them is to be multiplied by [N, Hk, page]. Not of `f64`.
    pub fn quantised_key(
        mut self,
        key: Tensor<'a, T>,
        pages: TensorMut<'a, i8>,
        scales: TensorMut<'a, f32>,
    ) -> Self {
        self.key_scales = Some(scales);
        (self.key, self.key_pages) = (Some(key), Some(pages.into()));
        self
    }

    /// Values, likewise.
    pub fn quantised_value(
        mut self,
        value: Tensor<'a, T>,
        pages: TensorMut<'a, i8>,
        scales: TensorMut<'a, f32>,
    ) -> Self {
        self.value_scales = Some(scales);
        (self.value, self.value_pages) = (Some(value), Some(pages.into()));
        self
    }
}

impl Engine {
    /// Writes keys and values into pages. Places that no slot names stay as they are.
    ///
    /// # Errors
    ///
    /// `Argument`: a slot past the last page, or named twice. `Shape`, `DType`, `Overlap`, `Overflow`, `OutOfMemory`. What is
    /// refused has written nothing.
    pub fn pages_append<T: Float>(&self, rows: PagesAppend<'_, T>) -> Result<()> {
        let args = sys::attn_pages_append_args {
            slots: &rows.slots.raw,
            key: pointer(&rows.key),
            value: pointer(&rows.value),
            key_pages: pointer(&rows.key_pages),
            value_pages: pointer(&rows.value_pages),
            key_scales: pointer(&rows.key_scales),
            value_scales: pointer(&rows.value_scales),
            ..Default::default()
        };
        // SAFETY: tensors are views of slices that are borrowed for the call, those that are written mutably.
        check(unsafe { sys::attn_pages_append(self.raw(), &args) })
    }
}

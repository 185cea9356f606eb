// SPDX-License-Identifier: BSD-3-Clause
//! Where the elements of a tensor lie in a slice, and that all of them do: what lets safe code say any shape and any
//! strides.

use crate::error::{Error, Result, Status};
use attn_sys::attn_tensor;
use std::os::raw::c_void;

/// A shape with strides, at an offset into a slice. Whatever is in one of these was checked.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    ndim: usize,
    shape: [i64; 4],
    stride: [i64; 4],
    pub reach: Reach,
}

/// What a slice must have.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reach {
    /// Where element (0, 0, ..) is.
    pub offset: usize,
    /// The least length that has all the elements.
    pub least: usize,
}

/// A size for the library, which refuses what it cannot be.
pub(crate) fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The sizes of a tensor's dimensions.
pub(crate) fn shape_of(tensor: &attn_tensor) -> &[i64] {
    &tensor.shape[..tensor.ndim as usize]
}

#[cold]
fn too_large(shape: &[usize]) -> Error {
    let sentence = format!("the shape {shape:?} cannot be addressed");
    Error::new(Status::Overflow, sentence)
}

#[cold]
fn no_rank(shape: &[usize]) -> Error {
    let sentence = format!(
        "a shape has 1 to 4 dimensions, but {shape:?} has {}",
        shape.len()
    );
    Error::new(Status::Shape, sentence)
}

impl Layout {
    /// Row-major, without gaps. Small calls make a few of these each: it is one pass over a shape whose rank is usually
    /// known where this is inlined.
    #[inline(always)]
    pub fn contiguous(shape: &[usize]) -> Result<Self> {
        const MOST: usize = isize::MAX as usize;
        let ndim = shape.len();
        if ndim == 0 || ndim > 4 {
            return Err(no_rank(shape));
        }
        let (mut sizes, mut stride, mut count) = ([0; 4], [0; 4], 1usize);
        for d in (0..ndim).rev() {
            let product = count.checked_mul(shape[d]);
            if shape[d] > MOST || product.map_or(true, |product| product > MOST) {
                return Err(too_large(shape));
            }
            (sizes[d], stride[d]) = (shape[d] as i64, count as i64);
            count = product.unwrap_or(0);
        }
        Ok(Self {
            ndim,
            shape: sizes,
            stride,
            reach: Reach {
                offset: 0,
                least: count,
            },
        })
    }

    /// Element (i, j, ..) at offset + i strides[0] + j strides[1] + ..
    pub fn strided(offset: usize, shape: &[usize], strides: &[isize]) -> Result<Self> {
        if shape.len() != strides.len() {
            let sentence = format!("the shape {shape:?} has other strides, {strides:?}");
            return Err(Error::new(Status::Shape, sentence));
        }
        let mut layout = Self::of_shape(shape)?;
        // How far the elements reach from the first, back and ahead.
        let (mut back, mut ahead) = (0i128, 0i128);
        for (d, (&size, &stride)) in shape.iter().zip(strides).enumerate() {
            layout.stride[d] = stride as i64;
            let reach = (size as i128 - 1).checked_mul(stride as i128);
            let reach = reach.ok_or_else(|| too_large(shape))?;
            let to = if stride < 0 { &mut back } else { &mut ahead };
            *to = to.checked_add(reach).ok_or_else(|| too_large(shape))?;
        }
        layout.reach.offset = offset;
        if shape.contains(&0) {
            layout.reach.least = offset;
            return Ok(layout);
        }
        if offset as i128 + back < 0 {
            let sentence = format!(
                "the shape {shape:?} with strides {strides:?} reaches back before the slice from {offset}"
            );
            return Err(Error::new(Status::Shape, sentence));
        }
        layout.reach.least =
            usize::try_from(offset as i128 + ahead + 1).map_err(|_| too_large(shape))?;
        Ok(layout)
    }

    fn of_shape(shape: &[usize]) -> Result<Self> {
        if shape.is_empty() || shape.len() > 4 {
            return Err(no_rank(shape));
        }
        let (mut sizes, mut stride) = ([0; 4], [0; 4]);
        stride[..shape.len()].fill(1);
        for (to, &size) in sizes.iter_mut().zip(shape) {
            *to = i64::try_from(size).map_err(|_| too_large(shape))?;
        }
        Ok(Self {
            ndim: shape.len(),
            shape: sizes,
            stride,
            reach: Reach::default(),
        })
    }

    /// That a slice of this length has all the elements and, where no strides were asked for, nothing else.
    #[inline]
    pub fn check(&self, length: usize, exactly: bool) -> Result<()> {
        if length == self.reach.least || (length > self.reach.least && !exactly) {
            return Ok(());
        }
        Err(self.refuse(length))
    }

    #[cold]
    fn refuse(&self, length: usize) -> Error {
        let sentence = format!(
            "the slice has {length} elements, but the shape {:?} with strides {:?} needs {}",
            &self.shape[..self.ndim],
            &self.stride[..self.ndim],
            self.reach.least
        );
        Error::new(Status::Shape, sentence)
    }

    /// The library's view of a slice that begins at this address.
    ///
    /// # Safety
    ///
    /// There must be at least `least` elements.
    #[inline]
    pub unsafe fn tensor<T>(&self, data: *const T, dtype: i32) -> attn_tensor {
        attn_tensor {
            data: data.add(self.reach.offset) as *mut c_void,
            dtype,
            ndim: self.ndim as i32,
            shape: self.shape,
            stride: self.stride,
        }
    }
}

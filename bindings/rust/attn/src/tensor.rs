// SPDX-License-Identifier: BSD-3-Clause
//! Tensors: views of slices, with a shape and strides, which cannot reach past the slice.

use crate::element::{Element, Float};
use crate::error::Result;
use crate::layout::{shape_of, Layout, Reach};
use attn_sys::attn_tensor;
use std::fmt;
use std::marker::PhantomData;

/// A view of a slice that is read: 1 to 4 dimensions, and strides in elements, of any order and sign, or 0 to broadcast.
/// It is `Copy`, and as `Send` and `Sync` as the slice.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// let packed: Vec<f32> = (0..24).map(|x| x as f32).collect();             // [length 2, 3 parts, dimension 4]
/// let values = attn::Tensor::strided(&packed, 8, &[2, 4], &[12, 1])?;     // the third part of each row
/// assert!(attn::Tensor::strided(&packed, 9, &[2, 4], &[12, 1]).is_err()); // would end past the slice
/// # let _ = values; Ok(()) }
/// ```
///
/// ```compile_fail,E0597
/// let view = {
///     let numbers = vec![1.0f32; 4];
///     attn::Tensor::new(&numbers, &[4]).unwrap() // does not outlive what it views
/// };
/// # let _ = view;
/// ```
#[derive(Clone, Copy)]
pub struct Tensor<'a, T: Element> {
    pub(crate) raw: attn_tensor,
    pub(crate) reach: Reach,
    data: PhantomData<&'a [T]>,
}

// SAFETY: it is a slice that is borrowed shared, by another name.
unsafe impl<T: Element> Send for Tensor<'_, T> {}
unsafe impl<T: Element> Sync for Tensor<'_, T> {}

impl<T: Element> fmt::Debug for Tensor<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<{}>({:?})", T::NAME, shape_of(&self.raw))
    }
}

impl<'a, T: Element> Tensor<'a, T> {
    /// A view of all of a slice, row-major: its length is the product of the shape.
    ///
    /// # Errors
    ///
    /// `Shape`: there are no dimensions or more than 4, or the slice has another length. `Overflow`.
    #[inline]
    pub fn new(data: &'a [T], shape: &[usize]) -> Result<Self> {
        Self::over(data, Layout::contiguous(shape)?, true)
    }

    /// A view of some of a slice: element (i, j, ..) is `data[offset + i strides[0] + j strides[1] + ..]`.
    ///
    /// # Errors
    ///
    /// `Shape`: there are no dimensions or more than 4, not as many strides, or an element outside the slice. `Overflow`.
    pub fn strided(
        data: &'a [T],
        offset: usize,
        shape: &[usize],
        strides: &[isize],
    ) -> Result<Self> {
        Self::over(data, Layout::strided(offset, shape, strides)?, false)
    }

    #[inline]
    fn over(data: &'a [T], layout: Layout, exactly: bool) -> Result<Self> {
        layout.check(data.len(), exactly)?;
        // SAFETY: it was just checked that the elements are there.
        let raw = unsafe { layout.tensor(data.as_ptr(), T::DTYPE) };
        let (reach, data) = (layout.reach, PhantomData);
        Ok(Self { raw, reach, data })
    }

    /// The sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        shape_of(&self.raw).iter().map(|&n| n as usize).collect()
    }
}

/// A view of a slice that is written, otherwise as [`Tensor`]. Its elements must lie apart, which the library checks: an
/// output has no strides of 0.
///
/// ```compile_fail,E0502
/// # let mut numbers = vec![0.0f32; 4];
/// let a = attn::TensorMut::new(&mut numbers, &[4]).unwrap();
/// let b = attn::Tensor::new(&numbers, &[4]).unwrap(); // what is written cannot be read as well
/// # drop((a, b));
/// ```
pub struct TensorMut<'a, T: Element> {
    pub(crate) raw: attn_tensor,
    pub(crate) reach: Reach,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a slice that is borrowed mutably, by another name.
unsafe impl<T: Element> Send for TensorMut<'_, T> {}
unsafe impl<T: Element> Sync for TensorMut<'_, T> {}

impl<T: Element> fmt::Debug for TensorMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorMut<{}>({:?})", T::NAME, shape_of(&self.raw))
    }
}

impl<'a, T: Element> TensorMut<'a, T> {
    /// A view of all of a slice, as [`Tensor::new`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn new(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        Self::over(data, Layout::contiguous(shape)?, true)
    }

    /// A view of some of a slice, as [`Tensor::strided`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn strided(
        data: &'a mut [T],
        offset: usize,
        shape: &[usize],
        strides: &[isize],
    ) -> Result<Self> {
        Self::over(data, Layout::strided(offset, shape, strides)?, false)
    }

    #[inline]
    fn over(data: &'a mut [T], layout: Layout, exactly: bool) -> Result<Self> {
        layout.check(data.len(), exactly)?;
        // SAFETY: it was just checked that the elements are there.
        let raw = unsafe { layout.tensor(data.as_mut_ptr(), T::DTYPE) };
        let (reach, data) = (layout.reach, PhantomData);
        Ok(Self { raw, reach, data })
    }

    /// The sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        shape_of(&self.raw).iter().map(|&n| n as usize).collect()
    }
}

/// Lengths, counts, rows or positions: whole numbers, `i32` or `i64`, from a slice, an array, a vector, or a [`Tensor`].
#[derive(Clone, Copy)]
pub struct Indices<'a> {
    pub(crate) raw: attn_tensor,
    data: PhantomData<&'a [i64]>,
}

// SAFETY: it is a slice that is borrowed shared, by another name.
unsafe impl Send for Indices<'_> {}
unsafe impl Sync for Indices<'_> {}

impl fmt::Debug for Indices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Indices({:?})", shape_of(&self.raw))
    }
}

macro_rules! indices {
    ($($integer:ty),*) => {$(
        impl<'a> From<Tensor<'a, $integer>> for Indices<'a> {
            fn from(tensor: Tensor<'a, $integer>) -> Self {
                Self { raw: tensor.raw, data: PhantomData }
            }
        }
        impl<'a> From<&'a [$integer]> for Indices<'a> {
            fn from(slice: &'a [$integer]) -> Self {
                let raw = attn_tensor {
                    data: slice.as_ptr() as *mut _,
                    dtype: <$integer>::DTYPE,
                    ndim: 1,
                    shape: [slice.len() as i64, 0, 0, 0],
                    stride: [1, 0, 0, 0],
                };
                Self { raw, data: PhantomData }
            }
        }
        impl<'a> From<&'a Vec<$integer>> for Indices<'a> {
            fn from(vector: &'a Vec<$integer>) -> Self {
                vector.as_slice().into()
            }
        }
        impl<'a, const N: usize> From<&'a [$integer; N]> for Indices<'a> {
            fn from(array: &'a [$integer; N]) -> Self {
                array.as_slice().into()
            }
        }
    )*};
}

indices!(i32, i64);

/// A log-sum-exp that is read, from a [`Tensor`] of either type: float32 calls take it in float64 too, and their gradients
/// are then as exact as what went forward.
#[derive(Clone, Copy)]
pub struct LogSumExp<'a> {
    pub(crate) raw: attn_tensor,
    data: PhantomData<&'a [f64]>,
}

// SAFETY: it is a slice that is borrowed shared, by another name.
unsafe impl Send for LogSumExp<'_> {}
unsafe impl Sync for LogSumExp<'_> {}

impl fmt::Debug for LogSumExp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSumExp({:?})", shape_of(&self.raw))
    }
}

impl<'a, L: Float> From<Tensor<'a, L>> for LogSumExp<'a> {
    fn from(tensor: Tensor<'a, L>) -> Self {
        Self {
            raw: tensor.raw,
            data: PhantomData,
        }
    }
}

/// A log-sum-exp that is written, from a [`TensorMut`] of either type.
pub struct LogSumExpMut<'a> {
    pub(crate) raw: attn_tensor,
    pub(crate) reach: Reach,
    data: PhantomData<&'a mut [f64]>,
}

// SAFETY: it is a slice that is borrowed mutably, by another name.
unsafe impl Send for LogSumExpMut<'_> {}
unsafe impl Sync for LogSumExpMut<'_> {}

impl fmt::Debug for LogSumExpMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSumExpMut({:?})", shape_of(&self.raw))
    }
}

impl<'a, L: Float> From<TensorMut<'a, L>> for LogSumExpMut<'a> {
    fn from(tensor: TensorMut<'a, L>) -> Self {
        Self {
            raw: tensor.raw,
            reach: tensor.reach,
            data: PhantomData,
        }
    }
}

/// The library's pointer to a tensor, which is null where there is none.
#[inline]
pub(crate) fn pointer<T: Element>(tensor: &Option<Tensor<'_, T>>) -> *const attn_tensor {
    tensor.as_ref().map_or(std::ptr::null(), |t| &t.raw)
}

/// The same of a tensor that is written.
#[inline]
pub(crate) fn pointer_mut<T: Element>(tensor: &Option<TensorMut<'_, T>>) -> *const attn_tensor {
    tensor.as_ref().map_or(std::ptr::null(), |t| &t.raw)
}

/// The same of whole numbers.
#[inline]
pub(crate) fn pointer_to_indices(indices: &Option<Indices<'_>>) -> *const attn_tensor {
    indices.as_ref().map_or(std::ptr::null(), |t| &t.raw)
}

// SPDX-License-Identifier: BSD-3-Clause
//! Tensors: views of slices, with a shape and strides, which cannot reach past the slice.

use crate::element::{Element, Float, Stored};
use crate::error::Result;
use crate::layout::{shape_of, Layout, Reach};
use attn_sys::attn_tensor;
use std::fmt;
use std::marker::PhantomData;

/// What the library is told of a slice.
pub(crate) trait View {
    fn raw(&self) -> &attn_tensor;
}

/// The library's pointer to a tensor, which is null where there is none.
#[inline]
pub(crate) fn pointer(view: &Option<impl View>) -> *const attn_tensor {
    view.as_ref().map_or(std::ptr::null(), |view| view.raw())
}

/// A type of views. It may go to other threads where the slice may, being that by another name.
macro_rules! view {
    ($(#[$what:meta])* $name:ident<'a $(, $element:ident)?>: $slice:ty $(, $reach:ident)?) => {
        $(#[$what])*
        pub struct $name<'a $(, $element: Element)?> {
            pub(crate) raw: attn_tensor,
            $(pub(crate) $reach: Reach,)?
            data: PhantomData<$slice>,
        }

        impl<$($element: Element)?> View for $name<'_ $(, $element)?> {
            #[inline]
            fn raw(&self) -> &attn_tensor {
                &self.raw
            }
        }

        // SAFETY: it is a slice of elements that are Send and Sync, borrowed.
        unsafe impl<$($element: Element)?> Send for $name<'_ $(, $element)?> {}
        unsafe impl<$($element: Element)?> Sync for $name<'_ $(, $element)?> {}

        impl<$($element: Element)?> fmt::Debug for $name<'_ $(, $element)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))?;
                $(write!(f, "<{}>", $element::NAME)?;)?
                write!(f, "({:?})", shape_of(&self.raw))
            }
        }
    };
}

/// How views of slices are made.
macro_rules! over_slices {
    ($name:ident, $slice:ty, $address:ident) => {
        impl<'a, T: Element> $name<'a, T> {
            /// A view of all of a slice, row-major: its length is the product of the shape.
            ///
            /// # Errors
            ///
            /// `Shape`: there are no dimensions or more than 4, or the slice has another length. `Overflow`.
            #[inline]
            pub fn new(data: $slice, shape: &[usize]) -> Result<Self> {
                Self::over(data, Layout::contiguous(shape)?, true)
            }

            /// A view of some of a slice: element (i, j, ..) is `data[offset + i strides[0] + j strides[1] + ..]`.
            ///
            /// # Errors
            ///
            /// `Shape`: there are no dimensions or more than 4, not as many strides, or an element outside the slice.
            /// `Overflow`.
            pub fn strided(
                data: $slice,
                offset: usize,
                shape: &[usize],
                strides: &[isize],
            ) -> Result<Self> {
                Self::over(data, Layout::strided(offset, shape, strides)?, false)
            }

            #[inline]
            fn over(data: $slice, layout: Layout, exactly: bool) -> Result<Self> {
                layout.check(data.len(), exactly)?;
                // SAFETY: it was just checked that the elements are there.
                let raw = unsafe { layout.tensor(data.$address(), T::DTYPE) };
                let (reach, data) = (layout.reach, PhantomData);
                Ok(Self { raw, reach, data })
            }

            /// The sizes of its dimensions.
            pub fn shape(&self) -> Vec<usize> {
                shape_of(&self.raw).iter().map(|&n| n as usize).collect()
            }
        }
    };
}

view! {
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
    Tensor<'a, T>: &'a [T], reach
}

view! {
    /// A view of a slice that is written, otherwise as [`Tensor`]. Its elements must lie apart, which the library checks: an
    /// output has no strides of 0.
    ///
    /// ```compile_fail,E0502
    /// # let mut numbers = vec![0.0f32; 4];
    /// let a = attn::TensorMut::new(&mut numbers, &[4]).unwrap();
    /// let b = attn::Tensor::new(&numbers, &[4]).unwrap(); // what is written cannot be read as well
    /// # drop((a, b));
    /// ```
    TensorMut<'a, T>: &'a mut [T], reach
}

over_slices!(Tensor, &'a [T], as_ptr);
over_slices!(TensorMut, &'a mut [T], as_mut_ptr);

view! {
    /// Lengths, offsets, pages, counts, rows or positions: whole numbers, `i32` or `i64`, from a slice, an array, a vector, or a [`Tensor`].
    #[derive(Clone, Copy)]
    Indices<'a>: &'a [i64]
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

view! {
    /// A log-sum-exp that is read, from a [`Tensor`] of `f32` or `f64`: calls that are computed in float32 take it in float64
    /// too, and their gradients are then as exact as what went forward.
    #[derive(Clone, Copy)]
    LogSumExp<'a>: &'a [f64]
}

view! {
    /// A log-sum-exp that is written, from a [`TensorMut`] of `f32` or `f64`.
    LogSumExpMut<'a>: &'a mut [f64], reach
}

view! {
    /// A parameter that is read, in one of the types that the call may have it in.
    #[derive(Clone, Copy)]
    ParamView<'a>: &'a [u8]
}

view! {
    /// The gradient by a parameter, likewise.
    ParamViewMut<'a>: &'a mut [u8]
}

view! {
    /// Keys or values that are read: of the query's type, or integers.
    #[derive(Clone, Copy)]
    Rows<'a>: &'a [u8], reach
}

impl<'a, R: Stored> From<Tensor<'a, R>> for Rows<'a> {
    #[inline]
    fn from(tensor: Tensor<'a, R>) -> Self {
        Self {
            raw: tensor.raw,
            reach: tensor.reach,
            data: PhantomData,
        }
    }
}

view! {
    /// Pages that are written, in whatever type keys and values are kept in.
    RowsMut<'a>: &'a mut [u8]
}

impl<'a, R: Stored> From<TensorMut<'a, R>> for RowsMut<'a> {
    fn from(tensor: TensorMut<'a, R>) -> Self {
        let (raw, data) = (tensor.raw, PhantomData);
        Self { raw, data }
    }
}

/// A view from a tensor of any type that is computed with; the library takes it or says why not.
macro_rules! of_any_type {
    ($name:ident, $tensor:ident $(, $reach:ident)?) => {
        impl<'a, L: Float> From<$tensor<'a, L>> for $name<'a> {
            fn from(tensor: $tensor<'a, L>) -> Self {
                Self { raw: tensor.raw, $($reach: tensor.$reach,)? data: PhantomData }
            }
        }
    };
}

of_any_type!(LogSumExp, Tensor);
of_any_type!(LogSumExpMut, TensorMut, reach);
of_any_type!(ParamView, Tensor);
of_any_type!(ParamViewMut, TensorMut);

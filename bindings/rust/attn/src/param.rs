// SPDX-License-Identifier: BSD-3-Clause
//! Parameters: data that a handle owns or shares, so that nothing which the library has borrowed can go away, and which
//! training updates in place.

use crate::element::Float;
use crate::engine::c_string;
use crate::error::{check, Error, Result, Status};
use crate::half::{Bf16, F16};
use crate::layout::Layout;
use attn_sys as sys;
use std::ffi::CStr;
use std::fmt;
use std::os::raw::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

/// The data of a parameter, for [`Mechanism::bind`](crate::Mechanism::bind) and
/// [`MultiHead::bind`](crate::MultiHead::bind): a `Vec` of `f32`, `f64`, [`F16`] or [`Bf16`] that the handle owns from then on, and lends to
/// be updated; or an `Arc` of something with a slice, which it shares with whoever else has it. Either may be given in
/// place of a `Param`. The slice has the parameter's elements, row-major, unless [`Param::strided`] says where they are.
///
/// Nothing is borrowed: no handle has a lifetime, and none can be left with data that is gone.
///
/// ```compile_fail,E0277
/// # fn main() -> attn::Result<()> {
/// # let mut mechanism = attn::Mechanism::general(&attn::Engine::new()?, 2, 2)?;
/// let numbers = [1.0f32; 4];
/// mechanism.bind("W", &numbers[..])?; // to_vec(), or an Arc
/// # Ok(()) }
/// ```
pub struct Param {
    owner: Owner,
    kind: Kind,
    data: *mut c_void,
    length: usize,
    layout: Option<Layout>,
}

/// What is to be known of its elements.
#[derive(Clone, Copy)]
struct Kind {
    dtype: i32,
    name: &'static str,
    view: unsafe fn(&Layout, *const c_void) -> sys::attn_tensor,
}

impl Kind {
    fn of<T: Float>() -> Self {
        Self {
            dtype: T::DTYPE,
            name: T::NAME,
            view: |layout, data| unsafe { layout.tensor(data as *const T, T::DTYPE) },
        }
    }
}

trait Keep: Send + Sync {}
impl<O: Send + Sync> Keep for O {}

// SAFETY: the data is the owner's, and owners are Send and Sync; nobody writes to it but through &mut Param.
unsafe impl Send for Param {}
unsafe impl Sync for Param {}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param({} elements)", self.length)
    }
}

impl Param {
    /// Shares whatever has a slice: an `Arc<Vec<f32>>`, or a mapped file in a type of one's own. It cannot be updated.
    pub fn shared<T: Float, O: AsRef<[T]> + Send + Sync + 'static>(owner: Arc<O>) -> Self {
        // The slice is borrowed from what the Arc keeps in its place, and for as long as that is kept.
        let slice: &[T] = (*owner).as_ref();
        let (data, length) = (slice.as_ptr() as *mut c_void, slice.len());
        Self {
            owner: Owner::Shared(owner),
            kind: Kind::of::<T>(),
            data,
            length,
            layout: None,
        }
    }

    /// Says where in the slice the elements are: element (i, j, ..) at offset + i strides[0] + j strides[1] + ..
    ///
    /// # Errors
    ///
    /// `Shape`: there are no dimensions or more than 4, not as many strides, or an element outside the slice. `Overflow`.
    pub fn strided(mut self, offset: usize, shape: &[usize], strides: &[isize]) -> Result<Self> {
        let layout = Layout::strided(offset, shape, strides)?;
        layout.check(self.length, false)?;
        self.layout = Some(layout);
        Ok(self)
    }

    /// Says which shape the elements have, row-major: for a table of relative biases, of which the mechanism knows none.
    ///
    /// # Errors
    ///
    /// `Shape`: there are no dimensions or more than 4, or the slice has another length. `Overflow`.
    pub fn shaped(mut self, shape: &[usize]) -> Result<Self> {
        let layout = Layout::contiguous(shape)?;
        layout.check(self.length, true)?;
        self.layout = Some(layout);
        Ok(self)
    }

    /// The library's view, in this shape where none was said.
    pub(crate) fn tensor(&self, shape: &[usize]) -> Result<sys::attn_tensor> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                let layout = Layout::contiguous(shape)?;
                layout.check(self.length, true)?;
                layout
            }
        };
        // SAFETY: it was checked, here or when the layout was made, that the elements are there.
        Ok(unsafe { (self.kind.view)(&layout, self.data) })
    }

    /// How many elements there are.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    fn is<T: Float>(&self) -> Result<()> {
        if self.kind.dtype == T::DTYPE {
            return Ok(());
        }
        let (has, wanted) = (self.kind.name, T::NAME);
        let sentence = format!("the parameter is {has}, but {wanted} is asked for");
        Err(Error::new(Status::DType, sentence))
    }

    pub(crate) fn slice<T: Float>(&self) -> Result<&[T]> {
        self.is::<T>()?;
        // SAFETY: the owner has so many elements of this type there; who writes to them has &mut self.
        Ok(unsafe { std::slice::from_raw_parts(self.data as *const T, self.length) })
    }

    pub(crate) fn slice_mut<T: Float>(&mut self) -> Result<&mut [T]> {
        self.is::<T>()?;
        if let Owner::Shared(_) = self.owner {
            let sentence = "the parameter is shared: others may be reading it";
            return Err(Error::new(Status::Argument, sentence));
        }
        // SAFETY: it is a vector of this type that nobody else has, and is never touched as a vector again.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.data as *mut T, self.length) })
    }
}

macro_rules! params {
    ($($float:ident: $owner:ident),*) => {
        enum Owner {
            $($owner(Vec<$float>),)*
            Shared(#[allow(dead_code)] Arc<dyn Keep>), // to be dropped
        }

        /// What a parameter was bound from, given back by `unbind`.
        #[derive(Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Owned {
            $(
                #[doc = concat!("The vector of `", stringify!($float), "` that was bound, as it is now.")]
                $owner(Vec<$float>),
            )*
            /// Nothing was bound, or something shared, which the handle has let go.
            None,
        }

        impl Param {
            /// The vector, if it is one.
            pub(crate) fn take(self) -> Owned {
                match self.owner {
                    $(Owner::$owner(vector) => Owned::$owner(vector),)*
                    Owner::Shared(_) => Owned::None,
                }
            }
        }

        $(
        impl From<Vec<$float>> for Param {
            fn from(mut vector: Vec<$float>) -> Self {
                let (data, length) = (vector.as_mut_ptr() as *mut c_void, vector.len());
                let owner = Owner::$owner(vector);
                Self { owner, kind: Kind::of::<$float>(), data, length, layout: None }
            }
        }
        impl From<Arc<Vec<$float>>> for Param {
            fn from(vector: Arc<Vec<$float>>) -> Self {
                Self::shared::<$float, _>(vector)
            }
        }
        impl From<Arc<[$float]>> for Param {
            fn from(slice: Arc<[$float]>) -> Self {
                Self::shared::<$float, _>(Arc::new(slice))
            }
        }
        )*
    };
}

params!(f32: F32, f64: F64, F16: F16, Bf16: Bf16);

/// A parameter, as its handle tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamInfo {
    /// "W", "U", "v", ..
    pub name: &'static str,
    /// One or two sizes.
    pub shape: Vec<usize>,
    /// The product of the shape.
    pub elements: usize,
    /// Whether there is data for it.
    pub bound: bool,
}

/// A handle with parameters.
pub(crate) trait Parametric {
    unsafe fn count(&self, count: *mut i32) -> sys::attn_status;
    unsafe fn info(&self, index: i32, info: *mut sys::attn_param_info) -> sys::attn_status;
    unsafe fn bind(&self, name: *const c_char, tensor: *const sys::attn_tensor)
        -> sys::attn_status;
}

/// What the handle's parameters are, in the library's order.
pub(crate) fn infos(handle: &impl Parametric) -> Result<Vec<ParamInfo>> {
    let mut count = 0;
    // SAFETY: the handle is one, and what is written to is there.
    check(unsafe { handle.count(&mut count) })?;
    let mut found = Vec::with_capacity(count as usize);
    for index in 0..count {
        let mut info = sys::attn_param_info::default();
        check(unsafe { handle.info(index, &mut info) })?;
        // SAFETY: names are static strings.
        let name: &'static CStr = unsafe { CStr::from_ptr(info.name) };
        found.push(ParamInfo {
            name: name.to_str().unwrap_or(""),
            shape: info.shape[..info.ndim as usize]
                .iter()
                .map(|&n| n as usize)
                .collect(),
            elements: info.elements as usize,
            bound: info.bound != 0,
        });
    }
    Ok(found)
}

/// What is bound to a handle, by name: as long as it is here, the library may read it.
#[derive(Default)]
pub(crate) struct Bound(Vec<(&'static str, Param)>);

impl Bound {
    fn not_bound(name: &str) -> Error {
        let sentence = format!("nothing is bound to {name:?}");
        Error::new(Status::Parameter, sentence)
    }

    pub fn get(&self, name: &str) -> Result<&Param> {
        let found = self.0.iter().find(|(bound, _)| *bound == name);
        found.map(|(_, p)| p).ok_or_else(|| Self::not_bound(name))
    }

    pub fn get_mut(&mut self, name: &str) -> Result<&mut Param> {
        let found = self.0.iter_mut().find(|(bound, _)| *bound == name);
        found.map(|(_, p)| p).ok_or_else(|| Self::not_bound(name))
    }

    /// Keeps what the library has taken, in place of what it had.
    pub fn put(&mut self, name: &'static str, param: Param) {
        self.remove(name);
        self.0.push((name, param));
    }

    /// Lets go what the library has forgotten.
    pub fn remove(&mut self, name: &str) -> Option<Param> {
        let at = self.0.iter().position(|(bound, _)| *bound == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Binds, then keeps.
    ///
    /// # Safety
    ///
    /// What is kept here must not be dropped before the handle.
    pub unsafe fn bind(
        &mut self,
        handle: &impl Parametric,
        name: &str,
        param: Param,
    ) -> Result<()> {
        let found = infos(handle)?.into_iter().find(|info| info.name == name);
        let wanted = c_string(name)?;
        let info = match found {
            Some(info) => info,
            None => return check(handle.bind(wanted.as_ptr(), ptr::null())), // says that there is none
        };
        let tensor = param.tensor(&info.shape).map_err(|error| {
            let sentence = format!("parameter {name:?}: {error}");
            Error::new(error.status(), sentence)
        })?;
        check(handle.bind(wanted.as_ptr(), &tensor))?;
        self.put(info.name, param);
        Ok(())
    }

    pub fn unbind(&mut self, handle: &impl Parametric, name: &str) -> Result<Owned> {
        let wanted = c_string(name)?;
        // SAFETY: the library forgets the tensor, and then its data is let go.
        check(unsafe { handle.bind(wanted.as_ptr(), ptr::null()) })?;
        Ok(self.remove(name).map_or(Owned::None, Param::take))
    }
}

/// Makes a handle one with parameters, and lets the type that has it in `raw`, and what is bound in `bound`, bind them.
macro_rules! parametric {
    ($type:ident, $raw:ident, $count:ident, $info:ident, $bind:ident) => {
        impl crate::param::Parametric for $raw {
            unsafe fn count(&self, count: *mut i32) -> attn_sys::attn_status {
                attn_sys::$count(self.0.as_ptr(), count)
            }

            unsafe fn info(
                &self,
                index: i32,
                info: *mut attn_sys::attn_param_info,
            ) -> attn_sys::attn_status {
                attn_sys::$info(self.0.as_ptr(), index, info)
            }

            unsafe fn bind(
                &self,
                name: *const std::os::raw::c_char,
                tensor: *const attn_sys::attn_tensor,
            ) -> attn_sys::attn_status {
                attn_sys::$bind(self.0.as_ptr(), name, tensor)
            }
        }

        /// Its parameters.
        impl $type {
            /// What they are, in the library's order.
            ///
            /// # Errors
            ///
            /// None that is expected.
            pub fn params(&self) -> crate::error::Result<Vec<crate::param::ParamInfo>> {
                crate::param::infos(&self.raw)
            }

            /// Binds data to a parameter, in place of what was bound: a vector, which it owns then, or an `Arc`. It is of
            /// the type of the query that it will meet, or of [`Float::Wide`](crate::Float::Wide) where that has 16 bits.
            ///
            /// # Errors
            ///
            /// `Parameter`: no such name. `Shape`: another number of elements, or another shape. What was bound stays, then.
            pub fn bind(
                &mut self,
                name: &str,
                param: impl Into<crate::param::Param>,
            ) -> crate::error::Result<()> {
                // SAFETY: the handle is declared, and so dropped, before what is bound.
                unsafe { self.bound.bind(&self.raw, name, param.into()) }
            }

            /// Takes a parameter's data away, and gives it back if it was owned.
            ///
            /// # Errors
            ///
            /// `Parameter`: no such name.
            pub fn unbind(&mut self, name: &str) -> crate::error::Result<crate::param::Owned> {
                self.bound.unbind(&self.raw, name)
            }

            /// What is bound to a parameter: the whole of the slice, as it was given.
            ///
            /// # Errors
            ///
            /// `Parameter`: nothing is. `DType`: it is of another type.
            pub fn param<T: crate::element::Float>(
                &self,
                name: &str,
            ) -> crate::error::Result<&[T]> {
                self.bound.get(name)?.slice()
            }

            /// The same to be changed: a step of training. What a [`Memory`](crate::Memory) holds was projected with what there
            /// was then.
            ///
            /// # Errors
            ///
            /// `Parameter`: nothing is bound. `DType`: it is of another type. `Argument`: it is shared.
            pub fn param_mut<T: crate::element::Float>(
                &mut self,
                name: &str,
            ) -> crate::error::Result<&mut [T]> {
                self.bound.get_mut(name)?.slice_mut()
            }
        }
    };
}

pub(crate) use parametric;

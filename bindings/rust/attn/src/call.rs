// SPDX-License-Identifier: BSD-3-Clause
//! Calls that are laid out once and run many times, on whichever slices have that layout.

use crate::element::{Element, Float};
use crate::error::{check, Error, Result, Status};
use crate::forward::{Inputs, Outputs};
use crate::layout::Layout;
use crate::mechanism::Mechanism;
use crate::memory::Memory;
use crate::tensor::{Indices, Tensor, TensorMut};
use crate::workspace::Workspace;
use attn_sys as sys;
use std::marker::PhantomData;
use std::os::raw::c_void;
use std::ptr::{self, NonNull};

/// The slices of one run of a [`Call`], each at least as long as in the layout. Those that the layout has not stay empty:
///
/// ```
/// # let (state, mut context) = ([0.0f32; 4], [0.0f32; 4]);
/// let slices = attn::Slices { query: &state, context: &mut context, ..Default::default() };
/// # let _ = slices;
/// ```
pub struct Slices<'a, T: Float> {
    /// Read.
    pub query: &'a [T],
    /// Read.
    pub key: &'a [T],
    /// Read.
    pub value: &'a [T],
    /// Read, where the call was laid out with one.
    pub memory: Option<&'a Memory<T>>,
    /// Read.
    pub mask: &'a [bool],
    /// Read.
    pub bias: &'a [T],
    /// Read; of the length that was laid out.
    pub key_lengths: Option<Indices<'a>>,
    /// Written.
    pub context: &'a mut [T],
    /// Written.
    pub weights: &'a mut [T],
    /// Written.
    pub scores: &'a mut [T],
    /// Written.
    pub logsumexp: &'a mut [T],
}

impl<T: Float> Default for Slices<'_, T> {
    #[inline]
    fn default() -> Self {
        Self {
            query: &[],
            key: &[],
            value: &[],
            memory: None,
            mask: &[],
            bias: &[],
            key_lengths: None,
            context: &mut [],
            weights: &mut [],
            scores: &mut [],
            logsumexp: &mut [],
        }
    }
}

/// A tensor of the arguments, whose data comes with each run.
struct Place {
    tensor: sys::attn_tensor,
    offset: usize, // into the slice
    least: usize,  // elements of the slice
    there: bool,
}

impl Place {
    fn new<T: Element>(layout: Option<Layout>) -> Self {
        Self {
            tensor: layout.map_or_else(Default::default, |layout| layout.blank(T::DTYPE)),
            offset: layout.map_or(0, |layout| layout.offset),
            least: layout.map_or(0, |layout| layout.least),
            there: layout.is_some(),
        }
    }

    /// Its slice, from an address on. `name` is for a sentence.
    #[inline]
    fn put<T>(&mut self, data: *const T, length: usize, name: &str) -> Result<()> {
        if self.there && length >= self.least {
            // SAFETY: there are as many elements as the layout needs.
            self.tensor.data = unsafe { data.add(self.offset) as *mut c_void };
            return Ok(());
        }
        if !self.there && length == 0 {
            return Ok(());
        }
        Err(self.refuse(length, name))
    }

    #[cold]
    fn refuse(&self, length: usize, name: &str) -> Error {
        if !self.there {
            let sentence = format!("there is {name}, but the call was laid out without it");
            return Error::new(Status::Argument, sentence);
        }
        let sentence = format!(
            "{name} has {length} elements, but the call was laid out for {}",
            self.least
        );
        Error::new(Status::Shape, sentence)
    }

    /// The library's pointer to it.
    ///
    /// # Safety
    ///
    /// There must be one at this address.
    unsafe fn pointer(this: *const Self) -> *const sys::attn_tensor {
        if (*this).there {
            ptr::addr_of!((*this).tensor)
        } else {
            ptr::null()
        }
    }
}

/// The arguments and what they point to, which is in the same place.
struct Laid {
    args: sys::attn_forward_args,
    query: Place,
    key: Place,
    value: Place,
    mask: Place,
    bias: Place,
    key_lengths: Place,
    context: Place,
    weights: Place,
    scores: Place,
    logsumexp: Place,
    takes_memory: bool,
}

/// A forward call whose shapes, strides and outputs are fixed: [`Mechanism::prepare`] makes it and its workspace,
/// [`run`](Self::run) computes on slices, and asks nobody for memory, unless it is over a [`Memory`] that has grown. It
/// borrows nothing between runs.
///
/// It is `Send` but not `Sync`: it has one workspace, and one set of arguments.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// # use attn::*;
/// let mechanism = Mechanism::scaled_dot(&Engine::new()?)?;
/// let (mut state, keys, mut context) = ([1.0f32; 4], [0.5; 20], [0.0; 4]);
/// let inputs = Inputs::new(Tensor::new(&state, &[1, 4])?).key(Tensor::new(&keys, &[5, 4])?);
/// let mut step = mechanism.prepare(&inputs, Outputs::new().context(TensorMut::new(&mut context, &[1, 4])?))?;
/// for _ in 0..3 {
///     step.run(&mechanism, Slices { query: &state, key: &keys, context: &mut context, ..Default::default() })?;
///     state.copy_from_slice(&context);
/// }
/// # Ok(()) }
/// ```
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<attn::Call<f32>>();
/// ```
pub struct Call<T: Float> {
    laid: NonNull<Laid>,
    workspace: Workspace,
    element: PhantomData<T>,
}

// SAFETY: it owns what it points to; addresses of slices are put there by the run that reads them.
unsafe impl<T: Float> Send for Call<T> {}

impl<T: Float> Drop for Call<T> {
    fn drop(&mut self) {
        // SAFETY: it is what Box::into_raw gave.
        drop(unsafe { Box::from_raw(self.laid.as_ptr()) });
    }
}

fn place<T: Element>(tensor: &Option<Tensor<'_, T>>) -> Place {
    Place::new::<T>(tensor.as_ref().map(|t| t.layout))
}

fn place_mut<T: Element>(tensor: &Option<TensorMut<'_, T>>) -> Place {
    Place::new::<T>(tensor.as_ref().map(|t| t.layout))
}

fn place_of_indices(indices: &Option<Indices<'_>>) -> Place {
    Place {
        tensor: indices.map_or_else(Default::default, |indices| indices.raw),
        there: indices.is_some(),
        ..Place::new::<i64>(None)
    }
}

impl Mechanism {
    /// Lays a call out like these inputs and outputs, whose slices it does not keep, and finds its workspace: that of the
    /// outputs is not looked at.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn prepare<T: Float>(
        &self,
        inputs: &Inputs<'_, T>,
        outputs: Outputs<'_, T>,
    ) -> Result<Call<T>> {
        outputs.check_of_mechanism()?;
        let mut args = inputs.lay();
        outputs.lay(&mut args);
        let (mut bytes, mut workspace) = (0, Workspace::new());
        // SAFETY: as in forward.
        check(unsafe { sys::attn_forward_workspace(self.raw(), &args, &mut bytes) })?;
        workspace.reserve(bytes)?;
        let laid = Box::new(Laid {
            args,
            query: place(&Some(inputs.query)),
            key: place(&inputs.key),
            value: place(&inputs.value),
            mask: place(&inputs.mask),
            bias: place(&inputs.bias),
            key_lengths: place_of_indices(&inputs.key_lengths),
            context: place_mut(&outputs.context),
            weights: place_mut(&outputs.weights),
            scores: place_mut(&outputs.scores),
            logsumexp: place_mut(&outputs.logsumexp),
            takes_memory: inputs.memory.is_some(),
        });
        let laid = NonNull::from(Box::leak(laid));
        // SAFETY: it was just made, and stays where it is.
        unsafe { Laid::link(laid.as_ptr()) };
        Ok(Call {
            laid,
            workspace,
            element: PhantomData,
        })
    }
}

impl Laid {
    /// Points the arguments to the tensors beside them.
    ///
    /// # Safety
    ///
    /// There must be one at this address.
    unsafe fn link(this: *mut Self) {
        (*this).args.query = Place::pointer(ptr::addr_of!((*this).query));
        (*this).args.key = Place::pointer(ptr::addr_of!((*this).key));
        (*this).args.value = Place::pointer(ptr::addr_of!((*this).value));
        (*this).args.mask = Place::pointer(ptr::addr_of!((*this).mask));
        (*this).args.bias = Place::pointer(ptr::addr_of!((*this).bias));
        (*this).args.key_lengths = Place::pointer(ptr::addr_of!((*this).key_lengths));
        (*this).args.context = Place::pointer(ptr::addr_of!((*this).context));
        (*this).args.weights = Place::pointer(ptr::addr_of!((*this).weights));
        (*this).args.scores = Place::pointer(ptr::addr_of!((*this).scores));
        (*this).args.logsumexp = Place::pointer(ptr::addr_of!((*this).logsumexp));
    }
}

impl Place {
    /// Lengths in place of those that were laid out.
    #[inline]
    fn put_indices(&mut self, given: &Option<Indices<'_>>) -> Result<()> {
        match given {
            None if !self.there => Ok(()),
            Some(from) if self.there && self.tensor.shape[0] == from.raw.shape[0] => {
                self.tensor = from.raw;
                Ok(())
            }
            _ => {
                let sentence = "key_lengths are not those that the call was laid out with";
                Err(Error::new(Status::Shape, sentence))
            }
        }
    }
}

impl<T: Float> Call<T> {
    /// Computes, by this mechanism, usually the one that the call was laid out for.
    ///
    /// # Errors
    ///
    /// `Shape`: a slice is shorter than the layout needs. `Argument`: there is one that the layout has not. Otherwise as
    /// [`Mechanism::forward`].
    #[inline]
    pub fn run(&mut self, mechanism: &Mechanism, slices: Slices<'_, T>) -> Result<()> {
        let laid = self.laid.as_ptr();
        macro_rules! put {
            ($($name:ident: $address:ident),*) => {$(
                // SAFETY: what was laid out is this call's alone. References go to parts of it, one after the other.
                let place = unsafe { &mut (*laid).$name };
                place.put(slices.$name.$address(), slices.$name.len(), stringify!($name))?;
            )*};
        }
        put!(query: as_ptr, key: as_ptr, value: as_ptr, mask: as_ptr, bias: as_ptr);
        put!(context: as_mut_ptr, weights: as_mut_ptr, scores: as_mut_ptr, logsumexp: as_mut_ptr);
        // SAFETY: as above.
        unsafe { (*laid).key_lengths.put_indices(&slices.key_lengths)? };
        if unsafe { (*laid).takes_memory } != slices.memory.is_some() {
            let sentence = "there is a memory, or there was one when the call was laid out";
            return Err(Error::new(Status::Argument, sentence));
        }
        let memory = slices.memory.map_or(ptr::null(), Memory::raw);
        // SAFETY: every tensor has the slice that it was checked against; these are borrowed for the call.
        let status = unsafe {
            (*laid).args.memory = memory;
            (*laid).args.workspace = self.workspace.pointer();
            (*laid).args.workspace_size = self.workspace.len();
            sys::attn_forward(mechanism.raw(), ptr::addr_of!((*laid).args))
        };
        if status == sys::ATTN_OK {
            return Ok(());
        }
        self.run_larger(mechanism, status)
    }

    /// After a failure: once more, where it was the workspace that has become too small.
    #[cold]
    fn run_larger(&mut self, mechanism: &Mechanism, status: sys::attn_status) -> Result<()> {
        let failure = check(status);
        if status != sys::ATTN_ERR_BUFFER {
            return failure;
        }
        let (laid, mut bytes) = (self.laid.as_ptr(), 0);
        // SAFETY: as in run, which has put everything in place.
        let args = unsafe { ptr::addr_of!((*laid).args) };
        check(unsafe { sys::attn_forward_workspace(mechanism.raw(), args, &mut bytes) })?;
        if bytes <= self.workspace.len() {
            return failure;
        }
        self.workspace.reserve(bytes)?;
        check(unsafe {
            (*laid).args.workspace = self.workspace.pointer();
            (*laid).args.workspace_size = self.workspace.len();
            sys::attn_forward(mechanism.raw(), args)
        })
    }
}

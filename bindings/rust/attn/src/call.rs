// SPDX-License-Identifier: BSD-3-Clause
//! Calls that are planned once and run many times, on whichever slices have their layout.

use crate::element::{Element, Float};
use crate::error::{check, Error, Result, Status};
use crate::forward::{Inputs, Outputs};
use crate::handle::handle;
use crate::layout::Reach;
use crate::mechanism::Mechanism;
use crate::memory::MemoryRef;
use crate::tensor::Indices;
use attn_sys as sys;
use std::fmt;
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
#[derive(Debug)]
pub struct Slices<'a, T: Float> {
    /// Read.
    pub query: &'a [T],
    /// Read.
    pub key: &'a [T],
    /// Read.
    pub value: &'a [T],
    /// Read, where the call was laid out with keys of 8 bits.
    pub quantised_key: &'a [i8],
    /// Read, likewise.
    pub key_scales: &'a [f32],
    /// Read, where the call was laid out with values of 8 bits.
    pub quantised_value: &'a [i8],
    /// Read, likewise.
    pub value_scales: &'a [f32],
    /// Read, where the call was laid out with one.
    pub memory: Option<MemoryRef<'a>>,
    /// Read.
    pub mask: &'a [bool],
    /// Read.
    pub bias: &'a [T],
    /// Read; as many as were laid out, and of their type. So all that follow.
    pub key_lengths: Option<Indices<'a>>,
    /// Read.
    pub query_offsets: Option<Indices<'a>>,
    /// Read.
    pub key_offsets: Option<Indices<'a>>,
    /// Read.
    pub page_table: Option<Indices<'a>>,
    /// Read.
    pub page_offsets: Option<Indices<'a>>,
    /// Written.
    pub context: &'a mut [T],
    /// Written.
    pub weights: &'a mut [T::Wide],
    /// Written.
    pub scores: &'a mut [T::Wide],
    /// Written.
    pub logsumexp: &'a mut [T::Wide],
    /// Written, where a call that is computed in float32 was laid out with a log-sum-exp in float64.
    pub exact_logsumexp: &'a mut [f64],
}

impl<T: Float> Default for Slices<'_, T> {
    #[inline]
    fn default() -> Self {
        Self {
            query: &[],
            key: &[],
            value: &[],
            quantised_key: &[],
            key_scales: &[],
            quantised_value: &[],
            value_scales: &[],
            memory: None,
            mask: &[],
            bias: &[],
            key_lengths: None,
            query_offsets: None,
            key_offsets: None,
            page_table: None,
            page_offsets: None,
            context: &mut [],
            weights: &mut [],
            scores: &mut [],
            logsumexp: &mut [],
            exact_logsumexp: &mut [],
        }
    }
}

impl<T: Float> Slices<'_, T> {
    /// Whether any of them says where sequences lie.
    #[inline(always)]
    fn has_places(&self) -> bool {
        self.query_offsets.is_some()
            || self.key_offsets.is_some()
            || self.page_table.is_some()
            || self.page_offsets.is_some()
    }

    #[cold]
    fn lengths(&self) -> [usize; SLOTS] {
        [
            self.query.len(),
            self.key.len(),
            self.value.len(),
            self.quantised_key.len(),
            self.key_scales.len(),
            self.quantised_value.len(),
            self.value_scales.len(),
            self.mask.len(),
            self.bias.len(),
            self.context.len(),
            self.weights.len(),
            self.scores.len(),
            self.logsumexp.len(),
            self.exact_logsumexp.len(),
        ]
    }
}

/// What a slice must have for its tensor.
#[derive(Clone, Copy, Default)]
struct Slot {
    least: usize, // elements
    offset: usize,
}

/// The tensors of a call; the slots of all but whole numbers, which come last.
#[derive(Clone, Copy)]
enum At {
    Query,
    Key,
    Value,
    QuantisedKey,
    KeyScales,
    QuantisedValue,
    ValueScales,
    Mask,
    Bias,
    Context,
    Weights,
    Scores,
    LogSumExp,
    ExactLogSumExp,
    KeyLengths,
    QueryOffsets,
    KeyOffsets,
    PageTable,
    PageOffsets,
}

const SLOTS: usize = At::KeyLengths as usize;
const TENSORS: usize = At::PageOffsets as usize + 1;

/// The arguments and what they point to, which is in the same place.
#[repr(align(64))]
struct Laid {
    args: sys::attn_forward_args,
    takes_memory: bool,
    takes_lengths: bool,
    takes_places: bool, // offsets, or pages
    there: u32,         // a bit for each tensor that there is, but whole numbers
    needed: u32,        // those that have elements
    slots: [Slot; SLOTS],
    tensors: [sys::attn_tensor; TENSORS],
}

impl Laid {
    /// Takes the layout of a tensor.
    fn take(&mut self, at: At, tensor: Option<(sys::attn_tensor, Reach)>) {
        if let Some((tensor, reach)) = tensor {
            self.there |= 1 << at as u32;
            self.needed |= u32::from(reach.least > 0) << at as u32;
            // Its data comes with each run.
            self.tensors[at as usize] = sys::attn_tensor {
                data: ptr::null_mut(),
                ..tensor
            };
            self.slots[at as usize] = Slot {
                least: reach.least,
                offset: reach.offset,
            };
        }
    }

    /// Points the arguments to the tensors beside them.
    ///
    /// # Safety
    ///
    /// There must be one at this address.
    unsafe fn link(this: *mut Self) {
        let to = |given: *const sys::attn_tensor, at: At| {
            if given.is_null() {
                return given;
            }
            ptr::addr_of!((*this).tensors[at as usize])
        };
        let args = (*this).args;
        let either = |plain: At, other: At| match (*this).there >> other as u32 & 1 {
            0 => plain,
            _ => other,
        };
        (*this).args = sys::attn_forward_args {
            query: to(args.query, At::Query),
            key: to(args.key, either(At::Key, At::QuantisedKey)),
            value: to(args.value, either(At::Value, At::QuantisedValue)),
            key_scales: to(args.key_scales, At::KeyScales),
            value_scales: to(args.value_scales, At::ValueScales),
            mask: to(args.mask, At::Mask),
            bias: to(args.bias, At::Bias),
            key_lengths: to(args.key_lengths, At::KeyLengths),
            query_offsets: to(args.query_offsets, At::QueryOffsets),
            key_offsets: to(args.key_offsets, At::KeyOffsets),
            page_table: to(args.page_table, At::PageTable),
            page_offsets: to(args.page_offsets, At::PageOffsets),
            context: to(args.context, At::Context),
            weights: to(args.weights, At::Weights),
            scores: to(args.scores, At::Scores),
            logsumexp: to(args.logsumexp, either(At::LogSumExp, At::ExactLogSumExp)),
            ..args
        };
    }

    /// Gives a tensor its slice, from an address on, unless that is empty. Whether it is long enough.
    ///
    /// # Safety
    ///
    /// There must be one at this address.
    #[inline(always)]
    unsafe fn put<T>(this: *mut Self, at: At, data: *const T, length: usize) -> bool {
        let slot = ptr::addr_of!((*this).slots[at as usize]);
        if length == 0 {
            return true; // no element is needed of it: that has been seen to
        }
        if length < (*slot).least {
            return false;
        }
        let first = data.add((*slot).offset) as *mut c_void;
        expose(first);
        // What the library reads by wider loads than this store is left alone where it can be: they would wait for it.
        if (*this).tensors[at as usize].data != first {
            (*this).tensors[at as usize].data = first;
        }
        true
    }

    /// Whole numbers in place of those that were laid out, if any were; whether they are as many.
    ///
    /// # Safety
    ///
    /// There must be one at this address.
    #[inline(always)]
    unsafe fn put_indices(
        this: *mut Self,
        at: At,
        takes: bool,
        given: &Option<Indices<'_>>,
    ) -> bool {
        let to = ptr::addr_of_mut!((*this).tensors[at as usize]);
        match given {
            None => !takes,
            Some(from) => {
                let fits = takes && (*to).shape[0] == from.raw.shape[0];
                if fits {
                    *to = from.raw;
                }
                fits
            }
        }
    }

    /// Where sequences lie, likewise; otherwise the name of what does not fit.
    ///
    /// # Safety
    ///
    /// There must be one at this address.
    unsafe fn put_places<T: Float>(
        this: *mut Self,
        slices: &Slices<'_, T>,
    ) -> std::result::Result<(), &'static str> {
        for (at, name, given) in [
            (At::QueryOffsets, "query_offsets", &slices.query_offsets),
            (At::KeyOffsets, "key_offsets", &slices.key_offsets),
            (At::PageTable, "page_table", &slices.page_table),
            (At::PageOffsets, "page_offsets", &slices.page_offsets),
        ] {
            let takes = (*this).tensors[at as usize].ndim > 0;
            if !Self::put_indices(this, at, takes, given) {
                return Err(name);
            }
        }
        Ok(())
    }

    /// Why slices of these lengths are not those that were laid out.
    #[cold]
    fn refuse(&self, lengths: [usize; SLOTS]) -> Error {
        const NAMES: [&str; SLOTS] = [
            "query",
            "key",
            "value",
            "quantised_key",
            "key_scales",
            "quantised_value",
            "value_scales",
            "mask",
            "bias",
            "context",
            "weights",
            "scores",
            "logsumexp",
            "exact_logsumexp",
        ];
        for (at, (name, length)) in NAMES.iter().zip(lengths).enumerate() {
            let least = self.slots[at].least;
            if self.there >> at & 1 == 0 && length > 0 {
                return mismatch(Status::Argument, name);
            }
            if length < least {
                let sentence =
                    format!("{name} has {length} elements, but the call was laid out for {least}");
                return Error::new(Status::Shape, sentence);
            }
        }
        mismatch(Status::Argument, "something")
    }
}

/// Tells the compiler that the library may read and write behind a pointer, also where that is not stored anew.
#[inline(always)]
fn expose(pointer: *mut c_void) {
    // SAFETY: it does nothing.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) pointer, options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    std::sync::atomic::AtomicPtr::new(ptr::null_mut())
        .store(pointer, std::sync::atomic::Ordering::SeqCst);
}

#[cold]
fn mismatch(status: Status, name: &str) -> Error {
    let sentence = format!("{name} is not as the call was laid out");
    Error::new(status, sentence)
}

handle!(Plan, attn_plan, attn_plan_destroy);

impl Plan {
    /// Of a call by this mechanism.
    ///
    /// # Safety
    ///
    /// The arguments and what they point to must be as attn_forward wants them.
    unsafe fn make(mechanism: &Mechanism, args: *const sys::attn_forward_args) -> Result<Self> {
        let mut plan = ptr::null_mut();
        check(sys::attn_plan_create(mechanism.raw(), args, &mut plan))?;
        Ok(Self::own(plan))
    }
}

/// A forward call whose shapes, strides and outputs are fixed: [`Mechanism::prepare`] checks it, plans it and finds its
/// scratch, [`run`](Self::run) computes on slices, and asks nobody for memory, unless it is over a [`Memory`] that has
/// grown, or by a mechanism that was changed or is another one. It borrows nothing between runs.
///
/// It is `Send` but not `Sync`: it has one plan, and one set of arguments.
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
    plan: Plan,
    // Whose plan it is, which the plan keeps alive: none that is made meanwhile has its address. To be compared alone.
    planned_for: *const sys::attn_mechanism,
    element: PhantomData<T>,
}

// SAFETY: it owns what it points to; addresses of slices are put there by the run that reads them, and so are those that
// the plan reads. What is bound to the plan's mechanism is read while that is borrowed.
unsafe impl<T: Float> Send for Call<T> {}

impl<T: Float> Drop for Call<T> {
    fn drop(&mut self) {
        // SAFETY: it is what Box::into_raw gave.
        drop(unsafe { Box::from_raw(self.laid.as_ptr()) });
    }
}

impl<T: Float> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("element", &T::NAME)
            .finish_non_exhaustive()
    }
}

impl Mechanism {
    /// Plans a call laid out like these inputs and outputs, whose slices it does not keep. It has scratch of its own: the
    /// workspace of the outputs is not looked at.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn prepare<T: Float>(
        &self,
        inputs: &Inputs<'_, T>,
        outputs: Outputs<'_, T>,
    ) -> Result<Call<T>> {
        let mut outputs = outputs;
        outputs.check_of_mechanism()?;
        inputs.check_of_mechanism()?;
        if outputs.stats.is_some() {
            let sentence = "a call that is laid out tells no stats; forward does";
            return Err(Error::new(Status::Unsupported, sentence));
        }
        let mut args = inputs.lay();
        outputs.lay(&mut args);
        let _turn = inputs.memory.and_then(MemoryRef::read);
        // SAFETY: as in forward.
        let plan = unsafe { Plan::make(self, &args) }?;
        let mut laid = Box::new(Laid {
            args,
            takes_memory: inputs.memory.is_some(),
            takes_lengths: inputs.key_lengths.is_some(),
            takes_places: inputs.has_places(),
            there: 0,
            needed: 0,
            slots: Default::default(),
            tensors: Default::default(),
        });
        laid.take(At::Query, Some((inputs.query.raw, inputs.query.reach)));
        let key_at = match inputs.key_scales {
            None => At::Key,
            Some(_) => At::QuantisedKey,
        };
        let value_at = match inputs.value_scales {
            None => At::Value,
            Some(_) => At::QuantisedValue,
        };
        laid.take(key_at, inputs.key.map(|t| (t.raw, t.reach)));
        laid.take(value_at, inputs.value.map(|t| (t.raw, t.reach)));
        laid.take(At::KeyScales, inputs.key_scales.map(|t| (t.raw, t.reach)));
        laid.take(
            At::ValueScales,
            inputs.value_scales.map(|t| (t.raw, t.reach)),
        );
        laid.take(At::Mask, inputs.mask.map(|t| (t.raw, t.reach)));
        laid.take(At::Bias, inputs.bias.map(|t| (t.raw, t.reach)));
        laid.take(At::Context, outputs.context.map(|t| (t.raw, t.reach)));
        laid.take(At::Weights, outputs.weights.map(|t| (t.raw, t.reach)));
        laid.take(At::Scores, outputs.scores.map(|t| (t.raw, t.reach)));
        if let Some(logsumexp) = outputs.logsumexp {
            let exactness = match logsumexp.raw.dtype == T::Wide::DTYPE {
                true => At::LogSumExp,
                false => At::ExactLogSumExp,
            };
            laid.take(exactness, Some((logsumexp.raw, logsumexp.reach)));
        }
        for (at, given) in [
            (At::KeyLengths, inputs.key_lengths),
            (At::QueryOffsets, inputs.query_offsets),
            (At::KeyOffsets, inputs.key_offsets),
            (At::PageTable, inputs.page_table),
            (At::PageOffsets, inputs.page_offsets),
        ] {
            if let Some(given) = given {
                laid.tensors[at as usize] = given.raw;
            }
        }
        let laid = NonNull::from(Box::leak(laid));
        // SAFETY: it was just made, and stays where it is.
        unsafe { Laid::link(laid.as_ptr()) };
        Ok(Call {
            laid,
            plan,
            planned_for: self.raw(),
            element: PhantomData,
        })
    }
}

impl<T: Float> Call<T> {
    /// Computes, by this mechanism, usually the one that the call was planned for: for another one it is planned anew.
    ///
    /// # Errors
    ///
    /// `Shape`: a slice is shorter than the layout needs. `Argument`: there is one that the layout has not. Otherwise as
    /// [`Mechanism::forward`]. It can be run again after all of them.
    #[inline]
    pub fn run(&mut self, mechanism: &Mechanism, slices: Slices<'_, T>) -> Result<()> {
        let laid = self.laid.as_ptr();
        macro_rules! each {
            ($does:ident) => {{
                $does!(Query, query, as_ptr);
                $does!(Key, key, as_ptr);
                $does!(Value, value, as_ptr);
                $does!(QuantisedKey, quantised_key, as_ptr);
                $does!(KeyScales, key_scales, as_ptr);
                $does!(QuantisedValue, quantised_value, as_ptr);
                $does!(ValueScales, value_scales, as_ptr);
                $does!(Mask, mask, as_ptr);
                $does!(Bias, bias, as_ptr);
                $does!(Context, context, as_mut_ptr);
                $does!(Weights, weights, as_mut_ptr);
                $does!(Scores, scores, as_mut_ptr);
                $does!(LogSumExp, logsumexp, as_mut_ptr);
                $does!(ExactLogSumExp, exact_logsumexp, as_mut_ptr);
            }};
        }
        // Which there are is usually known while this is compiled: one comparison instead of one for each.
        let mut given = 0u32;
        macro_rules! count {
            ($at:ident, $name:ident, $address:ident) => {
                given |= u32::from(!slices.$name.is_empty()) << At::$at as u32;
            };
        }
        each!(count);
        // SAFETY: what was laid out is this call's alone; here and below.
        let (there, needed) = unsafe { ((*laid).there, (*laid).needed) };
        let mut fit = (given & !there) | (needed & !given) == 0;
        macro_rules! put {
            ($at:ident, $name:ident, $address:ident) => {
                fit = fit
                    && unsafe {
                        Laid::put(laid, At::$at, slices.$name.$address(), slices.$name.len())
                    };
            };
        }
        each!(put);
        if !fit {
            return Err(unsafe { (*laid).refuse(slices.lengths()) });
        }
        let takes_lengths = unsafe { (*laid).takes_lengths };
        if !unsafe { Laid::put_indices(laid, At::KeyLengths, takes_lengths, &slices.key_lengths) } {
            return Err(mismatch(Status::Shape, "key_lengths"));
        }
        if unsafe { (*laid).takes_places } || slices.has_places() {
            unsafe { Laid::put_places(laid, &slices) }
                .map_err(|name| mismatch(Status::Shape, name))?;
        }
        if unsafe { (*laid).takes_memory } != slices.memory.is_some() {
            return Err(mismatch(Status::Argument, "memory"));
        }
        let memory = slices.memory.map_or(ptr::null(), MemoryRef::raw);
        let _turn = slices.memory.and_then(MemoryRef::read);
        // SAFETY: every tensor has the slice that it was checked against; these are borrowed for the call, and so is what is
        // bound to the mechanism, whose plan it is.
        unsafe {
            if (*laid).args.memory != memory {
                (*laid).args.memory = memory;
            }
            let args = ptr::addr_of!((*laid).args);
            if !ptr::eq(self.planned_for, mechanism.raw()) {
                self.plan_for(mechanism, args)?;
            }
            check(sys::attn_plan_run(self.plan.0.as_ptr(), args))
        }
    }

    /// Makes it another mechanism's.
    ///
    /// # Safety
    ///
    /// As [`Plan::make`].
    #[cold]
    unsafe fn plan_for(
        &mut self,
        mechanism: &Mechanism,
        args: *const sys::attn_forward_args,
    ) -> Result<()> {
        self.plan = Plan::make(mechanism, args)?;
        self.planned_for = mechanism.raw();
        Ok(())
    }
}

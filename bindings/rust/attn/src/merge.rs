// SPDX-License-Identifier: BSD-3-Clause
//! The results of attention over parts of the keys, joined.

use crate::element::Float;
use crate::engine::Engine;
use crate::error::{check, Result};
use crate::layout::size;
use crate::tensor::{pointer, LogSumExp, LogSumExpMut, ParamView, Tensor, TensorMut};
use attn_sys as sys;

/// What attention made of parts of the keys: of each the context [B, Hq, Tq, Dv] and the log-sum-exp [B, Hq, Tq].
///
/// ```
/// # fn main() -> attn::Result<()> {
/// use attn::{Engine, Parts, Tensor, TensorMut};
/// let (near, far, mut context) = ([1.0f32, 0.0], [0.0f32, 1.0], [0.0f32; 2]);
/// let sums = [0.0, 3.0f64.ln()];
/// let parts = Parts::new()
///     .part(Tensor::new(&near, &[1, 2])?, Tensor::new(&sums[..1], &[1])?)
///     .part(Tensor::new(&far, &[1, 2])?, Tensor::new(&sums[1..], &[1])?);
/// Engine::new()?.merge(&parts, TensorMut::new(&mut context, &[1, 2])?, None)?;
/// assert_eq!(context, [0.25, 0.75]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Parts<'a> {
    contexts: Vec<ParamView<'a>>,
    logsumexps: Vec<LogSumExp<'a>>,
}

impl<'a> Parts<'a> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more. Contexts may be of several types, but `f64` goes with `f64` alone; log-sum-exps are `f32` or `f64`.
    pub fn part<T: Float>(
        mut self,
        context: Tensor<'a, T>,
        logsumexp: impl Into<LogSumExp<'a>>,
    ) -> Self {
        self.contexts.push(context.into());
        self.logsumexps.push(logsumexp.into());
        self
    }
}

impl Engine {
    /// Writes the context of all keys, from those of parts of them, and the log-sum-exp, where there is one to write to. A
    /// part that saw nothing, whose log-sum-exp is minus infinity, has no weight, whatever its context holds.
    ///
    /// # Errors
    ///
    /// `Argument`: no parts. `Shape`, `DType`, `Overlap`, `Overflow`.
    pub fn merge<T: Float>(
        &self,
        parts: &Parts<'_>,
        context: TensorMut<'_, T>,
        logsumexp: Option<LogSumExpMut<'_>>,
    ) -> Result<()> {
        let contexts = parts.contexts.iter().map(|part| &part.raw as *const _);
        let logsumexps = parts.logsumexps.iter().map(|part| &part.raw as *const _);
        self.join(
            contexts.collect(),
            logsumexps.collect(),
            &context.raw,
            pointer(&logsumexp),
        )
    }

    /// The same in place: context and log-sum-exp are the first part as well, a running result that takes up the others.
    ///
    /// # Errors
    ///
    /// As [`merge`](Self::merge).
    pub fn merge_in_place<'l, T: Float>(
        &self,
        parts: &Parts<'_>,
        context: TensorMut<'_, T>,
        logsumexp: impl Into<LogSumExpMut<'l>>,
    ) -> Result<()> {
        let logsumexp = logsumexp.into();
        let mut contexts = vec![&context.raw as *const sys::attn_tensor];
        let mut logsumexps = vec![&logsumexp.raw as *const sys::attn_tensor];
        contexts.extend(parts.contexts.iter().map(|part| &part.raw as *const _));
        logsumexps.extend(parts.logsumexps.iter().map(|part| &part.raw as *const _));
        self.join(contexts, logsumexps, &context.raw, &logsumexp.raw)
    }

    fn join(
        &self,
        contexts: Vec<*const sys::attn_tensor>,
        logsumexps: Vec<*const sys::attn_tensor>,
        context: *const sys::attn_tensor,
        logsumexp: *const sys::attn_tensor,
    ) -> Result<()> {
        let args = sys::attn_merge_args {
            parts: size(contexts.len()),
            contexts: contexts.as_ptr(),
            logsumexps: logsumexps.as_ptr(),
            context,
            logsumexp,
            ..Default::default()
        };
        // SAFETY: both lists are as long as said, and their tensors are views of slices that are borrowed for the call,
        // those that are written mutably.
        check(unsafe { sys::attn_merge(self.raw(), &args) })
    }
}

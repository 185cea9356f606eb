// SPDX-License-Identifier: BSD-3-Clause
//! Luong's attentional step, tanh(W_c [context; query] + bias), and its gradients.

use crate::element::Float;
use crate::engine::Engine;
use crate::error::{check, Result};
use crate::tensor::{pointer, ParamView, ParamViewMut, Tensor, TensorMut};
use attn_sys as sys;

/// What an attentional step reads: T rows in each of any leading dimensions, Dv the dimensions of the context, Dq those of
/// the query, H those of what comes out.
#[derive(Clone, Copy, Debug)]
pub struct Attentional<'a, T: Float> {
    weight: ParamView<'a>,
    context: Tensor<'a, T>,
    query: Tensor<'a, T>,
    bias: Option<ParamView<'a>>,
}

impl<'a, T: Float> Attentional<'a, T> {
    /// W_c [H, Dv + Dq], the context's columns first; the context [.., T, Dv]; the query [.., T, Dq], the decoder's state.
    pub fn new(weight: Tensor<'a, T::Wide>, context: Tensor<'a, T>, query: Tensor<'a, T>) -> Self {
        Self::of(weight.into(), context, query)
    }

    /// The same with a weight in the type of context and query, where that has 16 bits.
    pub fn half(weight: Tensor<'a, T>, context: Tensor<'a, T>, query: Tensor<'a, T>) -> Self {
        Self::of(weight.into(), context, query)
    }

    fn of(weight: ParamView<'a>, context: Tensor<'a, T>, query: Tensor<'a, T>) -> Self {
        Self {
            weight,
            context,
            query,
            bias: None,
        }
    }

    /// A bias \[H\], which the paper has not.
    pub fn bias(mut self, bias: Tensor<'a, T::Wide>) -> Self {
        self.bias = Some(bias.into());
        self
    }

    /// A bias in the type of context and query, where that has 16 bits.
    pub fn half_bias(mut self, bias: Tensor<'a, T>) -> Self {
        self.bias = Some(bias.into());
        self
    }

    fn lay(&self) -> sys::attn_attentional_args {
        sys::attn_attentional_args {
            weight: &self.weight.raw,
            context: &self.context.raw,
            query: &self.query.raw,
            bias: pointer(&self.bias),
            ..Default::default()
        }
    }
}

/// The gradients of an attentional step that are wanted, each of the shape of what it is the gradient of; at least one.
#[derive(Debug)]
pub struct AttentionalGradients<'g, T: Float> {
    weight: Option<ParamViewMut<'g>>,
    bias: Option<ParamViewMut<'g>>,
    context: Option<TensorMut<'g, T>>,
    query: Option<TensorMut<'g, T>>,
    accumulate: bool,
}

impl<T: Float> Default for AttentionalGradients<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'g, T: Float> AttentionalGradients<'g, T> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            weight: None,
            bias: None,
            context: None,
            query: None,
            accumulate: false,
        }
    }

    /// By the weight.
    pub fn weight(mut self, d_weight: TensorMut<'g, T::Wide>) -> Self {
        self.weight = Some(d_weight.into());
        self
    }

    /// By a weight of 16 bits.
    pub fn half_weight(mut self, d_weight: TensorMut<'g, T>) -> Self {
        self.weight = Some(d_weight.into());
        self
    }

    /// By the bias, where there is one.
    pub fn bias(mut self, d_bias: TensorMut<'g, T::Wide>) -> Self {
        self.bias = Some(d_bias.into());
        self
    }

    /// By a bias of 16 bits.
    pub fn half_bias(mut self, d_bias: TensorMut<'g, T>) -> Self {
        self.bias = Some(d_bias.into());
        self
    }

    /// By the context.
    pub fn context(mut self, d_context: TensorMut<'g, T>) -> Self {
        self.context = Some(d_context);
        self
    }

    /// By the query.
    pub fn query(mut self, d_query: TensorMut<'g, T>) -> Self {
        self.query = Some(d_query);
        self
    }

    /// They are added to what is there, not written over it.
    pub fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }
}

impl Engine {
    /// Luong's attentional state (Luong 2015, eq. 5) into output [.., T, H].
    ///
    /// # Errors
    ///
    /// `Shape`, `Overlap`, `Overflow`, `OutOfMemory`.
    pub fn attentional<T: Float>(
        &self,
        inputs: &Attentional<'_, T>,
        output: TensorMut<'_, T>,
    ) -> Result<()> {
        let args = sys::attn_attentional_args {
            output: &output.raw,
            ..inputs.lay()
        };
        // SAFETY: tensors are views of slices that are borrowed for the call, the output mutably.
        check(unsafe { sys::attn_attentional_forward(self.raw(), &args) })
    }

    /// Its gradients, from the output that it wrote and the loss's gradient by that.
    ///
    /// # Errors
    ///
    /// As [`attentional`](Self::attentional). `Argument`: none is wanted, or one by a bias that there is not.
    pub fn attentional_backward<T: Float>(
        &self,
        inputs: &Attentional<'_, T>,
        output: Tensor<'_, T>,
        d_output: Tensor<'_, T>,
        gradients: AttentionalGradients<'_, T>,
    ) -> Result<()> {
        let args = sys::attn_attentional_args {
            accumulate: i32::from(gradients.accumulate),
            output: &output.raw,
            d_output: &d_output.raw,
            d_weight: pointer(&gradients.weight),
            d_bias: pointer(&gradients.bias),
            d_context: pointer(&gradients.context),
            d_query: pointer(&gradients.query),
            ..inputs.lay()
        };
        // SAFETY: as above; gradients are written.
        check(unsafe { sys::attn_attentional_backward(self.raw(), &args) })
    }
}

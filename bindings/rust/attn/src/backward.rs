// SPDX-License-Identifier: BSD-3-Clause
//! Gradients of attention: what flows in, what is wanted, and the call.

use crate::element::Float;
use crate::error::{Error, Result, Status};
use crate::forward::Inputs;
use crate::mechanism::Mechanism;
use crate::memory::MemoryRef;
use crate::param::ParamInfo;
use crate::tensor::{pointer, LogSumExp, ParamViewMut, Tensor, TensorMut};
use crate::workspace::{self, Workspace};
use attn_sys as sys;
use std::ptr;

/// What the forward call wrote, and the loss's gradients by it, which flow in: at least one.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a, T: Float> {
    logsumexp: LogSumExp<'a>,
    context: Option<[Tensor<'a, T>; 2]>,
    d_weights: Option<Tensor<'a, T::Wide>>,
    d_logsumexp: Option<Tensor<'a, T::Wide>>,
}

impl<'a, T: Float> Flow<'a, T> {
    /// The log-sum-exp [B, Hq, Tq], as it was written: weights are made anew from it.
    pub fn new(logsumexp: impl Into<LogSumExp<'a>>) -> Self {
        Self {
            logsumexp: logsumexp.into(),
            context: None,
            d_weights: None,
            d_logsumexp: None,
        }
    }

    /// The context as it was written, and the loss's gradient by it, both [B, Hq, Tq, Dv].
    pub fn context(mut self, context: Tensor<'a, T>, d_context: Tensor<'a, T>) -> Self {
        self.context = Some([context, d_context]);
        self
    }

    /// The gradient by the weights [B, Hq, Tq, Tk], of a loss that looks at them.
    pub fn weights(mut self, d_weights: Tensor<'a, T::Wide>) -> Self {
        self.d_weights = Some(d_weights);
        self
    }

    /// The gradient by the log-sum-exp [B, Hq, Tq], of a loss that looks at it.
    pub fn logsumexp(mut self, d_logsumexp: Tensor<'a, T::Wide>) -> Self {
        self.d_logsumexp = Some(d_logsumexp);
        self
    }
}

/// The gradients that are wanted, each of the shape of what it is the gradient of, as that was given.
#[derive(Debug)]
pub struct Gradients<'g, T: Float> {
    pub(crate) query: Option<TensorMut<'g, T>>,
    pub(crate) key: Option<TensorMut<'g, T>>,
    pub(crate) value: Option<TensorMut<'g, T>>,
    pub(crate) bias: Option<TensorMut<'g, T>>,
    pub(crate) alibi: Option<TensorMut<'g, T::Wide>>,
    pub(crate) relative: Option<TensorMut<'g, T::Wide>>,
    pub(crate) sinks: Option<TensorMut<'g, T::Wide>>,
    pub(crate) params: Vec<(&'g str, ParamViewMut<'g>)>,
    pub(crate) mechanism_params: Vec<(&'g str, ParamViewMut<'g>)>,
    pub(crate) accumulate: bool,
    pub(crate) workspace: Option<&'g mut Workspace>,
}

impl<T: Float> Default for Gradients<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'g, T: Float> Gradients<'g, T> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            query: None,
            key: None,
            value: None,
            bias: None,
            alibi: None,
            relative: None,
            sinks: None,
            params: Vec::new(),
            mechanism_params: Vec::new(),
            accumulate: false,
            workspace: None,
        }
    }

    /// By the query; of a layer that attends to itself, by query, key and value together.
    pub fn query(mut self, d_query: TensorMut<'g, T>) -> Self {
        self.query = Some(d_query);
        self
    }

    /// By the key; where the keys are the values, by both together.
    pub fn key(mut self, d_key: TensorMut<'g, T>) -> Self {
        self.key = Some(d_key);
        self
    }

    /// By the value, where it is not the key.
    pub fn value(mut self, d_value: TensorMut<'g, T>) -> Self {
        self.value = Some(d_value);
        self
    }

    /// By the bias, summed over what its dimensions of 1 are broadcast to.
    pub fn bias(mut self, d_bias: TensorMut<'g, T>) -> Self {
        self.bias = Some(d_bias);
        self
    }

    /// By the slopes of ALiBi \[Hq\].
    pub fn alibi(mut self, d_alibi: TensorMut<'g, T::Wide>) -> Self {
        self.alibi = Some(d_alibi);
        self
    }

    /// By the table of relative biases.
    pub fn relative(mut self, d_relative: TensorMut<'g, T::Wide>) -> Self {
        self.relative = Some(d_relative);
        self
    }

    /// By the sinks \[Hq\]; not beside a gradient by the weights.
    pub fn sinks(mut self, d_sinks: TensorMut<'g, T::Wide>) -> Self {
        self.sinks = Some(d_sinks);
        self
    }

    /// By a parameter, of the mechanism or, of a layer's gradients, of the layer.
    pub fn param(mut self, name: &'g str, d_param: TensorMut<'g, T::Wide>) -> Self {
        self.params.push((name, d_param.into()));
        self
    }

    /// By a parameter that is bound in the type of the inputs, where that has 16 bits.
    pub fn half_param(mut self, name: &'g str, d_param: TensorMut<'g, T>) -> Self {
        self.params.push((name, d_param.into()));
        self
    }

    /// By a parameter of the mechanism that a layer is around.
    pub fn mechanism_param(mut self, name: &'g str, d_param: TensorMut<'g, T::Wide>) -> Self {
        self.mechanism_params.push((name, d_param.into()));
        self
    }

    /// The same of one that is bound in the type of the inputs, where that has 16 bits.
    pub fn half_mechanism_param(mut self, name: &'g str, d_param: TensorMut<'g, T>) -> Self {
        self.mechanism_params.push((name, d_param.into()));
        self
    }

    /// They are added to what is there, not written over it.
    pub fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }

    /// Scratch that is kept.
    pub fn workspace(mut self, workspace: &'g mut Workspace) -> Self {
        self.workspace = Some(workspace);
        self
    }
}

/// A pointer for each parameter in the library's order, null for those by which no gradient is wanted; none at all where
/// there is none.
pub(crate) fn ordered(
    owner: &str,
    gradients: &[(&str, ParamViewMut<'_>)],
    infos: impl FnOnce() -> Result<Vec<ParamInfo>>,
) -> Result<Vec<*const sys::attn_tensor>> {
    if gradients.is_empty() {
        return Ok(Vec::new());
    }
    let infos = infos()?;
    let mut ordered: Vec<*const sys::attn_tensor> = vec![ptr::null(); infos.len()];
    let refused = |sentence| Err(Error::new(Status::Parameter, sentence));
    for (name, tensor) in gradients {
        match infos.iter().position(|info| info.name == *name) {
            Some(at) if ordered[at].is_null() => ordered[at] = ptr::addr_of!(tensor.raw),
            Some(_) => return refused(format!("a gradient is wanted by {name:?} twice")),
            None => {
                return refused(format!(
                    "a gradient is wanted by {name:?}, but {owner} has no such parameter"
                ))
            }
        }
    }
    Ok(ordered)
}

/// The library's pointer to so many pointers.
pub(crate) fn pointers(ordered: &[*const sys::attn_tensor]) -> *const *const sys::attn_tensor {
    if ordered.is_empty() {
        return ptr::null();
    }
    ordered.as_ptr()
}

impl Mechanism {
    /// Computes gradients of a loss by what [`forward`](Self::forward) read, from those by what it wrote. Context and
    /// log-sum-exp must be those of a forward call with the same inputs, or the gradients are of nothing.
    ///
    /// ```
    /// # fn main() -> attn::Result<()> {
    /// # use attn::*;
    /// let mechanism = Mechanism::dot(&Engine::new()?)?;
    /// let (q, k, d_context) = ([1.0f64, 2.0], [0.5, 0.25, -1.0, 1.0], [1.0, 1.0]);
    /// let (mut context, mut logsumexp, mut d_q) = ([0.0; 2], [0.0; 1], [0.0; 2]);
    /// let inputs = Inputs::new(Tensor::new(&q, &[1, 2])?).key(Tensor::new(&k, &[2, 2])?);
    /// let outputs = Outputs::new()
    ///     .context(TensorMut::new(&mut context, &[1, 2])?)
    ///     .logsumexp(TensorMut::new(&mut logsumexp, &[1])?);
    /// mechanism.forward(&inputs, outputs)?;
    /// let flow = Flow::new(Tensor::new(&logsumexp, &[1])?)
    ///     .context(Tensor::new(&context, &[1, 2])?, Tensor::new(&d_context, &[1, 2])?);
    /// mechanism.backward(&inputs, &flow, Gradients::new().query(TensorMut::new(&mut d_q, &[1, 2])?))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward). `Parameter`: a gradient by a parameter that there is not. `Unsupported`: hardmax, and
    /// a memory, have none; nor have sinks beside a gradient by the weights.
    pub fn backward<T: Float>(
        &self,
        inputs: &Inputs<'_, T>,
        flow: &Flow<'_, T>,
        gradients: Gradients<'_, T>,
    ) -> Result<()> {
        inputs.check_of_mechanism()?;
        let mut gradients = gradients;
        let mut forward = inputs.lay();
        forward.logsumexp = &flow.logsumexp.raw;
        let mut args = sys::attn_backward_args {
            accumulate: i32::from(gradients.accumulate),
            d_weights: pointer(&flow.d_weights),
            d_logsumexp: pointer(&flow.d_logsumexp),
            d_query: pointer(&gradients.query),
            d_key: pointer(&gradients.key),
            d_value: pointer(&gradients.value),
            d_bias: pointer(&gradients.bias),
            d_alibi: pointer(&gradients.alibi),
            d_relative: pointer(&gradients.relative),
            d_sinks: pointer(&gradients.sinks),
            ..Default::default()
        };
        if let Some([context, d_context]) = &flow.context {
            forward.context = &context.raw;
            args.d_context = &d_context.raw;
        }
        args.forward = &forward;
        if !gradients.mechanism_params.is_empty() {
            let sentence = "mechanism_param() is for layers; a mechanism's own are param()";
            return Err(Error::new(Status::Argument, sentence));
        }
        let params = ordered(self.name(), &gradients.params, || self.params())?;
        args.d_params = pointers(&params);
        let workspace = gradients.workspace.take();
        let _turn = inputs.memory.and_then(MemoryRef::read);
        // SAFETY: as in forward; there is a pointer for each parameter.
        workspace::with(
            workspace,
            |bytes| unsafe { sys::attn_backward_workspace(self.raw(), &args, bytes) },
            |workspace, workspace_size| {
                let args = sys::attn_backward_args {
                    workspace,
                    workspace_size,
                    ..args
                };
                unsafe { sys::attn_backward(self.raw(), &args) }
            },
        )
    }
}

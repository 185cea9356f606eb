// SPDX-License-Identifier: BSD-3-Clause
//! Projections around a mechanism (Vaswani 2017): a layer of heads, its gradients, and decoding with it.

use crate::backward::{ordered, pointers, Gradients};
use crate::element::{Float, Stored};
use crate::error::{check, Error, Result, Status};
use crate::forward::{Inputs, Outputs};
use crate::handle::handle;
use crate::layout::size;
use crate::mechanism::Mechanism;
use crate::memory::{Memory, MemoryOptions, MemoryRef};
use crate::param::{parametric, Bound};
use crate::position::Rope;
use crate::saved::Saved;
use crate::tensor::{pointer, Tensor};
use crate::workspace;
use attn_sys as sys;
use std::fmt;
use std::ptr;
use std::sync::Arc;

/// The sizes of a layer. Those that are not said are 0, and stand for: key_heads for query_heads; key_dim and output_dim
/// for query_dim; value_dim for key_dim; head_dim for query_dim / query_heads; value_head_dim for head_dim.
///
/// ```
/// use attn::MultiHeadOptions;
/// let grouped = MultiHeadOptions { key_heads: 2, bias: true, ..MultiHeadOptions::new(512, 8) };
/// # let _ = grouped;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MultiHeadOptions {
    /// Of x.
    pub query_dim: usize,
    /// At least 1.
    pub query_heads: usize,
    /// Divides query_heads (grouped heads: Ainslie 2023).
    pub key_heads: usize,
    /// Of y.
    pub key_dim: usize,
    /// Of z.
    pub value_dim: usize,
    /// Of a projected query and key.
    pub head_dim: usize,
    /// Of a projected value.
    pub value_head_dim: usize,
    /// Of what comes out.
    pub output_dim: usize,
    /// There are b_q, b_k, b_v and b_o.
    pub bias: bool,
    /// W_q, W_k, W_v are one parameter W_qkv, below each other, and b_qkv likewise; x, y and z have one dimension.
    pub packed: bool,
    /// Projected queries and keys are turned by their positions: those of the inputs, or that they have by themselves.
    pub rope: Option<Rope>,
}

impl MultiHeadOptions {
    /// So many heads for inputs of one dimension, without biases.
    pub fn new(query_dim: usize, query_heads: usize) -> Self {
        Self {
            query_dim,
            query_heads,
            ..Self::default()
        }
    }
}

/// What flows back into a layer, at least one; and what its forward pass has saved, without which that is computed again.
#[derive(Clone, Copy, Debug)]
pub struct MultiHeadFlow<'a, T: Float> {
    saved: Option<&'a Saved>,
    d_output: Option<Tensor<'a, T>>,
    d_weights: Option<Tensor<'a, T::Wide>>,
    d_logsumexp: Option<Tensor<'a, T::Wide>>,
}

impl<T: Float> Default for MultiHeadFlow<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T: Float> MultiHeadFlow<'a, T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            saved: None,
            d_output: None,
            d_weights: None,
            d_logsumexp: None,
        }
    }

    /// What the forward call with the same inputs has saved.
    pub fn saved(mut self, saved: &'a Saved) -> Self {
        self.saved = Some(saved);
        self
    }

    /// The loss's gradient by the output [B, Tq, output_dim].
    pub fn output(mut self, d_output: Tensor<'a, T>) -> Self {
        self.d_output = Some(d_output);
        self
    }

    /// The loss's gradient by the weights [B, Hq, Tq, Tk].
    pub fn weights(mut self, d_weights: Tensor<'a, T::Wide>) -> Self {
        self.d_weights = Some(d_weights);
        self
    }

    /// The loss's gradient by the log-sum-exp [B, Hq, Tq].
    pub fn logsumexp(mut self, d_logsumexp: Tensor<'a, T::Wide>) -> Self {
        self.d_logsumexp = Some(d_logsumexp);
        self
    }
}

/// A layer of heads: queries x, keys y and values z are projected and cut into heads that attend by themselves; the heads'
/// contexts are joined and projected once more. Each W is [outputs, inputs], as the weights of linear layers are stored
/// elsewhere.
///
/// Its parameters are W_q, W_k, W_v, W_o, then b_q, b_k, b_v, b_o; packed: W_qkv, W_o, b_qkv, b_o.
///
/// It is `Send` and `Sync`, like the mechanism that it holds, and which therefore nobody else can change.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// # use attn::*; use std::sync::Arc;
/// let mechanism = Arc::new(Mechanism::scaled_dot(&Engine::new()?)?);
/// let mut layer = MultiHead::new(mechanism, MultiHeadOptions::new(8, 2))?;
/// for info in layer.params()? {
///     layer.bind(info.name, vec![0.1f32; info.elements])?;
/// }
/// let (x, mut y) = ([1.0f32; 3 * 8], [0.0; 3 * 8]);
/// let inputs = Inputs::new(Tensor::new(&x, &[3, 8])?); // self-attention
/// layer.forward(&inputs, Outputs::new().output(TensorMut::new(&mut y, &[3, 8])?))?;
/// # Ok(()) }
/// ```
pub struct MultiHead {
    raw: Raw,
    bound: Bound, // these two are dropped after the handle is destroyed
    mechanism: Arc<Mechanism>,
    options: MultiHeadOptions,
}

handle!(Raw, attn_multihead, attn_multihead_destroy);
parametric!(
    MultiHead,
    Raw,
    attn_multihead_param_count,
    attn_multihead_param_info,
    attn_multihead_bind_param
);

impl fmt::Debug for MultiHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiHead")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What it is.
impl MultiHead {
    /// Creates a layer around a mechanism of any score that takes queries and keys of head_dim.
    ///
    /// # Errors
    ///
    /// `Argument`: a size of 0 where that stands for nothing. `Shape`: heads that do not divide, packed weights for unequal
    /// dimensions, a mechanism that was made for others than head_dim. What [`Engine::rope`](crate::Engine::rope) refuses.
    /// `Overflow`, `OutOfMemory`.
    pub fn new(mechanism: impl Into<Arc<Mechanism>>, options: MultiHeadOptions) -> Result<Self> {
        let mechanism = mechanism.into();
        let mut flags = 0;
        if options.bias {
            flags |= sys::ATTN_MULTIHEAD_BIAS;
        }
        if options.packed {
            flags |= sys::ATTN_MULTIHEAD_PACKED;
        }
        let rope = options.rope.map(|rope| rope.options());
        let given = sys::attn_multihead_options {
            flags,
            rope: rope.as_ref().map_or(ptr::null(), |rope| rope),
            query_heads: size(options.query_heads),
            key_heads: size(options.key_heads),
            query_dim: size(options.query_dim),
            key_dim: size(options.key_dim),
            value_dim: size(options.value_dim),
            head_dim: size(options.head_dim),
            value_head_dim: size(options.value_head_dim),
            output_dim: size(options.output_dim),
            ..Default::default()
        };
        let mut handle = ptr::null_mut();
        // SAFETY: the mechanism is kept until the layer is destroyed.
        check(unsafe { sys::attn_multihead_create(mechanism.raw(), &given, &mut handle) })?;
        Ok(Self {
            raw: Raw::own(handle),
            bound: Bound::default(),
            mechanism,
            options,
        })
    }

    #[inline]
    fn raw(&self) -> *mut sys::attn_multihead {
        self.raw.0.as_ptr()
    }

    /// The mechanism that it is around.
    pub fn mechanism(&self) -> &Arc<Mechanism> {
        &self.mechanism
    }

    /// A parameter of the mechanism, to be changed: a step of training.
    ///
    /// # Errors
    ///
    /// `Argument`: others hold the mechanism too, a memory for example, or the parameter is shared. `Parameter`, `DType`: as
    /// [`Mechanism::param_mut`].
    pub fn mechanism_param_mut<T: Float>(&mut self, name: &str) -> Result<&mut [T]> {
        match Arc::get_mut(&mut self.mechanism) {
            Some(mechanism) => mechanism.param_mut(name),
            None => {
                let sentence = "others hold the layer's mechanism, and may be using it";
                Err(Error::new(Status::Argument, sentence))
            }
        }
    }

    /// An empty memory for decoding with this layer: so many sequences, with room for so many positions at first.
    ///
    /// # Errors
    ///
    /// As [`Memory::new`].
    pub fn memory<T: Stored>(&self, batch: usize, capacity: usize) -> Result<Memory<T>> {
        let or = |size: usize, otherwise: usize| if size > 0 { size } else { otherwise };
        let o = &self.options;
        let head_dim = or(o.head_dim, o.query_dim / o.query_heads);
        let options = MemoryOptions::new(head_dim)
            .value_dim(or(o.value_head_dim, head_dim))
            .key_heads(or(o.key_heads, o.query_heads));
        Memory::new(&self.mechanism, options.batch(batch).capacity(capacity))
    }
}

/// The arguments of a layer's call for these inputs. `attention` is to be filled, and to stay where it is.
fn lay<T: Float>(
    inputs: &Inputs<'_, T>,
    attention: &sys::attn_forward_args,
) -> sys::attn_multihead_args {
    sys::attn_multihead_args {
        attend_only: i32::from(inputs.memory.is_some()),
        query: &inputs.query.raw,
        key: pointer(&inputs.key),
        value: pointer(&inputs.value),
        attention,
        positions: pointer(&inputs.positions),
        key_positions: pointer(&inputs.key_positions),
        // Only ever read: with attend_only nothing is appended.
        memory: inputs
            .memory
            .map_or(ptr::null_mut(), |memory| memory.raw() as *mut _),
        ..Default::default()
    }
}

/// What it computes.
impl MultiHead {
    /// Computes the layer: its output [B, Tq, output_dim], which must be wanted; weights and scores [B, Hq, Tq, Tk], the
    /// log-sum-exp [B, Hq, Tq]. Keys that are not given are the queries, values the keys. Over a memory of the inputs'
    /// nothing is projected to keys and values, nor appended: [`decode`](Self::decode) does. Of a
    /// [ragged batch](Inputs::query_offsets) x is [1, all of them, query_dim], and the queries' offsets are the keys' too where
    /// these are not given.
    ///
    /// # Errors
    ///
    /// As [`Mechanism::forward`]. `Unsupported`: a memory that is not of dot, scaled dot or general, or turns its keys.
    pub fn forward<T: Float>(&self, inputs: &Inputs<'_, T>, outputs: Outputs<'_, T>) -> Result<()> {
        let mut attention = inputs.lay_modifiers();
        let _turn = inputs.memory.and_then(MemoryRef::read);
        self.run(&mut attention, outputs, |attention| lay(inputs, attention))
    }

    /// Computes the layer for a sequence that goes on: what it projects to keys and values is appended to a memory (made by
    /// [`memory`](Self::memory)), then all of that is attended to. Causal and aligned bottom-right, what comes out is what
    /// the whole sequence at once would give. The inputs have no memory and no lengths.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward), `Buffer`: the memory's capacity is fixed, and full. What fails has appended nothing.
    pub fn decode<T: Float, M: Stored>(
        &self,
        memory: &mut Memory<M>,
        inputs: &Inputs<'_, T>,
        outputs: Outputs<'_, T>,
    ) -> Result<()> {
        if inputs.memory.is_some() {
            let sentence = "there is a memory among the inputs too";
            return Err(Error::new(Status::Argument, sentence));
        }
        let mut attention = inputs.lay_modifiers();
        let (memory, _turn) = memory.raw_mut();
        let args = |attention: &sys::attn_forward_args| sys::attn_multihead_args {
            memory,
            ..lay(inputs, attention)
        };
        self.run(&mut attention, outputs, args)
    }

    fn run<T: Float>(
        &self,
        attention: &mut sys::attn_forward_args,
        outputs: Outputs<'_, T>,
        args: impl FnOnce(&sys::attn_forward_args) -> sys::attn_multihead_args,
    ) -> Result<()> {
        let mut outputs = outputs;
        outputs.lay(attention);
        attention.context = ptr::null();
        let (workspace, saved) = (outputs.workspace.take(), outputs.saved.take());
        let mut args = args(attention);
        if let Some(saved) = saved {
            args.saved = saved.pointer();
            args.saved_size = saved.size();
        }
        args.output = pointer(&outputs.context);
        // SAFETY: the arguments point to views of slices that are borrowed for the call, those that are written mutably, and
        // so is a memory that is appended to; a workspace and what is saved are as large as they say.
        workspace::with(
            workspace,
            |bytes| unsafe { sys::attn_multihead_workspace(self.raw(), &args, bytes) },
            |workspace, workspace_size| {
                let args = sys::attn_multihead_args {
                    workspace,
                    workspace_size,
                    ..args
                };
                unsafe { sys::attn_multihead_forward(self.raw(), &args) }
            },
        )
    }

    /// Room for what the forward pass of these inputs saves: projected queries, keys and values, the heads' contexts and
    /// log-sum-exp. It serves for all inputs of these shapes.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn saved<T: Float>(&self, inputs: &Inputs<'_, T>) -> Result<Saved> {
        let attention = inputs.lay_modifiers();
        let (args, mut size) = (lay(inputs, &attention), 0);
        let _turn = inputs.memory.and_then(MemoryRef::read);
        // SAFETY: as in run.
        check(unsafe { sys::attn_multihead_saved(self.raw(), &args, &mut size) })?;
        Saved::of(size)
    }

    /// Computes gradients of a loss by what [`forward`](Self::forward) read, from those by what it wrote.
    ///
    /// # Errors
    ///
    /// As [`Mechanism::backward`]. `Buffer`: what was saved is of smaller inputs.
    pub fn backward<T: Float>(
        &self,
        inputs: &Inputs<'_, T>,
        flow: &MultiHeadFlow<'_, T>,
        gradients: Gradients<'_, T>,
    ) -> Result<()> {
        let mut gradients = gradients;
        let attention = inputs.lay_modifiers();
        let mut forward = lay(inputs, &attention);
        if let Some(saved) = flow.saved {
            forward.saved = saved.pointer_to_read();
            forward.saved_size = saved.size();
        }
        let params = ordered("the layer", &gradients.params, || self.params())?;
        let inner = ordered(self.mechanism.name(), &gradients.mechanism_params, || {
            self.mechanism.params()
        })?;
        let workspace = gradients.workspace.take();
        let args = sys::attn_multihead_backward_args {
            accumulate: i32::from(gradients.accumulate),
            forward: &forward,
            d_output: pointer(&flow.d_output),
            d_weights: pointer(&flow.d_weights),
            d_logsumexp: pointer(&flow.d_logsumexp),
            d_query: pointer(&gradients.query),
            d_key: pointer(&gradients.key),
            d_value: pointer(&gradients.value),
            d_bias: pointer(&gradients.bias),
            d_alibi: pointer(&gradients.alibi),
            d_relative: pointer(&gradients.relative),
            d_sinks: pointer(&gradients.sinks),
            d_params: pointers(&params),
            d_mechanism_params: pointers(&inner),
            ..Default::default()
        };
        let _turn = inputs.memory.and_then(MemoryRef::read);
        // SAFETY: as in run; there is a pointer for each parameter.
        workspace::with(
            workspace,
            |bytes| unsafe { sys::attn_multihead_backward_workspace(self.raw(), &args, bytes) },
            |workspace, workspace_size| {
                let args = sys::attn_multihead_backward_args {
                    workspace,
                    workspace_size,
                    ..args
                };
                unsafe { sys::attn_multihead_backward(self.raw(), &args) }
            },
        )
    }
}

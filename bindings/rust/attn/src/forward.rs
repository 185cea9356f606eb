// SPDX-License-Identifier: BSD-3-Clause
//! The verb: what attention reads, what it writes, and the call.

use crate::element::{Float, Stored};
use crate::error::{Error, Result, Status};
use crate::mechanism::Mechanism;
use crate::memory::{Memory, MemoryRef};
use crate::saved::Saved;
use crate::tensor::{pointer, Indices, LogSumExpMut, Rows, Tensor, TensorMut};
use crate::workspace::{self, Workspace};
use attn_sys as sys;
use std::fmt;
use std::ptr;

/// What attention reads. B batch, Hq and Hk heads of query and of key (Hq a multiple of Hk), Tq and Tk lengths, Dq, Dk, Dv
/// dimensions; a tensor of lower rank stands for one whose leading dimensions are 1. It is `Copy`: what went forward goes
/// backward.
///
/// For a [`MultiHead`](crate::MultiHead) the query is x [B, Tq, query_dim], the key y [B, Tk, key_dim], the value z [B, Tk,
/// value_dim].
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T: Float> {
    pub(crate) query: Tensor<'a, T>,
    pub(crate) key: Option<Rows<'a>>,
    pub(crate) value: Option<Rows<'a>>,
    pub(crate) key_scales: Option<Tensor<'a, f32>>,
    pub(crate) value_scales: Option<Tensor<'a, f32>>,
    pub(crate) mask: Option<Tensor<'a, bool>>,
    pub(crate) bias: Option<Tensor<'a, T>>,
    pub(crate) key_lengths: Option<Indices<'a>>,
    pub(crate) query_offsets: Option<Indices<'a>>,
    pub(crate) key_offsets: Option<Indices<'a>>,
    pub(crate) page_table: Option<Indices<'a>>,
    pub(crate) page_offsets: Option<Indices<'a>>,
    mask_align: sys::attn_align,
    pub(crate) memory: Option<MemoryRef<'a>>,
    pub(crate) positions: Option<Indices<'a>>,
    pub(crate) key_positions: Option<Indices<'a>>,
    query_start: i64,
    dropout: f64,
    seed: u64,
    offset: u64,
}

impl<'a, T: Float> Inputs<'a, T> {
    /// Queries [B, Hq, Tq, Dq]. Keys or a memory are to come, but for location, and for layers that attend to themselves.
    pub fn new(query: Tensor<'a, T>) -> Self {
        Self {
            query,
            key: None,
            value: None,
            key_scales: None,
            value_scales: None,
            mask: None,
            bias: None,
            key_lengths: None,
            query_offsets: None,
            key_offsets: None,
            page_table: None,
            page_offsets: None,
            mask_align: sys::ATTN_ALIGN_NONE,
            memory: None,
            positions: None,
            key_positions: None,
            query_start: 0,
            dropout: 0.0,
            seed: 0,
            offset: 0,
        }
    }

    /// Keys [B, Hk, Tk, Dk], which are the values too unless there are others.
    pub fn key(mut self, key: Tensor<'a, T>) -> Self {
        (self.key, self.key_scales) = (Some(key.into()), None);
        self
    }

    /// Values [B, Hk, Tk, Dv].
    pub fn value(mut self, value: Tensor<'a, T>) -> Self {
        (self.value, self.value_scales) = (Some(value.into()), None);
        self
    }

    /// Keys of 8 bits [B, Hk, Tk, Dk], and what each row of them is to be multiplied by [B, Hk, Tk]: in place of
    /// [`key`](Self::key). Not for gradients, nor beside queries of `f64`.
    ///
    /// ```
    /// # fn main() -> attn::Result<()> {
    /// # use attn::*;
    /// let mechanism = Mechanism::dot(&Engine::new()?)?;
    /// let (query, keys, scales) = ([1.0f32, 0.0], [127i8, 0, 0, 127], [1.0 / 127.0; 2]); // (1, 0) and (0, 1)
    /// let mut weights = [0.0; 2];
    /// let inputs = Inputs::new(Tensor::new(&query, &[1, 2])?)
    ///     .quantised_key(Tensor::new(&keys, &[2, 2])?, Tensor::new(&scales, &[2])?);
    /// mechanism.forward(&inputs, Outputs::new().weights(TensorMut::new(&mut weights, &[1, 2])?))?;
    /// assert!((weights[0] / weights[1] - 1f32.exp()).abs() < 1e-5);
    /// # Ok(()) }
    /// ```
    pub fn quantised_key(mut self, key: Tensor<'a, i8>, scales: Tensor<'a, f32>) -> Self {
        (self.key, self.key_scales) = (Some(key.into()), Some(scales));
        self
    }

    /// Values of 8 bits [B, Hk, Tk, Dv], and what each row of them is to be multiplied by [B, Hk, Tk].
    pub fn quantised_value(mut self, value: Tensor<'a, i8>, scales: Tensor<'a, f32>) -> Self {
        (self.value, self.value_scales) = (Some(value.into()), Some(scales));
        self
    }

    /// A memory in place of keys, values and lengths, kept in whatever type; a layer attends to it, and appends nothing. Not
    /// for gradients.
    pub fn memory<M: Stored>(mut self, memory: &'a Memory<M>) -> Self {
        self.memory = Some(memory.into());
        self
    }

    /// Which keys may be seen: true may. Broadcasts to [B, Hq, Tq, Tk].
    pub fn mask(mut self, mask: Tensor<'a, bool>) -> Self {
        (self.mask, self.mask_align) = (Some(mask), sys::ATTN_ALIGN_NONE);
        self
    }

    /// Which of the last n keys of each sequence may be seen, those before them being visible: a tree of guesses. Broadcasts
    /// to [B, Hq, Tq, n]. In place of [`mask`](Self::mask).
    pub fn mask_of_last_keys(mut self, mask: Tensor<'a, bool>) -> Self {
        (self.mask, self.mask_align) = (Some(mask), sys::ATTN_ALIGN_BOTTOM_RIGHT);
        self
    }

    /// Is added to the scores. Broadcasts to [B, Hq, Tq, Tk].
    pub fn bias(mut self, bias: Tensor<'a, T>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// The valid keys of each sequence \[B\], 0 to Tk.
    pub fn key_lengths(mut self, key_lengths: impl Into<Indices<'a>>) -> Self {
        self.key_lengths = Some(key_lengths.into());
        self
    }

    /// A ragged batch, without padding \[B + 1\]: the queries lie one behind the other [1, Hq, all of them, Dq], and sequence
    /// b has rows `offsets[b]` to `offsets[b + 1]`, as what is said of them has. It gets the bits that it would get alone.
    ///
    /// ```
    /// # fn main() -> attn::Result<()> {
    /// # use attn::*;
    /// let mechanism = Mechanism::dot(&Engine::new()?)?;
    /// let (query, keys) = ([0.0f32, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
    /// let mut context = [0.0; 3];
    /// let inputs = Inputs::new(Tensor::new(&query, &[3, 1])?)
    ///     .key(Tensor::new(&keys, &[5, 1])?)
    ///     .query_offsets(&[0, 1, 3]) // 1 query of 2 keys, 2 queries of 3
    ///     .key_offsets(&[0, 2, 5]);
    /// mechanism.forward(&inputs, Outputs::new().context(TensorMut::new(&mut context, &[3, 1])?))?;
    /// assert!((context[0] - 1.5).abs() < 1e-6);
    /// # Ok(()) }
    /// ```
    pub fn query_offsets(mut self, offsets: impl Into<Indices<'a>>) -> Self {
        self.query_offsets = Some(offsets.into());
        self
    }

    /// Likewise of the keys and values \[B + 1\], [1, Hk, all of them, Dk]; columns of a mask, a bias, weights or scores count
    /// from each sequence's own first key.
    pub fn key_offsets(mut self, offsets: impl Into<Indices<'a>>) -> Self {
        self.key_offsets = Some(offsets.into());
        self
    }

    /// The pages of each sequence [B, most]: keys and values are N pages [N, Hk, page, Dk] then, and there are lengths. Not for
    /// gradients.
    pub fn page_table(mut self, table: impl Into<Indices<'a>>) -> Self {
        self.page_table = Some(table.into());
        self
    }

    /// Which entries of the page table, \[all\] then, are whose \[B + 1\].
    pub fn page_offsets(mut self, offsets: impl Into<Indices<'a>>) -> Self {
        self.page_offsets = Some(offsets.into());
        self
    }

    /// The position of query 0 for [`Align::TopLeft`](crate::Align): how many keys there are in a cache already.
    pub fn query_start(mut self, query_start: i64) -> Self {
        self.query_start = query_start;
        self
    }

    /// Where a layer with [`rope`](crate::MultiHeadOptions::rope) turns queries to, and in self-attention keys: [B, Tq], or \[Tq\]
    /// for all sequences, of a ragged batch \[rows\]. Otherwise sequences begin at 0, or where the memory's end; other queries than
    /// self-attention's at [`query_start`](Self::query_start). For layers alone.
    pub fn positions(mut self, positions: impl Into<Indices<'a>>) -> Self {
        self.positions = Some(positions.into());
        self
    }

    /// Likewise the keys, where they are not the queries.
    pub fn key_positions(mut self, positions: impl Into<Indices<'a>>) -> Self {
        self.key_positions = Some(positions.into());
        self
    }

    /// Each weight becomes 0 with this probability, 0 to below 1, the others being divided by 1 - probability. Seed and
    /// offset say which: a caller who draws again adds B Hq Tq to the offset.
    pub fn dropout(mut self, probability: f64, seed: u64, offset: u64) -> Self {
        self.dropout = probability;
        self.seed = seed;
        self.offset = offset;
        self
    }

    /// That nothing is to be turned, which layers alone do.
    pub(crate) fn check_of_mechanism(&self) -> Result<()> {
        if self.positions.is_none() && self.key_positions.is_none() {
            return Ok(());
        }
        let sentence = "a mechanism turns nothing by positions; layers do, and Engine::rope";
        Err(Error::new(Status::Argument, sentence))
    }

    /// Whether any of them says where sequences lie.
    pub(crate) fn has_places(&self) -> bool {
        self.query_offsets.is_some()
            || self.key_offsets.is_some()
            || self.page_table.is_some()
            || self.page_offsets.is_some()
    }

    /// What is asked of the heads of a layer, or of attention itself but for query, key, value and memory.
    pub(crate) fn lay_modifiers(&self) -> sys::attn_forward_args {
        sys::attn_forward_args {
            mask: pointer(&self.mask),
            bias: pointer(&self.bias),
            key_lengths: pointer(&self.key_lengths),
            query_offsets: pointer(&self.query_offsets),
            key_offsets: pointer(&self.key_offsets),
            mask_align: self.mask_align,
            page_table: pointer(&self.page_table),
            page_offsets: pointer(&self.page_offsets),
            query_start: self.query_start,
            dropout: self.dropout,
            dropout_seed: self.seed,
            dropout_offset: self.offset,
            ..Default::default()
        }
    }

    /// The library's arguments, which point into self.
    #[inline]
    pub(crate) fn lay(&self) -> sys::attn_forward_args {
        sys::attn_forward_args {
            query: &self.query.raw,
            key: pointer(&self.key),
            value: pointer(&self.value),
            key_scales: pointer(&self.key_scales),
            value_scales: pointer(&self.value_scales),
            memory: self.memory.map_or(ptr::null(), MemoryRef::raw),
            ..self.lay_modifiers()
        }
    }
}

/// Which scores are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the scale.
    Raw,
    /// After the softcap.
    Capped,
    /// After biases, and minus infinity where the key may not be seen.
    Masked,
    /// After the normaliser: the weights.
    Weights,
}

impl Stage {
    fn raw(self) -> sys::attn_scores_stage {
        match self {
            Self::Raw => sys::ATTN_SCORES_RAW,
            Self::Capped => sys::ATTN_SCORES_CAPPED,
            Self::Masked => sys::ATTN_SCORES_MASKED,
            Self::Weights => sys::ATTN_SCORES_WEIGHTS,
        }
    }
}

/// What a call tells of its weights, before dropout, without a tensor of them; each of the three may be left out.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// # use attn::*;
/// let mechanism = Mechanism::dot(&Engine::new()?)?;
/// let (query, keys) = ([0.0f64; 2], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
/// let (mut entropy, mut strongest, mut sums) = ([9.0], [9], [9.0; 3]);
/// let stats = Stats::new()
///     .entropy(TensorMut::new(&mut entropy, &[1])?)
///     .strongest(TensorMut::new(&mut strongest, &[1])?)
///     .key_sums(TensorMut::new(&mut sums, &[3])?);
/// let inputs = Inputs::new(Tensor::new(&query, &[1, 2])?).key(Tensor::new(&keys, &[3, 2])?);
/// mechanism.forward(&inputs, Outputs::new().stats(stats))?;
/// assert!((entropy[0].exp() - 3.0).abs() < 1e-12); // so many keys are looked at
/// assert_eq!(strongest[0], 0);
/// assert!((sums[2] - 1.0 / 3.0).abs() < 1e-12);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Stats<'o, T: Float> {
    entropy: Option<TensorMut<'o, T::Wide>>,
    strongest: Option<TensorMut<'o, i64>>,
    key_sums: Option<TensorMut<'o, T::Wide>>,
}

impl<T: Float> Default for Stats<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'o, T: Float> Stats<'o, T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            entropy: None,
            strongest: None,
            key_sums: None,
        }
    }

    /// The entropy of each row of weights [B, Hq, Tq], in nats; its exponential is the effective number of keys.
    pub fn entropy(mut self, entropy: TensorMut<'o, T::Wide>) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// The key of the greatest weight of each row [B, Hq, Tq], the first of several; -1 where no key is seen.
    pub fn strongest(mut self, strongest: TensorMut<'o, i64>) -> Self {
        self.strongest = Some(strongest);
        self
    }

    /// The sum of the weights of each key [B, Hq, Tk], over the queries.
    pub fn key_sums(mut self, key_sums: TensorMut<'o, T::Wide>) -> Self {
        self.key_sums = Some(key_sums);
        self
    }

    /// The library's struct, which points into self.
    fn lay(&self) -> sys::attn_weights_stats {
        sys::attn_weights_stats {
            entropy: pointer(&self.entropy),
            strongest: pointer(&self.strongest),
            key_sums: pointer(&self.key_sums),
            ..Default::default()
        }
    }
}

/// The library's struct of stats, in the same place as what it points to.
struct LaidStats(sys::attn_weights_stats);

impl fmt::Debug for LaidStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaidStats")
    }
}

/// What attention writes: context, weights, scores, log-sum-exp, stats, at least one of them. The context is of the inputs'
/// type, the rest of [`Float::Wide`].
#[derive(Debug)]
pub struct Outputs<'o, T: Float> {
    pub(crate) context: Option<TensorMut<'o, T>>,
    pub(crate) weights: Option<TensorMut<'o, T::Wide>>,
    pub(crate) scores: Option<TensorMut<'o, T::Wide>>,
    pub(crate) logsumexp: Option<LogSumExpMut<'o>>,
    stage: Stage,
    pub(crate) stats: Option<Stats<'o, T>>,
    laid_stats: LaidStats,
    pub(crate) saved: Option<&'o mut Saved>,
    pub(crate) workspace: Option<&'o mut Workspace>,
}

impl<T: Float> Default for Outputs<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'o, T: Float> Outputs<'o, T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            context: None,
            weights: None,
            scores: None,
            logsumexp: None,
            stage: Stage::Raw,
            stats: None,
            laid_stats: LaidStats(Default::default()),
            saved: None,
            workspace: None,
        }
    }

    /// The context [B, Hq, Tq, Dv].
    pub fn context(mut self, context: TensorMut<'o, T>) -> Self {
        self.context = Some(context);
        self
    }

    /// The output of a layer [B, Tq, output_dim], which has no context.
    pub fn output(self, output: TensorMut<'o, T>) -> Self {
        self.context(output)
    }

    /// What the backward pass of a layer will read.
    pub fn saved(mut self, saved: &'o mut Saved) -> Self {
        self.saved = Some(saved);
        self
    }

    /// The weights [B, Hq, Tq, Tk].
    pub fn weights(mut self, weights: TensorMut<'o, T::Wide>) -> Self {
        self.weights = Some(weights);
        self
    }

    /// The scores [B, Hq, Tq, Tk] at a stage.
    pub fn scores(mut self, stage: Stage, scores: TensorMut<'o, T::Wide>) -> Self {
        self.scores = Some(scores);
        self.stage = stage;
        self
    }

    /// The logarithm of the sum of exp(e / tau) over the keys [B, Hq, Tq]; gradients need it, and are most exact from one
    /// in float64, which calls that are computed in float32 write too.
    pub fn logsumexp(mut self, logsumexp: impl Into<LogSumExpMut<'o>>) -> Self {
        self.logsumexp = Some(logsumexp.into());
        self
    }

    /// What the weights say; of the heads of a layer, too. Not of a [`Call`](crate::Call).
    pub fn stats(mut self, stats: Stats<'o, T>) -> Self {
        self.stats = Some(stats);
        self
    }

    /// Scratch that is kept.
    pub fn workspace(mut self, workspace: &'o mut Workspace) -> Self {
        self.workspace = Some(workspace);
        self
    }

    /// That nothing is to be saved, which layers alone do.
    pub(crate) fn check_of_mechanism(&self) -> Result<()> {
        if self.saved.is_none() {
            return Ok(());
        }
        let sentence = "a mechanism saves nothing for its backward pass; layers do";
        Err(Error::new(Status::Argument, sentence))
    }

    /// Adds what is written to the library's arguments, which point into self then.
    #[inline]
    pub(crate) fn lay(&mut self, args: &mut sys::attn_forward_args) {
        if let Some(stats) = &self.stats {
            self.laid_stats.0 = stats.lay();
            args.stats = &self.laid_stats.0;
        }
        args.context = pointer(&self.context);
        args.weights = pointer(&self.weights);
        args.scores = pointer(&self.scores);
        args.logsumexp = self
            .logsumexp
            .as_ref()
            .map_or(ptr::null(), |logsumexp| &logsumexp.raw);
        args.scores_stage = self.stage.raw();
    }
}

impl Mechanism {
    /// Computes attention: context, weights, scores, log-sum-exp, whichever are asked for.
    ///
    /// A key that may not be seen contributes exactly nothing; a query that sees none has context 0, weights 0, log-sum-exp
    /// minus infinity. The result has the same bits for any number of threads.
    ///
    /// ```
    /// # fn main() -> attn::Result<()> {
    /// # use attn::*;
    /// let mechanism = Mechanism::dot(&Engine::new()?)?;
    /// let (query, keys, values) = ([1.0f32, 0.0], [1.0, 0.0, 0.0, 1.0], [10.0, 20.0]);
    /// let mut context = [0.0];
    /// let inputs = Inputs::new(Tensor::new(&query, &[1, 2])?)
    ///     .key(Tensor::new(&keys, &[2, 2])?)
    ///     .value(Tensor::new(&values, &[2, 1])?);
    /// mechanism.forward(&inputs, Outputs::new().context(TensorMut::new(&mut context, &[1, 1])?))?;
    /// assert!((context[0] - (10.0 * 1f32.exp() + 20.0) / (1f32.exp() + 1.0)).abs() < 1e-5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// `Argument`, `Shape`, `Overlap`, `Overflow`, `Parameter`, `OutOfMemory`. `DType`: parameters of the other type. What
    /// is refused has written nothing.
    pub fn forward<T: Float>(&self, inputs: &Inputs<'_, T>, outputs: Outputs<'_, T>) -> Result<()> {
        let mut outputs = outputs;
        outputs.check_of_mechanism()?;
        inputs.check_of_mechanism()?;
        let mut args = inputs.lay();
        outputs.lay(&mut args);
        let workspace = outputs.workspace.take();
        let _turn = inputs.memory.and_then(MemoryRef::read);
        // SAFETY: the arguments point to views of slices that are borrowed for the call, those that are written mutably;
        // a workspace is as large as it says.
        workspace::with(
            workspace,
            |bytes| unsafe { sys::attn_forward_workspace(self.raw(), &args, bytes) },
            |workspace, workspace_size| {
                let args = sys::attn_forward_args {
                    workspace,
                    workspace_size,
                    ..args
                };
                unsafe { sys::attn_forward(self.raw(), &args) }
            },
        )
    }
}

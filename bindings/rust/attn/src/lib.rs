// SPDX-License-Identifier: BSD-3-Clause
//! Attention on CPUs, by libattn: dot, general, additive (Bahdanau), concat, location; causal, windows, local, ALiBi,
//! relative biases, masks; grouped heads; memories for decoding; layers of heads; all of it forward and backward, on
//! slices where they lie, whatever their strides.
//!
//! ```
//! use attn::{Align, Engine, Inputs, Mechanism, Outputs, Tensor, TensorMut};
//!
//! fn main() -> attn::Result<()> {
//!     let mut mechanism = Mechanism::scaled_dot(&Engine::new()?)?;
//!     mechanism.set_causal(Some(Align::TopLeft))?;
//!     let (words, mut context) = (vec![0.5f32; 2 * 8 * 10 * 64], vec![0.0; 2 * 8 * 10 * 64]);
//!     let shape = [2, 8, 10, 64]; // batch, heads, length, dimension
//!     let inputs = Inputs::new(Tensor::new(&words, &shape)?).key(Tensor::new(&words, &shape)?);
//!     mechanism.forward(&inputs, Outputs::new().context(TensorMut::new(&mut context, &shape)?))
//! }
//! ```
//!
//! There are four nouns: an [`Engine`] is the means, a [`Mechanism`] the rule, a [`Memory`] holds keys and values made
//! ready, a [`MultiHead`] puts projections around a mechanism. [`Tensor`] and [`TensorMut`] are views of slices; a shape
//! and strides that reach past the slice are refused when the view is made.
//!
//! - **Errors** are an [`Error`] with a [`Status`] and the library's sentence. What is refused has changed nothing.
//! - **Ownership**: handles own what the library has only borrowed ([`Param`]), or share it in an [`Arc`](std::sync::Arc),
//!   and have no lifetimes. Tensors borrow their slices for a call.
//! - **Threads**: engine, mechanism, memory and layer are `Send` and `Sync`: what reads them takes `&self`, what changes
//!   them `&mut self`, which is the library's own rule. A [`Call`], a [`Workspace`] and what is [`Saved`] serve one call at
//!   a time, which `&mut` says.
//! - **Types**: what is computed with is a [`Float`]: `f32`, `f64`, [`F16`] or [`Bf16`]. Weights and what else stands beside the
//!   context are [`Float::Wide`], `f32` where the context has 16 bits.
//! - **Panics**: none that is meant. No function of this crate is `unsafe`.
#![deny(missing_docs, missing_debug_implementations)]

mod attentional;
mod backward;
mod call;
mod decomposable;
mod element;
mod engine;
mod error;
mod forward;
mod half;
mod handle;
mod layout;
mod mechanism;
mod memory;
mod merge;
mod modifiers;
mod multihead;
mod pages;
mod param;
mod position;
mod saved;
mod tensor;
mod workspace;

pub use attentional::{Attentional, AttentionalGradients};
pub use backward::{Flow, Gradients};
pub use call::{Call, Slices};
pub use decomposable::{Aligned, Decomposable, DecomposableFlow, DecomposableGradients};
pub use element::{Element, Float, Stored};
pub use engine::{version, Engine, EngineOptions, LogLevel, Way};
pub use error::{Error, Result, Status};
pub use forward::{Inputs, Outputs, Stage, Stats};
pub use half::{Bf16, F16};
pub use mechanism::{Additive, Mechanism};
pub use memory::{Append, Memory, MemoryOptions, MemoryRef, Pages};
pub use merge::Parts;
pub use modifiers::{Align, Local, Normaliser, Precision, Relative};
pub use multihead::{MultiHead, MultiHeadFlow, MultiHeadOptions};
pub use pages::PagesAppend;
pub use param::{Owned, Param, ParamInfo};
pub use position::{alibi_slopes, sinusoidal, Positions, Rope, RopeLayout};
pub use saved::Saved;
pub use tensor::{Indices, LogSumExp, LogSumExpMut, Tensor, TensorMut};
pub use workspace::Workspace;

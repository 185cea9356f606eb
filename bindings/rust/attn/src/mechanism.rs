// SPDX-License-Identifier: BSD-3-Clause
//! The rule: a score function and its parameters; modifiers.rs has its modifiers.

use crate::element::Float;
use crate::engine::Engine;
use crate::error::{check, Result};
use crate::handle::handle;
use crate::layout::size;
use crate::param::{parametric, Bound};
use attn_sys as sys;
use std::ffi::CStr;
use std::fmt;
use std::ptr;

/// What an additive score has beside its plain form.
///
/// ```
/// use attn::Additive;
/// let form = Additive { bias: true, ..Additive::default() };
/// # let _ = form;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Additive {
    /// b \[A\] inside the tanh.
    pub bias: bool,
    /// g v / |v| in place of v, g \[1\] (Salimans and Kingma 2016).
    pub normalised: bool,
    /// No W: queries come with A dimensions and are used as they are.
    pub query_projected: bool,
    /// No U: keys come with A dimensions and are used as they are.
    pub key_projected: bool,
}

/// The rule: a score function with its parameters, the modifiers of the scores, and the normaliser. The modifiers apply in
/// this order: scale, softcap, biases (ALiBi, relative), what may not be seen (mask, lengths, causal, window, local), then
/// the normaliser at its temperature, sinks beside the scores.
///
/// It is `Send` and `Sync`: [`forward`](Self::forward) and [`backward`](Self::backward) take `&self` and may be called by
/// any number of threads at once; what changes it takes `&mut self`. A [`Memory`](crate::Memory) and a
/// [`MultiHead`](crate::MultiHead) share it in an `Arc`, so that it outlives them and does not change under them.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// let engine = attn::Engine::new()?;
/// let mut mechanism = attn::Mechanism::general(&engine, 2, 3)?;
/// mechanism.bind("W", vec![0.5f32; 6])?;
/// mechanism.set_causal(Some(attn::Align::TopLeft))?;
/// mechanism.param_mut::<f32>("W")?[0] = 1.0; // between calls, what is bound may change
/// # Ok(()) }
/// ```
///
/// Nothing changes it while others use it:
///
/// ```compile_fail,E0502
/// # let engine = attn::Engine::new().unwrap();
/// let mut mechanism = attn::Mechanism::dot(&engine).unwrap();
/// std::thread::scope(|scope| {
///     let shared = &mechanism;
///     scope.spawn(move || shared.name());
///     mechanism.set_scale(2.0).unwrap();
/// });
/// ```
pub struct Mechanism {
    raw: Raw,
    pub(crate) bound: Bound, // dropped after the handle is destroyed
    engine: Engine,
}

handle!(Raw, attn_mechanism, attn_mechanism_destroy);
parametric!(
    Mechanism,
    Raw,
    attn_mechanism_param_count,
    attn_mechanism_param_info,
    attn_mechanism_bind_param
);

impl fmt::Debug for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mechanism")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// What is bound beside parameters goes by these names.
pub(crate) const ALIBI: &str = "the ALiBi slopes";
pub(crate) const RELATIVE: &str = "the table of relative biases";
pub(crate) const SINKS: &str = "the sinks";

/// How they are made. All: `Argument` for a dimension of 0, `Overflow` for parameters that cannot be addressed,
/// `OutOfMemory`.
impl Mechanism {
    fn create(
        engine: &Engine,
        make: impl FnOnce(*mut sys::attn_engine, *mut *mut sys::attn_mechanism) -> sys::attn_status,
    ) -> Result<Self> {
        let mut handle = ptr::null_mut();
        check(make(engine.raw(), &mut handle))?;
        Ok(Self {
            raw: Raw::own(handle),
            bound: Bound::default(),
            engine: engine.clone(),
        })
    }

    /// e = q.k (Luong 2015, eq. 8, dot). No parameters; Dq = Dk.
    ///
    /// # Errors
    ///
    /// As all that make a mechanism: `Argument`, `Overflow`, `OutOfMemory`.
    pub fn dot(engine: &Engine) -> Result<Self> {
        // SAFETY: of all of them: the engine is one, and what is written to is there.
        Self::create(engine, |e, m| unsafe {
            sys::attn_mechanism_create_dot(e, m)
        })
    }

    /// e = q.k / sqrt(Dk) (Vaswani 2017, eq. 1). No parameters; Dq = Dk.
    ///
    /// # Errors
    ///
    /// As [`dot`](Self::dot).
    pub fn scaled_dot(engine: &Engine) -> Result<Self> {
        Self::create(engine, |e, m| unsafe {
            sys::attn_mechanism_create_scaled_dot(e, m)
        })
    }

    /// e = q^T W k (Luong 2015, eq. 8, general). W [query_dim, key_dim].
    ///
    /// # Errors
    ///
    /// As [`dot`](Self::dot).
    pub fn general(engine: &Engine, query_dim: usize, key_dim: usize) -> Result<Self> {
        Self::create(engine, |e, m| unsafe {
            sys::attn_mechanism_create_general(e, size(query_dim), size(key_dim), m)
        })
    }

    /// e = v^T tanh(W q + U k + b) (Bahdanau 2014, appendix A.1.2). W [hidden_dim, query_dim], U [hidden_dim, key_dim],
    /// v \[hidden_dim\]; by its form b \[hidden_dim\], g \[1\], or no W, or no U.
    ///
    /// # Errors
    ///
    /// As [`dot`](Self::dot). `Shape`: an input that comes projected has another dimension than hidden_dim.
    pub fn additive(
        engine: &Engine,
        query_dim: usize,
        key_dim: usize,
        hidden_dim: usize,
        form: Additive,
    ) -> Result<Self> {
        let flags = [
            (form.bias, sys::ATTN_ADDITIVE_BIAS),
            (form.normalised, sys::ATTN_ADDITIVE_NORMALISED),
            (form.query_projected, sys::ATTN_ADDITIVE_QUERY_PROJECTED),
            (form.key_projected, sys::ATTN_ADDITIVE_KEY_PROJECTED),
        ];
        let flags = flags.iter().filter(|(has, _)| *has).map(|(_, flag)| flag);
        let (flags, q, k, a) = (
            flags.sum(),
            size(query_dim),
            size(key_dim),
            size(hidden_dim),
        );
        Self::create(engine, |e, m| unsafe {
            sys::attn_mechanism_create_additive(e, q, k, a, flags, m)
        })
    }

    /// e = v^T tanh(W \[q; k\]) (Luong 2015, eq. 8, concat). W [hidden_dim, query_dim + key_dim], v \[hidden_dim\].
    ///
    /// # Errors
    ///
    /// As [`dot`](Self::dot).
    pub fn concat(
        engine: &Engine,
        query_dim: usize,
        key_dim: usize,
        hidden_dim: usize,
    ) -> Result<Self> {
        let (q, k, a) = (size(query_dim), size(key_dim), size(hidden_dim));
        Self::create(engine, |e, m| unsafe {
            sys::attn_mechanism_create_concat(e, q, k, a, m)
        })
    }

    /// e_ij = (W q_i)_j (Luong 2015, eq. 9, location). W [max_keys, query_dim]; at most max_keys keys, which are not read.
    ///
    /// # Errors
    ///
    /// As [`dot`](Self::dot).
    pub fn location(engine: &Engine, query_dim: usize, max_keys: usize) -> Result<Self> {
        Self::create(engine, |e, m| unsafe {
            sys::attn_mechanism_create_location(e, size(query_dim), size(max_keys), m)
        })
    }
}

/// What it is.
impl Mechanism {
    #[inline]
    pub(crate) fn raw(&self) -> *mut sys::attn_mechanism {
        self.raw.0.as_ptr()
    }

    /// The engine that computes.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The score's name: "dot", "scaled-dot", "general", "additive", "concat", "location".
    pub fn name(&self) -> &'static str {
        // SAFETY: a static string.
        let name = unsafe { CStr::from_ptr(sys::attn_mechanism_name(self.raw())) };
        name.to_str().unwrap_or("")
    }

    /// How many trainable numbers they have.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn param_total(&self) -> Result<usize> {
        let mut total = 0;
        // SAFETY: what is written to is there.
        check(unsafe { sys::attn_mechanism_param_total(self.raw(), &mut total) })?;
        Ok(total as usize)
    }

    /// The slopes of ALiBi.
    ///
    /// # Errors
    ///
    /// As [`param`](Self::param).
    pub fn alibi<T: Float>(&self) -> Result<&[T]> {
        self.bound.get(ALIBI)?.slice()
    }

    /// The same to be changed.
    ///
    /// # Errors
    ///
    /// As [`param_mut`](Self::param_mut).
    pub fn alibi_mut<T: Float>(&mut self) -> Result<&mut [T]> {
        self.bound.get_mut(ALIBI)?.slice_mut()
    }

    /// The table of relative biases.
    ///
    /// # Errors
    ///
    /// As [`param`](Self::param).
    pub fn relative<T: Float>(&self) -> Result<&[T]> {
        self.bound.get(RELATIVE)?.slice()
    }

    /// The same to be changed.
    ///
    /// # Errors
    ///
    /// As [`param_mut`](Self::param_mut).
    pub fn relative_mut<T: Float>(&mut self) -> Result<&mut [T]> {
        self.bound.get_mut(RELATIVE)?.slice_mut()
    }

    /// The sinks.
    ///
    /// # Errors
    ///
    /// As [`param`](Self::param).
    pub fn sinks<T: Float>(&self) -> Result<&[T]> {
        self.bound.get(SINKS)?.slice()
    }

    /// The same to be changed.
    ///
    /// # Errors
    ///
    /// As [`param_mut`](Self::param_mut).
    pub fn sinks_mut<T: Float>(&mut self) -> Result<&mut [T]> {
        self.bound.get_mut(SINKS)?.slice_mut()
    }
}

// SPDX-License-Identifier: BSD-3-Clause
//! What a mechanism does with scores: scale, softcap, biases, what may be seen, the normaliser; and how products are made.

use crate::error::{check, Result};
use crate::layout::size;
use crate::mechanism::{Mechanism, ALIBI, RELATIVE, SINKS};
use crate::param::{Owned, Param};
use attn_sys as sys;
use std::ptr;

/// Where query i stands among the keys, which is what causal, window, ALiBi and relative biases measure from. There is no
/// default: whoever asks for one of them says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At [`Inputs::query_start`](crate::Inputs::query_start) + i.
    TopLeft,
    /// At (valid keys) - Tq + i: the last query meets the last key.
    BottomRight,
}

fn align(align: Option<Align>) -> sys::attn_align {
    match align {
        None => sys::ATTN_ALIGN_NONE,
        Some(Align::TopLeft) => sys::ATTN_ALIGN_TOP_LEFT,
        Some(Align::BottomRight) => sys::ATTN_ALIGN_BOTTOM_RIGHT,
    }
}

/// What makes weights of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normaliser {
    /// exp(e / tau), divided by their sum.
    Softmax,
    /// 1 on the highest score, the lowest index on a tie. It has no gradient.
    Hardmax,
}

/// How products may be made. (`attn_precision` in the header says exactly what is rounded.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The same on every CPU: 16 and 8 bits are widened to float32 as they are read.
    Exact,
    /// A CPU that has instructions for it multiplies `Bf16`, and keys and values of `i8`, as they are kept;
    /// [`Engine::describe`](crate::Engine::describe) names the instructions. Gradients, and all other types, are exact.
    Fast,
}

/// Which biases of distances a table has (see `attn_relative` in the header).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relative {
    /// 2 max_distance + 1 of them, one for each distance, cut at both ends (Parikh 2016; Shaw 2018).
    Clipped,
    /// n buckets, half of them for keys behind the query, half for those ahead (Raffel 2020).
    T5,
    /// The same with all n for keys that are not ahead.
    T5Causal,
}

/// Local attention (Luong 2015, section 3.2): queries see only the keys within half_width of an aligned position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// The position of the query, but at most that of the last valid key.
    Monotonic {
        /// At least 0.
        half_width: i64,
    },
    /// S sigmoid(v_p^T tanh(W_p q)), with a Gaussian factor around it: the parameters W_p [hidden_dim, query_dim] and v_p
    /// [hidden_dim] are to be bound then.
    Predictive {
        /// At least 1.
        half_width: i64,
        /// Of W_p.
        query_dim: usize,
        /// Of W_p and v_p.
        hidden_dim: usize,
    },
    /// The same, with the keys around the whole number below, as in Luong's released code.
    PredictiveFloor {
        /// At least 1.
        half_width: i64,
        /// Of W_p.
        query_dim: usize,
        /// Of W_p and v_p.
        hidden_dim: usize,
    },
}

/// Modifiers: each replaces what was set before; a refused one changes nothing. All: `Argument` for a value out of range.
impl Mechanism {
    /// Multiplies the score: any finite number; 1, for scaled dot 1 / sqrt(Dk), unless it is set.
    ///
    /// # Errors
    ///
    /// `Argument`.
    pub fn set_scale(&mut self, scale: f64) -> Result<()> {
        // SAFETY: of all of them: the mechanism is one, and &mut self says that it is in no call.
        check(unsafe { sys::attn_mechanism_set_scale(self.raw(), scale) })
    }

    /// e = cap tanh(e / cap), cap above 0; 0 takes it away.
    ///
    /// # Errors
    ///
    /// `Argument`.
    pub fn set_softcap(&mut self, cap: f64) -> Result<()> {
        check(unsafe { sys::attn_mechanism_set_softcap(self.raw(), cap) })
    }

    /// Softmax of e / tau, tau above 0; 1 unless it is set.
    ///
    /// # Errors
    ///
    /// `Argument`.
    pub fn set_temperature(&mut self, tau: f64) -> Result<()> {
        check(unsafe { sys::attn_mechanism_set_temperature(self.raw(), tau) })
    }

    /// Softmax, unless it is set.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn set_normaliser(&mut self, normaliser: Normaliser) -> Result<()> {
        let normaliser = match normaliser {
            Normaliser::Softmax => sys::ATTN_SOFTMAX,
            Normaliser::Hardmax => sys::ATTN_HARDMAX,
        };
        check(unsafe { sys::attn_mechanism_set_normaliser(self.raw(), normaliser) })
    }

    /// Exact, unless it is set.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        let precision = match precision {
            Precision::Exact => sys::ATTN_PRECISION_EXACT,
            Precision::Fast => sys::ATTN_PRECISION_FAST,
        };
        check(unsafe { sys::attn_mechanism_set_precision(self.raw(), precision) })
    }

    /// Query i sees key j only if j <= its position. None takes it away.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn set_causal(&mut self, at: Option<Align>) -> Result<()> {
        check(unsafe { sys::attn_mechanism_set_causal(self.raw(), align(at)) })
    }

    /// Query i sees key j only if position - left <= j <= position + right; None is unbounded, so `Some(2), Some(0)` sees 3
    /// keys. An alignment of None takes it away.
    ///
    /// # Errors
    ///
    /// `Argument`.
    pub fn set_window(
        &mut self,
        left: Option<usize>,
        right: Option<usize>,
        at: Option<Align>,
    ) -> Result<()> {
        let (left, right) = (left.map_or(-1, size), right.map_or(-1, size));
        check(unsafe { sys::attn_mechanism_set_window(self.raw(), left, right, align(at)) })
    }

    /// Adds -slope |position - j| (Press 2022); slopes \[Hq\], one for each query head, kept as parameters are.
    ///
    /// # Errors
    ///
    /// `Shape`, `DType`, `Overflow`.
    pub fn set_alibi(&mut self, slopes: impl Into<Param>, at: Align) -> Result<()> {
        let slopes = slopes.into();
        let tensor = slopes.tensor(&[slopes.length()])?;
        check(unsafe { sys::attn_mechanism_set_alibi(self.raw(), &tensor, align(Some(at))) })?;
        self.bound.put(ALIBI, slopes);
        Ok(())
    }

    /// Takes ALiBi away, and gives the slopes back if they were owned.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn clear_alibi(&mut self) -> Result<Owned> {
        check(unsafe { sys::attn_mechanism_set_alibi(self.raw(), ptr::null(), align(None)) })?;
        Ok(self.bound.remove(ALIBI).map_or(Owned::None, Param::take))
    }

    /// Adds table[h, c(j - position)], a learned bias of distances; table [Hq, n], or [1, n] for all heads, kept as
    /// parameters are. Of one that does not say its shape ([`Param::shaped`]) there is one row, for all heads.
    ///
    /// # Errors
    ///
    /// `Shape`: columns that do not suit max_distance. `Argument`, `DType`, `Overflow`.
    pub fn set_relative(
        &mut self,
        table: impl Into<Param>,
        relative: Relative,
        max_distance: usize,
        at: Align,
    ) -> Result<()> {
        let table = table.into();
        let tensor = table.tensor(&[1, table.length()])?;
        let relative = match relative {
            Relative::Clipped => sys::ATTN_RELATIVE_CLIPPED,
            Relative::T5 => sys::ATTN_RELATIVE_T5,
            Relative::T5Causal => sys::ATTN_RELATIVE_T5_CAUSAL,
        };
        let (most, at) = (size(max_distance), align(Some(at)));
        check(unsafe {
            sys::attn_mechanism_set_relative_bias(self.raw(), &tensor, relative, most, at)
        })?;
        self.bound.put(RELATIVE, table);
        Ok(())
    }

    /// Takes relative biases away, and gives the table back if it was owned.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn clear_relative(&mut self) -> Result<Owned> {
        let (none, at) = (sys::ATTN_RELATIVE_NONE, align(None));
        check(unsafe {
            sys::attn_mechanism_set_relative_bias(self.raw(), ptr::null(), none, 0, at)
        })?;
        Ok(self.bound.remove(RELATIVE).map_or(Owned::None, Param::take))
    }

    /// Adds a sink to the softmax of each query: a logit of its head that has no key and no value, so that weights may add up
    /// to less than 1; sinks \[Hq\], one for each query head, kept as parameters are. Not with
    /// [`Hardmax`](Normaliser::Hardmax).
    ///
    /// # Errors
    ///
    /// `Shape`, `DType`, `Overflow`.
    pub fn set_sinks(&mut self, sinks: impl Into<Param>) -> Result<()> {
        let sinks = sinks.into();
        let tensor = sinks.tensor(&[sinks.length()])?;
        check(unsafe { sys::attn_mechanism_set_sinks(self.raw(), &tensor) })?;
        self.bound.put(SINKS, sinks);
        Ok(())
    }

    /// Takes sinks away, and gives them back if they were owned.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn clear_sinks(&mut self) -> Result<Owned> {
        check(unsafe { sys::attn_mechanism_set_sinks(self.raw(), ptr::null()) })?;
        Ok(self.bound.remove(SINKS).map_or(Owned::None, Param::take))
    }

    /// Local attention. What was bound to another such choice, W_p and v_p, is forgotten. None takes it away.
    ///
    /// # Errors
    ///
    /// `Argument`. `Shape`: query_dim is not the mechanism's. `Overflow`.
    pub fn set_local(&mut self, local: Option<Local>) -> Result<()> {
        let (kind, half_width, query_dim, hidden_dim) = match local {
            None => (sys::ATTN_LOCAL_NONE, 0, 0, 0),
            Some(Local::Monotonic { half_width }) => (sys::ATTN_LOCAL_MONOTONIC, half_width, 0, 0),
            Some(Local::Predictive {
                half_width,
                query_dim,
                hidden_dim,
            }) => (
                sys::ATTN_LOCAL_PREDICTIVE,
                half_width,
                size(query_dim),
                size(hidden_dim),
            ),
            Some(Local::PredictiveFloor {
                half_width,
                query_dim,
                hidden_dim,
            }) => (
                sys::ATTN_LOCAL_PREDICTIVE_FLOOR,
                half_width,
                size(query_dim),
                size(hidden_dim),
            ),
        };
        check(unsafe {
            sys::attn_mechanism_set_local(self.raw(), kind, half_width, query_dim, hidden_dim)
        })?;
        // Those that the library no longer has, or has no longer bound, are let go.
        let still = self.params()?;
        for name in ["W_p", "v_p"] {
            if !still.iter().any(|p| p.name == name && p.bound) {
                self.bound.remove(name);
            }
        }
        Ok(())
    }
}

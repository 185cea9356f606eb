// SPDX-License-Identifier: BSD-3-Clause
//! The attend stage of decomposable attention (Parikh 2016), both ways at once, and its gradients.

use crate::element::Float;
use crate::engine::Engine;
use crate::error::{check, Result};
use crate::tensor::{pointer, Indices, Tensor, TensorMut};
use attn_sys as sys;

/// What it reads: two sentences, as they are and as they are projected. B sequences, H heads (usually 1), lengths Ta and
/// Tb.
#[derive(Clone, Copy, Debug)]
pub struct Decomposable<'a, T: Float> {
    f: Tensor<'a, T>,
    g: Tensor<'a, T>,
    a: Option<Tensor<'a, T>>,
    b: Option<Tensor<'a, T>>,
    a_lengths: Option<Indices<'a>>,
    b_lengths: Option<Indices<'a>>,
}

impl<'a, T: Float> Decomposable<'a, T> {
    /// f = F(a) [B, H, Ta, D] and g = F(b) [B, H, Tb, D].
    pub fn new(f: Tensor<'a, T>, g: Tensor<'a, T>) -> Self {
        Self {
            f,
            g,
            a: None,
            b: None,
            a_lengths: None,
            b_lengths: None,
        }
    }

    /// a [B, H, Ta, Da], where it is not f.
    pub fn a(mut self, a: Tensor<'a, T>) -> Self {
        self.a = Some(a);
        self
    }

    /// b [B, H, Tb, Db], where it is not g.
    pub fn b(mut self, b: Tensor<'a, T>) -> Self {
        self.b = Some(b);
        self
    }

    /// The valid rows of each a \[B\].
    pub fn a_lengths(mut self, lengths: impl Into<Indices<'a>>) -> Self {
        self.a_lengths = Some(lengths.into());
        self
    }

    /// The valid rows of each b \[B\].
    pub fn b_lengths(mut self, lengths: impl Into<Indices<'a>>) -> Self {
        self.b_lengths = Some(lengths.into());
        self
    }

    fn lay(&self) -> sys::attn_decomposable_args {
        sys::attn_decomposable_args {
            f: &self.f.raw,
            g: &self.g.raw,
            a: pointer(&self.a),
            b: pointer(&self.b),
            a_lengths: pointer(&self.a_lengths),
            b_lengths: pointer(&self.b_lengths),
            ..Default::default()
        }
    }
}

/// What it writes, any of the four, at least one.
#[derive(Debug)]
pub struct Aligned<'o, T: Float> {
    beta: Option<TensorMut<'o, T>>,
    alpha: Option<TensorMut<'o, T>>,
    a_logsumexp: Option<TensorMut<'o, T::Wide>>,
    b_logsumexp: Option<TensorMut<'o, T::Wide>>,
}

impl<T: Float> Default for Aligned<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'o, T: Float> Aligned<'o, T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            beta: None,
            alpha: None,
            a_logsumexp: None,
            b_logsumexp: None,
        }
    }

    /// What in b is aligned with each row of a [B, H, Ta, Db].
    pub fn beta(mut self, beta: TensorMut<'o, T>) -> Self {
        self.beta = Some(beta);
        self
    }

    /// What in a is aligned with each row of b [B, H, Tb, Da].
    pub fn alpha(mut self, alpha: TensorMut<'o, T>) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// log sum_j exp(e_ij) [B, H, Ta].
    pub fn a_logsumexp(mut self, logsumexp: TensorMut<'o, T::Wide>) -> Self {
        self.a_logsumexp = Some(logsumexp);
        self
    }

    /// log sum_i exp(e_ij) [B, H, Tb].
    pub fn b_logsumexp(mut self, logsumexp: TensorMut<'o, T::Wide>) -> Self {
        self.b_logsumexp = Some(logsumexp);
        self
    }
}

/// What flows back, by beta, by alpha, or both: what was written, and the loss's gradient by it.
#[derive(Clone, Copy, Debug)]
pub struct DecomposableFlow<'a, T: Float> {
    beta: Option<[Tensor<'a, T>; 2]>,
    alpha: Option<[Tensor<'a, T>; 2]>,
    a_logsumexp: Option<Tensor<'a, T::Wide>>,
    b_logsumexp: Option<Tensor<'a, T::Wide>>,
}

impl<T: Float> Default for DecomposableFlow<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T: Float> DecomposableFlow<'a, T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            beta: None,
            alpha: None,
            a_logsumexp: None,
            b_logsumexp: None,
        }
    }

    /// The loss's gradient by beta, with beta and a_logsumexp as they were written.
    pub fn beta(
        mut self,
        beta: Tensor<'a, T>,
        a_logsumexp: Tensor<'a, T::Wide>,
        d_beta: Tensor<'a, T>,
    ) -> Self {
        self.beta = Some([beta, d_beta]);
        self.a_logsumexp = Some(a_logsumexp);
        self
    }

    /// The loss's gradient by alpha, with alpha and b_logsumexp as they were written.
    pub fn alpha(
        mut self,
        alpha: Tensor<'a, T>,
        b_logsumexp: Tensor<'a, T::Wide>,
        d_alpha: Tensor<'a, T>,
    ) -> Self {
        self.alpha = Some([alpha, d_alpha]);
        self.b_logsumexp = Some(b_logsumexp);
        self
    }
}

/// The gradients that are wanted, each of the shape of what it is the gradient of.
#[derive(Debug)]
pub struct DecomposableGradients<'g, T: Float> {
    f: Option<TensorMut<'g, T>>,
    g: Option<TensorMut<'g, T>>,
    a: Option<TensorMut<'g, T>>,
    b: Option<TensorMut<'g, T>>,
    accumulate: bool,
}

impl<T: Float> Default for DecomposableGradients<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'g, T: Float> DecomposableGradients<'g, T> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            f: None,
            g: None,
            a: None,
            b: None,
            accumulate: false,
        }
    }

    /// By f; where a is f, of both together.
    pub fn f(mut self, d_f: TensorMut<'g, T>) -> Self {
        self.f = Some(d_f);
        self
    }

    /// By g; where b is g, of both together.
    pub fn g(mut self, d_g: TensorMut<'g, T>) -> Self {
        self.g = Some(d_g);
        self
    }

    /// By a, where it is not f.
    pub fn a(mut self, d_a: TensorMut<'g, T>) -> Self {
        self.a = Some(d_a);
        self
    }

    /// By b, where it is not g.
    pub fn b(mut self, d_b: TensorMut<'g, T>) -> Self {
        self.b = Some(d_b);
        self
    }

    /// They are added to what is there, not written over it.
    pub fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }
}

impl Engine {
    /// Aligns two sentences with each other, by one pass over the scores e_ij = f_i . g_j.
    ///
    /// # Errors
    ///
    /// `Argument`, `Shape`, `Overlap`, `Overflow`, `OutOfMemory`.
    pub fn decomposable<T: Float>(
        &self,
        inputs: &Decomposable<'_, T>,
        aligned: Aligned<'_, T>,
    ) -> Result<()> {
        let args = sys::attn_decomposable_args {
            beta: pointer(&aligned.beta),
            alpha: pointer(&aligned.alpha),
            a_logsumexp: pointer(&aligned.a_logsumexp),
            b_logsumexp: pointer(&aligned.b_logsumexp),
            ..inputs.lay()
        };
        // SAFETY: tensors are views of slices that are borrowed for the call, those that are written mutably.
        check(unsafe { sys::attn_decomposable_forward(self.raw(), &args) })
    }

    /// Its gradients.
    ///
    /// # Errors
    ///
    /// As [`decomposable`](Self::decomposable).
    pub fn decomposable_backward<T: Float>(
        &self,
        inputs: &Decomposable<'_, T>,
        flow: &DecomposableFlow<'_, T>,
        gradients: DecomposableGradients<'_, T>,
    ) -> Result<()> {
        let mut args = sys::attn_decomposable_args {
            accumulate: i32::from(gradients.accumulate),
            d_f: pointer(&gradients.f),
            d_g: pointer(&gradients.g),
            d_a: pointer(&gradients.a),
            d_b: pointer(&gradients.b),
            a_logsumexp: pointer(&flow.a_logsumexp),
            b_logsumexp: pointer(&flow.b_logsumexp),
            ..inputs.lay()
        };
        if let Some([beta, d_beta]) = &flow.beta {
            args.beta = &beta.raw;
            args.d_beta = &d_beta.raw;
        }
        if let Some([alpha, d_alpha]) = &flow.alpha {
            args.alpha = &alpha.raw;
            args.d_alpha = &d_alpha.raw;
        }
        // SAFETY: as above; gradients are written.
        check(unsafe { sys::attn_decomposable_backward(self.raw(), &args) })
    }
}

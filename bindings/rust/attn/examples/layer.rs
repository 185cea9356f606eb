// SPDX-License-Identifier: BSD-3-Clause
//! layer.rs: a layer of heads learns to copy the last word but one, by gradient descent. What is saved of the forward pass
//! and the scratch of both are kept from step to step.

use attn::{Align, Engine, Gradients, Inputs, Mechanism, MultiHead, MultiHeadFlow};
use attn::{MultiHeadOptions, Outputs, Tensor, TensorMut, Workspace};

const DIM: usize = 32;
const LENGTH: usize = 12;
const BATCH: usize = 16;
const WORDS: usize = 10;

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// Between -size and size.
    fn number(&mut self, size: f64) -> f64 {
        size * (self.next() as f64 / (1u64 << 52) as f64 - 1.0)
    }

    fn numbers(&mut self, count: usize, size: f64) -> Vec<f64> {
        (0..count).map(|_| self.number(size)).collect()
    }
}

fn main() -> attn::Result<()> {
    let mut random = Random(2);
    let mut mechanism = Mechanism::scaled_dot(&Engine::new()?)?;
    mechanism.set_causal(Some(Align::TopLeft))?;
    let options = MultiHeadOptions {
        bias: true,
        packed: true,
        ..MultiHeadOptions::new(DIM, 4)
    };
    let mut layer = MultiHead::new(mechanism, options)?;
    let params = layer.params()?;
    for info in &params {
        let fan_in = *info.shape.last().unwrap() as f64;
        layer.bind(
            info.name,
            random.numbers(info.elements, (3.0 / fan_in).sqrt()),
        )?;
    }

    let meanings = random.numbers(WORDS * DIM, 1.7);
    let mut places = vec![0.0; LENGTH * DIM];
    attn::sinusoidal(TensorMut::new(&mut places, &[LENGTH, DIM])?, 0, 10000.0)?;

    let shape = [BATCH, LENGTH, DIM];
    let zeros = || vec![0.0; BATCH * LENGTH * DIM];
    let (mut x, mut output, mut d_output) = (zeros(), zeros(), zeros());
    let mut gradients: Vec<Vec<f64>> = params.iter().map(|p| vec![0.0; p.elements]).collect();
    let mut speeds = gradients.clone();
    let mut saved = layer.saved(&Inputs::new(Tensor::new(&x, &shape)?))?;
    let mut workspace = Workspace::new();
    for step in 0..=500 {
        let sentence: Vec<usize> = (0..BATCH * LENGTH)
            .map(|_| random.next() as usize % WORDS)
            .collect();
        let meaning = |at: usize, d: usize| meanings[sentence[at] * DIM + d];
        for at in 0..BATCH * LENGTH {
            for d in 0..DIM {
                x[at * DIM + d] = meaning(at, d) + places[at % LENGTH * DIM + d];
            }
        }

        let inputs = Inputs::new(Tensor::new(&x, &shape)?); // no keys: self-attention
        let outputs = Outputs::new()
            .output(TensorMut::new(&mut output, &shape)?)
            .saved(&mut saved)
            .workspace(&mut workspace);
        layer.forward(&inputs, outputs)?;

        let mut error = 0.0;
        for at in (0..BATCH * LENGTH).filter(|at| at % LENGTH >= 2) {
            for d in 0..DIM {
                let wrong = output[at * DIM + d] - meaning(at - 2, d);
                error += wrong * wrong / (BATCH * (LENGTH - 2) * DIM) as f64;
                d_output[at * DIM + d] = 2.0 * wrong / BATCH as f64;
            }
        }
        if step % 100 == 0 {
            println!("step {step}: mean square error {error:.3}");
        }

        let flow = MultiHeadFlow::new().output(Tensor::new(&d_output, &shape)?);
        let mut wanted = Gradients::new().workspace(&mut workspace);
        for (info, gradient) in params.iter().zip(&mut gradients) {
            wanted = wanted.param(info.name, TensorMut::new(gradient, &info.shape)?);
        }
        layer.backward(&inputs, &flow.saved(&saved), wanted)?;
        for ((info, gradient), speed) in params.iter().zip(&gradients).zip(&mut speeds) {
            let param = layer.param_mut::<f64>(info.name)?; // in place: the layer goes on with it
            for ((p, g), s) in param.iter_mut().zip(gradient).zip(speed) {
                *s = 0.9 * *s + g / LENGTH as f64;
                *p -= 0.004 * *s;
            }
        }
    }
    Ok(())
}

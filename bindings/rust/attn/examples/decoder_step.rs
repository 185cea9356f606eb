// SPDX-License-Identifier: BSD-3-Clause
//! decoder_step.rs: Bahdanau's attention in a decoder (Bahdanau 2014): the encoder's states are projected once, into a
//! memory, and each step of the decoder attends to it with its state before the step.

use attn::{Additive, Append, Engine, Inputs, Mechanism, Memory, MemoryOptions, Outputs, Slices};
use attn::{Tensor, TensorMut};
use std::sync::Arc;

const BATCH: usize = 4;
const LENGTH: usize = 30;
const ENCODER: usize = 32;
const DECODER: usize = 24;
const HIDDEN: usize = 48;

/// Numbers between -size and size, the same every time; a trained model would come with its own.
fn numbers(count: usize, size: f32, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        size * ((state >> 8) as f32 / 8388608.0 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

fn main() -> attn::Result<()> {
    let engine = Engine::new()?;
    let mut mechanism =
        Mechanism::additive(&engine, DECODER, ENCODER, HIDDEN, Additive::default())?;
    mechanism.bind("W", numbers(HIDDEN * DECODER, 0.2, 1))?; // owned by the mechanism from now on
    mechanism.bind("U", numbers(HIDDEN * ENCODER, 0.2, 2))?;
    mechanism.bind("v", numbers(HIDDEN, 1.0, 3))?;
    println!("trainable numbers: {}", mechanism.param_total()?);

    let (states, lengths) = (numbers(BATCH * LENGTH * ENCODER, 1.0, 4), [30, 22, 17, 9]);
    let keys = Tensor::new(&states, &[BATCH, 1, LENGTH, ENCODER])?;
    let mechanism = Arc::new(mechanism);
    let options = MemoryOptions::new(ENCODER).batch(BATCH); // the keys are the values
    let mut memory = Memory::<f32>::new(&mechanism, options)?;
    memory.append(Append::keys(keys).counts(&lengths))?; // sentences of different lengths

    let (state_shape, context_shape) = ([BATCH, 1, 1, DECODER], [BATCH, 1, 1, ENCODER]);
    let mut state = numbers(BATCH * DECODER, 1.0, 5);
    let mut context = vec![0.0; BATCH * ENCODER];
    let recurrent = numbers(DECODER * ENCODER, 0.3, 6);
    // Laid out once, run for each word: a run asks nobody for memory.
    let inputs = Inputs::new(Tensor::new(&state, &state_shape)?).memory(&memory);
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &context_shape)?);
    let mut step = mechanism.prepare(&inputs, outputs)?;
    for _ in 0..5 {
        step.run(
            &mechanism,
            Slices {
                query: &state,
                memory: Some((&memory).into()),
                context: &mut context,
                ..Slices::default()
            },
        )?;
        // The recurrent cell: a stand-in keeps the example short.
        for (state, context) in state.chunks_mut(DECODER).zip(context.chunks(ENCODER)) {
            for (s, row) in state.iter_mut().zip(recurrent.chunks(ENCODER)) {
                let heard: f32 = row.iter().zip(context).map(|(r, c)| r * c).sum();
                *s = (*s + heard).tanh();
            }
        }
    }
    let size = state.iter().map(|s| s * s).sum::<f32>().sqrt();
    println!("the state after five words: of length {size:.3}");

    // The same without a memory: projected once more.
    let query = Tensor::new(&state, &state_shape)?;
    let mut whole = vec![0.0; context.len()];
    let inputs = Inputs::new(query).key(keys).key_lengths(&lengths);
    let output = TensorMut::new(&mut whole, &context_shape)?;
    mechanism.forward(&inputs, Outputs::new().context(output))?;
    let output = TensorMut::new(&mut context, &context_shape)?;
    mechanism.forward(
        &Inputs::new(query).memory(&memory),
        Outputs::new().context(output),
    )?;
    let close = whole
        .iter()
        .zip(&context)
        .all(|(a, b)| (a - b).abs() < 1e-5);
    println!("as without a memory: {close}");
    Ok(())
}

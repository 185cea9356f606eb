// SPDX-License-Identifier: BSD-3-Clause
//! What the tests share: numbers, and attention by its formula.
#![allow(dead_code)] // each program uses some of it

/// Numbers between -1 and 1, other ones for each seed.
pub fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    for _ in 0..8 {
        next();
    }
    (0..count).map(|_| next()).collect()
}

pub fn to_f32(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&x| x as f32).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Rows of `from` times the transpose of a matrix [outputs, inputs].
pub fn project(from: &[f64], inputs: usize, weight: &[f64]) -> Vec<f64> {
    let rows = from.chunks(inputs);
    rows.flat_map(|row| weight.chunks(inputs).map(move |w| dot(w, row)))
        .collect()
}

/// What a head comes to.
pub struct Head {
    pub context: Vec<f64>,
    pub weights: Vec<f64>,
    pub logsumexp: Vec<f64>,
}

/// One head by the formula: softmax over the keys, from the scores, minus infinity where a key is not seen.
pub fn attend(
    queries: usize,
    values: &[f64],
    value_dim: usize,
    score: impl Fn(usize, usize) -> f64,
) -> Head {
    let keys = values.len() / value_dim;
    let mut head = Head {
        context: vec![0.0; queries * value_dim],
        weights: vec![0.0; queries * keys],
        logsumexp: vec![f64::NEG_INFINITY; queries],
    };
    for i in 0..queries {
        let scores: Vec<f64> = (0..keys).map(|j| score(i, j)).collect();
        let sum: f64 = scores.iter().map(|e| e.exp()).sum();
        if sum == 0.0 {
            continue;
        }
        head.logsumexp[i] = sum.ln();
        for j in 0..keys {
            let weight = scores[j].exp() / sum;
            head.weights[i * keys + j] = weight;
            for d in 0..value_dim {
                head.context[i * value_dim + d] += weight * values[j * value_dim + d];
            }
        }
    }
    head
}

/// That numbers are the same but for roundings: of sums of a few products of numbers around 1.
pub fn same(got: &[f64], wanted: &[f64]) {
    close(got, wanted, 1e-12);
}

pub fn same_f32(got: &[f32], wanted: &[f64]) {
    let got: Vec<f64> = got.iter().map(|&x| x.into()).collect();
    close(&got, wanted, 1e-5);
}

pub fn close(got: &[f64], wanted: &[f64], bound: f64) {
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let same = got == wanted || (got - wanted).abs() <= bound * (1.0 + wanted.abs());
        assert!(same, "element {i} is {got}, not {wanted}");
    }
}

/// That a gradient is that of a function: by differences in every element.
pub fn check_gradient(at: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    const STEP: f64 = 1e-5;
    assert_eq!(at.len(), gradient.len());
    let differences: Vec<f64> = (0..at.len())
        .map(|i| {
            let moved = |by: f64| {
                let mut x = at.to_vec();
                x[i] += by;
                f(&x)
            };
            (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
        })
        .collect();
    close(gradient, &differences, 1e-7); // the differences' own error is of the order of STEP squared
}

// SPDX-License-Identifier: BSD-3-Clause
//! sentence.rs: dot attention on one sentence: which words a word looks at, by nothing but the likeness of their vectors.

use attn::{Engine, Inputs, Mechanism, Outputs, Tensor, TensorMut};

const DIM: usize = 4;

/// What a trained model would have found out: article, noun, verb, animal. Equal words have equal vectors.
fn meaning(word: &str) -> [f32; DIM] {
    match word {
        "the" => [2.0, 0.0, 0.0, 0.0],
        "cat" => [0.0, 2.0, 0.0, 2.0],
        "saw" => [0.0, 0.0, 3.0, 0.0],
        _ => [1.0, 1.0, 0.0, 0.0],
    }
}

fn main() -> attn::Result<()> {
    let words: Vec<&str> = "the cat saw the other cat".split(' ').collect();
    let n = words.len();
    let vectors: Vec<f32> = words.iter().flat_map(|word| meaning(word)).collect();
    let (mut context, mut weights) = (vec![0.0; n * DIM], vec![0.0; n * n]);

    let mut mechanism = Mechanism::dot(&Engine::new()?)?;
    mechanism.set_temperature(2.0)?;
    let sentence = Tensor::new(&vectors, &[n, DIM])?;
    let outputs = Outputs::new()
        .context(TensorMut::new(&mut context, &[n, DIM])?)
        .weights(TensorMut::new(&mut weights, &[n, n])?);
    mechanism.forward(&Inputs::new(sentence).key(sentence), outputs)?; // no values: the keys are the values

    println!("{:8}{}", "", words.map_each(|word| format!("{word:>7}")));
    for (word, row) in words.iter().zip(weights.chunks(n)) {
        println!(
            "{word:>8}{}",
            row.map_each(|weight| format!("{weight:7.3}"))
        );
    }
    Ok(())
}

/// Each of a row in words.
trait MapEach<T> {
    fn map_each(&self, words: impl Fn(&T) -> String) -> String;
}

impl<T> MapEach<T> for [T] {
    fn map_each(&self, words: impl Fn(&T) -> String) -> String {
        self.iter().map(words).collect()
    }
}

// SPDX-License-Identifier: BSD-3-Clause
//! Numbers of 16 bits: how they round, and that calls on them are those in float32, rounded once.

mod common;

use attn::*;
use common::*;
use std::sync::Arc;

/// What the tests want of both types.
trait Half: Float<Wide = f32> + PartialEq + std::fmt::Debug {
    const FRACTION: i32; // bits
    const LEAST: i32; // exponent of a normal number
    fn narrowed(number: f32) -> Self;
    fn widened(self) -> f32;
    fn of(bits: u16) -> Self;
    fn bits(self) -> u16;
}

macro_rules! halves {
    ($($half:ident: $fraction:literal, $least:literal;)*) => {$(
        impl Half for $half {
            const FRACTION: i32 = $fraction;
            const LEAST: i32 = $least;
            fn narrowed(number: f32) -> Self {
                $half::from_f32(number)
            }
            fn widened(self) -> f32 {
                assert_eq!(f64::from(self).to_bits(), f64::from(f32::from(self)).to_bits());
                self.to_f32()
            }
            fn of(bits: u16) -> Self {
                $half::from_bits(bits)
            }
            fn bits(self) -> u16 {
                self.to_bits()
            }
        }
    )*};
}

halves! {
    F16: 10, -14;
    Bf16: 7, -126;
}

/// What bits say, by their fields.
fn value_of<T: Half>(bits: u16) -> f64 {
    let (fraction, exponent) = (
        bits & ((1 << T::FRACTION) - 1),
        (bits & 0x7fff) >> T::FRACTION,
    );
    let size = if exponent == 0x7fff >> T::FRACTION {
        [f64::NAN, f64::INFINITY][usize::from(fraction == 0)]
    } else if exponent == 0 {
        f64::from(fraction) * 2f64.powi(T::LEAST - T::FRACTION)
    } else {
        let whole = f64::from(fraction) + 2f64.powi(T::FRACTION);
        whole * 2f64.powi(T::LEAST - T::FRACTION + i32::from(exponent) - 1)
    };
    [size, -size][usize::from(bits >> 15)]
}

/// All that there are, and what lies between neighbours: their middle goes to the even one, what is less or more to the
/// nearer.
fn rounds<T: Half>() {
    for bits in 0..=u16::MAX {
        let (value, number) = (value_of::<T>(bits), T::of(bits));
        if value.is_nan() {
            assert!(number.widened().is_nan() && T::narrowed(number.widened()).widened().is_nan());
            continue;
        }
        assert_eq!(f64::from(number.widened()), value, "{bits:#06x}");
        assert_eq!(T::narrowed(value as f32).bits(), bits);
        if value.is_infinite() {
            continue;
        }
        let (before, after) = (value_of::<T>(bits.wrapping_sub(1)), value_of::<T>(bits + 1));
        let step = if after.is_infinite() {
            value - before
        } else {
            after - value
        };
        let middle = (value + step / 2.0) as f32;
        assert_eq!(f64::from(middle), value + step / 2.0);
        let [less, more] = [middle.to_bits() - 1, middle.to_bits() + 1].map(f32::from_bits);
        assert_eq!(T::narrowed(middle).bits(), bits + bits % 2, "{bits:#06x}");
        assert_eq!(T::narrowed(less).bits(), bits);
        assert_eq!(T::narrowed(more).bits(), bits + 1);
    }
    assert_eq!(T::narrowed(f32::MAX).widened(), f32::INFINITY);
    assert_eq!(T::narrowed(-f32::from_bits(1)).bits(), 0x8000);
}

#[test]
fn float16_rounds_to_the_nearest() {
    rounds::<F16>();
    assert_eq!(F16::from_f32(65519.0).to_f32(), 65504.0);
    assert_eq!(F16::from_f32(65520.0).to_f32(), f32::INFINITY);
}

#[test]
fn bfloat16_rounds_to_the_nearest() {
    rounds::<Bf16>();
}

#[test]
fn slices_of_bits_are_slices_of_numbers() {
    let mut bits = [0x3c00, 0xc000, 0x3555];
    assert_eq!(F16::slice_of_bits(&bits)[1].to_f32(), -2.0);
    F16::slice_of_bits_mut(&mut bits)[0] = F16::from_f32(0.5);
    assert_eq!(bits, [0x3800, 0xc000, 0x3555]);
    let mut numbers = [Bf16::from_f32(1.0), Bf16::from_f32(-3.0)];
    assert_eq!(Bf16::bits_of_slice(&numbers), [0x3f80, 0xc040]);
    Bf16::bits_of_slice_mut(&mut numbers)[1] = 0x4000;
    assert_eq!(format!("{numbers:?} {}", numbers[1]), "[1.0, 2.0] 2");
    assert!(numbers[0] < numbers[1] && numbers[0] != numbers[1]);
}

const HEADS: usize = 2;
const QUERIES: usize = 3;
const KEYS: usize = 5;
const DIM: usize = 4;
const VALUES: usize = 6;
const QUERY: [usize; 3] = [HEADS, QUERIES, DIM];
const KEY: [usize; 3] = [HEADS, KEYS, DIM];
const VALUE: [usize; 3] = [HEADS, KEYS, VALUES];
const CONTEXT: [usize; 3] = [HEADS, QUERIES, VALUES];
const WEIGHTS: [usize; 3] = [HEADS, QUERIES, KEYS];
const ROWS: [usize; 2] = [HEADS, QUERIES];

/// The same numbers in 16 bits and in 32.
struct Both<T> {
    narrow: Vec<T>,
    wide: Vec<f32>,
}

impl<T: Half> Both<T> {
    fn new(shape: &[usize], seed: u64) -> Self {
        let count = shape.iter().product();
        let narrow: Vec<T> = numbers(count, seed)
            .iter()
            .map(|&x| T::narrowed(x as f32))
            .collect();
        let wide = narrow.iter().map(|x| x.widened()).collect();
        Self { narrow, wide }
    }
}

fn rounded_once<T: Half>(got: &[T], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len());
    for (i, (got, &wanted)) in got.iter().zip(wanted).enumerate() {
        let bound = wanted.abs() * 0.501 * 2f32.powi(-T::FRACTION) + 1e-6;
        let off = (got.widened() - wanted).abs();
        assert!(off <= bound, "element {i} is {got:?}, not {wanted}");
    }
}

fn near(got: &[f32], wanted: &[f32]) {
    let wanted: Vec<f64> = wanted.iter().map(|&x| x.into()).collect();
    same_f32(got, &wanted);
}

fn zeros<T: Float>(shape: &[usize]) -> Vec<T> {
    vec![T::default(); shape.iter().product()]
}

/// What a call writes.
struct Written<T: Float> {
    context: Vec<T>,
    weights: Vec<T::Wide>,
    scores: Vec<T::Wide>,
    logsumexp: Vec<T::Wide>,
    entropy: Vec<T::Wide>,
    sums: Vec<T::Wide>,
}

fn forward<T: Float>(mechanism: &Mechanism, inputs: &Inputs<'_, T>) -> Written<T> {
    let mut to = Written {
        context: zeros(&CONTEXT),
        weights: zeros(&WEIGHTS),
        scores: zeros(&WEIGHTS),
        logsumexp: zeros(&ROWS),
        entropy: zeros(&ROWS),
        sums: zeros(&[HEADS, KEYS]),
    };
    let stats = Stats::new()
        .entropy(TensorMut::new(&mut to.entropy, &ROWS).unwrap())
        .key_sums(TensorMut::new(&mut to.sums, &[HEADS, KEYS]).unwrap());
    let outputs = Outputs::new()
        .context(TensorMut::new(&mut to.context, &CONTEXT).unwrap())
        .weights(TensorMut::new(&mut to.weights, &WEIGHTS).unwrap())
        .scores(
            Stage::Masked,
            TensorMut::new(&mut to.scores, &WEIGHTS).unwrap(),
        )
        .logsumexp(TensorMut::new(&mut to.logsumexp, &ROWS).unwrap())
        .stats(stats);
    mechanism.forward(inputs, outputs).unwrap();
    to
}

fn inputs_of<'a, T: Float>(
    query: &'a [T],
    key: &'a [T],
    value: &'a [T],
    bias: &'a [T],
) -> Inputs<'a, T> {
    Inputs::new(Tensor::new(query, &QUERY).unwrap())
        .key(Tensor::new(key, &KEY).unwrap())
        .value(Tensor::new(value, &VALUE).unwrap())
        .bias(Tensor::new(bias, &[QUERIES, KEYS]).unwrap())
}

/// With slopes and parameters in float32, as 16 bits have them too.
fn mechanism() -> Mechanism {
    let mut mechanism = Mechanism::general(&Engine::new().unwrap(), DIM, DIM).unwrap();
    mechanism.bind("W", to_f32(&numbers(DIM * DIM, 9))).unwrap();
    let slopes = vec![0.5f32, 0.25];
    mechanism.set_alibi(slopes, Align::TopLeft).unwrap();
    mechanism
}

fn calls<T: Half>() {
    let mechanism = mechanism();
    let (query, key, value) = (
        Both::new(&QUERY, 1),
        Both::new(&KEY, 2),
        Both::new(&VALUE, 3),
    );
    let bias = Both::<T>::new(&[QUERIES, KEYS], 4);
    let narrow: Inputs<'_, T> = inputs_of(&query.narrow, &key.narrow, &value.narrow, &bias.narrow);
    let wide = inputs_of(&query.wide, &key.wide, &value.wide, &bias.wide);
    let (got, wanted) = (forward(&mechanism, &narrow), forward(&mechanism, &wide));
    rounded_once(&got.context, &wanted.context);
    near(&got.weights, &wanted.weights);
    near(&got.scores, &wanted.scores);
    near(&got.logsumexp, &wanted.logsumexp);
    near(&got.entropy, &wanted.entropy);
    near(&got.sums, &wanted.sums);

    // Planned, with a log-sum-exp of either type.
    let (mut context, mut weights) = (zeros::<T>(&CONTEXT), zeros(&WEIGHTS));
    let (mut exact, mut rows) = (zeros::<f64>(&ROWS), zeros::<f32>(&ROWS));
    for in_f64 in [true, false] {
        let outputs = Outputs::new()
            .context(TensorMut::new(&mut context, &CONTEXT).unwrap())
            .weights(TensorMut::new(&mut weights, &WEIGHTS).unwrap());
        let outputs = match in_f64 {
            true => outputs.logsumexp(TensorMut::new(&mut exact, &ROWS).unwrap()),
            false => outputs.logsumexp(TensorMut::new(&mut rows, &ROWS).unwrap()),
        };
        let mut call = mechanism.prepare(&narrow, outputs).unwrap();
        context.fill(T::default());
        let slices = Slices {
            query: &query.narrow,
            key: &key.narrow,
            value: &value.narrow,
            bias: &bias.narrow,
            context: &mut context,
            weights: &mut weights,
            logsumexp: if in_f64 { &mut [] } else { &mut rows },
            exact_logsumexp: if in_f64 { &mut exact } else { &mut [] },
            ..Default::default()
        };
        call.run(&mechanism, slices).unwrap();
        assert_eq!(context, got.context);
        near(&weights, &wanted.weights);
    }
    near(&rows, &wanted.logsumexp);
    let exact: Vec<f32> = exact.iter().map(|&x| x as f32).collect();
    near(&exact, &wanted.logsumexp);
}

#[test]
fn calls_in_float16_are_those_in_float32_rounded_once() {
    calls::<F16>();
}

#[test]
fn calls_in_bfloat16_are_those_in_float32_rounded_once() {
    calls::<Bf16>();
}

/// What comes of a backward call.
struct Returned<T: Float> {
    query: Vec<T>,
    key: Vec<T>,
    value: Vec<T>,
    bias: Vec<T>,
    alibi: Vec<T::Wide>,
    w: Vec<T::Wide>,
}

fn backward<T: Float>(
    mechanism: &Mechanism,
    inputs: &Inputs<'_, T>,
    logsumexp: &[f32],
    context: &[T],
    d_context: &[T],
    d_weights: &[T::Wide],
) -> Returned<T> {
    let mut to = Returned {
        query: zeros(&QUERY),
        key: zeros(&KEY),
        value: zeros(&VALUE),
        bias: zeros(&[QUERIES, KEYS]),
        alibi: zeros(&[HEADS]),
        w: zeros(&[DIM, DIM]),
    };
    let tensor = |slice| Tensor::new(slice, &CONTEXT).unwrap();
    let flow = Flow::new(Tensor::new(logsumexp, &ROWS).unwrap())
        .context(tensor(context), tensor(d_context))
        .weights(Tensor::new(d_weights, &WEIGHTS).unwrap());
    let gradients = Gradients::new()
        .query(TensorMut::new(&mut to.query, &QUERY).unwrap())
        .key(TensorMut::new(&mut to.key, &KEY).unwrap())
        .value(TensorMut::new(&mut to.value, &VALUE).unwrap())
        .bias(TensorMut::new(&mut to.bias, &[QUERIES, KEYS]).unwrap())
        .alibi(TensorMut::new(&mut to.alibi, &[HEADS]).unwrap())
        .param("W", TensorMut::new(&mut to.w, &[DIM, DIM]).unwrap());
    mechanism.backward(inputs, &flow, gradients).unwrap();
    to
}

/// Both of the same context, rounded, which is read.
fn gradients<T: Half>() {
    let mechanism = mechanism();
    let (query, key, value) = (
        Both::new(&QUERY, 1),
        Both::new(&KEY, 2),
        Both::new(&VALUE, 3),
    );
    let bias = Both::<T>::new(&[QUERIES, KEYS], 4);
    let (flow, d_weights) = (
        Both::<T>::new(&CONTEXT, 5),
        to_f32(&numbers(HEADS * QUERIES * KEYS, 6)),
    );
    let narrow: Inputs<'_, T> = inputs_of(&query.narrow, &key.narrow, &value.narrow, &bias.narrow);
    let wide = inputs_of(&query.wide, &key.wide, &value.wide, &bias.wide);
    let made = forward(&mechanism, &narrow);
    let context: Vec<f32> = made.context.iter().map(|x| x.widened()).collect();
    let (rows, of) = (&made.logsumexp, &made.context);
    let got = backward(&mechanism, &narrow, rows, of, &flow.narrow, &d_weights);
    let wanted = backward(&mechanism, &wide, rows, &context, &flow.wide, &d_weights);
    rounded_once(&got.query, &wanted.query);
    rounded_once(&got.key, &wanted.key);
    rounded_once(&got.value, &wanted.value);
    rounded_once(&got.bias, &wanted.bias);
    near(&got.alibi, &wanted.alibi);
    near(&got.w, &wanted.w);
}

#[test]
fn gradients_in_float16_are_those_in_float32_rounded_once() {
    gradients::<F16>();
}

#[test]
fn gradients_in_bfloat16_are_those_in_float32_rounded_once() {
    gradients::<Bf16>();
}

fn memories<M: Stored, T: Half>(bound: f32) {
    let mechanism = Arc::new(Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap());
    let (query, key, value) = (
        Both::<T>::new(&QUERY, 1),
        Both::<T>::new(&KEY, 2),
        Both::<T>::new(&VALUE, 3),
    );
    let options = MemoryOptions::new(DIM).value_dim(VALUES).key_heads(HEADS);
    let mut memory = Memory::<M>::new(&mechanism, options).unwrap();
    let (shape, wide) = ([1, HEADS, KEYS, DIM], [1, HEADS, KEYS, VALUES]);
    let rows = Append::keys(Tensor::new(&key.narrow, &shape).unwrap());
    let rows = rows.values(Tensor::new(&value.narrow, &wide).unwrap());
    let (mut got, mut wanted) = (zeros::<T>(&CONTEXT), zeros::<f32>(&CONTEXT));
    memory.append_converted(rows).unwrap();
    let inputs = Inputs::new(Tensor::new(&query.narrow, &QUERY).unwrap()).memory(&memory);
    let outputs = Outputs::new().context(TensorMut::new(&mut got, &CONTEXT).unwrap());
    mechanism.forward(&inputs, outputs).unwrap();
    let inputs = Inputs::new(Tensor::new(&query.wide, &QUERY).unwrap())
        .key(Tensor::new(&key.wide, &KEY).unwrap())
        .value(Tensor::new(&value.wide, &VALUE).unwrap());
    let outputs = Outputs::new().context(TensorMut::new(&mut wanted, &CONTEXT).unwrap());
    mechanism.forward(&inputs, outputs).unwrap();
    for (got, wanted) in got.iter().zip(wanted) {
        assert!((got.widened() - wanted).abs() <= bound, "{got:?} {wanted}");
    }
}

#[test]
fn memories_are_of_any_type() {
    memories::<F16, F16>(1e-3);
    memories::<Bf16, Bf16>(8e-3);
    memories::<i8, F16>(3e-2); // scales of numbers up to 1: off by 1/254 each
    memories::<i8, Bf16>(3e-2);
}

/// Parameters in float32, or in the type of the words.
fn layers<T: Half>() {
    let (words, w) = (
        Both::<T>::new(&[QUERIES, DIM], 1),
        Both::<T>::new(&[DIM, DIM], 2),
    );
    let layer = || {
        let mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
        MultiHead::new(mechanism, MultiHeadOptions::new(DIM, HEADS)).unwrap()
    };
    let run = |bind: &dyn Fn(&mut MultiHead, &str) -> Result<()>| {
        let (mut layer, mut output) = (layer(), zeros::<T>(&[QUERIES, DIM]));
        for name in ["W_q", "W_k", "W_v", "W_o"] {
            bind(&mut layer, name).unwrap();
        }
        let inputs = Inputs::new(Tensor::new(&words.narrow, &[QUERIES, DIM]).unwrap());
        let outputs = Outputs::new().output(TensorMut::new(&mut output, &[QUERIES, DIM]).unwrap());
        layer.forward(&inputs, outputs).unwrap();
        output
    };
    let (mut layer, mut wanted) = (layer(), zeros::<f32>(&[QUERIES, DIM]));
    for name in ["W_q", "W_k", "W_v", "W_o"] {
        layer.bind(name, w.wide.clone()).unwrap();
    }
    let inputs = Inputs::new(Tensor::new(&words.wide, &[QUERIES, DIM]).unwrap());
    let outputs = Outputs::new().output(TensorMut::new(&mut wanted, &[QUERIES, DIM]).unwrap());
    layer.forward(&inputs, outputs).unwrap();
    let shared = Arc::new(w.narrow.clone());
    for got in [
        run(&|layer, name| layer.bind(name, w.wide.clone())),
        run(&|layer, name| layer.bind(name, Param::shared::<T, _>(shared.clone()))),
    ] {
        rounded_once(&got, &wanted);
    }
}

#[test]
fn layers_are_of_any_type() {
    layers::<F16>();
    layers::<Bf16>();
}

#[test]
fn parameters_of_16_bits_are_given_back() {
    let mut mechanism = Mechanism::general(&Engine::new().unwrap(), 2, 1).unwrap();
    let w = vec![F16::from_f32(0.5), F16::from_f32(-1.0)];
    mechanism.bind("W", w.clone()).unwrap();
    let error = mechanism.param::<Bf16>("W").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the parameter is F16, but Bf16 is asked for"
    );
    mechanism.param_mut::<F16>("W").unwrap()[1] = F16::from_f32(3.0);
    let after = vec![w[0], F16::from_f32(3.0)];
    assert_eq!(mechanism.unbind("W").unwrap(), Owned::F16(after));
}

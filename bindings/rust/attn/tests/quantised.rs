// SPDX-License-Identifier: BSD-3-Clause
//! Keys and values of 8 bits with scales, and memories of 8 and 16 bits: attention over them is that over the numbers that
//! they stand for.

mod common;

use attn::*;
use common::*;
use std::sync::Arc;

const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const QUERIES: usize = 3;
const KEYS: usize = 7;
const DIM: usize = 8;
const VALUES: usize = 6;
const QUERY: [usize; 4] = [1, HEADS, QUERIES, DIM];
const KEY: [usize; 4] = [1, KEY_HEADS, KEYS, DIM];
const VALUE: [usize; 4] = [1, KEY_HEADS, KEYS, VALUES];
const SCALES: [usize; 3] = [1, KEY_HEADS, KEYS];
const CONTEXT: [usize; 4] = [1, HEADS, QUERIES, VALUES];
const WEIGHTS: [usize; 4] = [1, HEADS, QUERIES, KEYS];

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// What is computed in float32, and rounded to it once.
trait Number: Float<Wide = f32> {
    const ROUNDOFF: f32; // of a number about 1
    fn narrowed(number: f32) -> Self;
    fn widened(self) -> f32;
}

macro_rules! number {
    ($type:ty, $roundoff:expr, $from:expr) => {
        impl Number for $type {
            const ROUNDOFF: f32 = $roundoff;
            fn narrowed(number: f32) -> Self {
                $from(number)
            }
            fn widened(self) -> f32 {
                f32::from(self)
            }
        }
    };
}

number!(f32, 0.0, |x| x);
number!(F16, 1.0 / 2048.0, F16::from_f32);
number!(Bf16, 1.0 / 256.0, Bf16::from_f32);

fn drawn<T: Number>(count: usize, seed: u64) -> Vec<T> {
    let numbers = to_f32(&numbers(count, seed));
    numbers.into_iter().map(T::narrowed).collect()
}

fn widened<T: Number>(numbers: &[T]) -> Vec<f32> {
    numbers.iter().map(|x| x.widened()).collect()
}

fn rounded_once<T: Number>(got: &[T], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in widened(got).iter().zip(wanted) {
        let bound = wanted.abs() * T::ROUNDOFF * 1.001 + 3e-6;
        assert!((got - wanted).abs() <= bound, "{got} {wanted}");
    }
}

/// The nearest whole number, of two the even one.
fn nearest(x: f32) -> f32 {
    let is_middle = (x - x.trunc()).abs() == 0.5;
    [x.round(), 2.0 * (x / 2.0).round()][usize::from(is_middle)]
}

/// Rows as a memory makes integers of them: these, the scale of each row, and what both stand for.
struct Quantised {
    integers: Vec<i8>,
    scales: Vec<f32>,
    meant: Vec<f32>,
}

impl Quantised {
    fn new(rows: &[f32], width: usize) -> Self {
        let greatest = |row: &[f32]| row.iter().fold(0f32, |most, x| most.max(x.abs()));
        let scales: Vec<f32> = rows
            .chunks(width)
            .map(|row| greatest(row) / 127.0)
            .collect();
        let at = |i: usize| scales[i / width];
        let integers: Vec<i8> = (0..rows.len())
            .map(|i| nearest(rows[i] / at(i)) as i8)
            .collect();
        let meant = (0..rows.len())
            .map(|i| f32::from(integers[i]) * at(i))
            .collect();
        Self {
            integers,
            scales,
            meant,
        }
    }
}

/// The context and the weights.
fn forward<T: Number>(mechanism: &Mechanism, inputs: &Inputs<'_, T>) -> (Vec<T>, Vec<f32>) {
    let mut context = vec![T::default(); elements(&CONTEXT)];
    let mut weights = vec![0.0; elements(&WEIGHTS)];
    let outputs = Outputs::new()
        .context(TensorMut::new(&mut context, &CONTEXT).unwrap())
        .weights(TensorMut::new(&mut weights, &WEIGHTS).unwrap());
    mechanism.forward(inputs, outputs).unwrap();
    (context, weights)
}

fn scaled_dot() -> Mechanism {
    Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap()
}

fn stand_for<T: Number>() {
    let mechanism = scaled_dot();
    let query = drawn::<T>(elements(&QUERY), 1);
    let key = Quantised::new(&drawn::<f32>(elements(&KEY), 2), DIM);
    let value = Quantised::new(&drawn::<f32>(elements(&VALUE), 3), VALUES);
    let wide_query = widened(&query);
    let plain = Inputs::new(Tensor::new(&wide_query, &QUERY).unwrap())
        .key(Tensor::new(&key.meant, &KEY).unwrap())
        .value(Tensor::new(&value.meant, &VALUE).unwrap())
        .key_lengths(&[5]);
    let (wanted, wanted_weights) = forward(&mechanism, &plain);
    let integers = Tensor::new(&value.integers, &VALUE).unwrap();
    let given = Inputs::new(Tensor::new(&query, &QUERY).unwrap())
        .quantised_key(
            Tensor::new(&key.integers, &KEY).unwrap(),
            Tensor::new(&key.scales, &SCALES).unwrap(),
        )
        .key_lengths(&[5]);
    let quantised = given.quantised_value(integers, Tensor::new(&value.scales, &SCALES).unwrap());
    let (got, weights) = forward(&mechanism, &quantised);
    rounded_once(&got, &wanted);
    rounded_once(&weights, &wanted_weights);

    // Of the query's own type beside integers; and instead of integers that were given before.
    let narrow: Vec<T> = value.meant.iter().map(|&x| T::narrowed(x)).collect();
    let narrow_wide = widened(&narrow);
    let mixed = quantised.value(Tensor::new(&narrow, &VALUE).unwrap());
    let of_mixed = plain.value(Tensor::new(&narrow_wide, &VALUE).unwrap());
    rounded_once(
        &forward(&mechanism, &mixed).0,
        &forward(&mechanism, &of_mixed).0,
    );

    // A call that is laid out once, on other slices.
    let mut context = vec![T::default(); elements(&CONTEXT)];
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &CONTEXT).unwrap());
    let mut call = mechanism.prepare(&quantised, outputs).unwrap();
    let doubled: Vec<f32> = value.scales.iter().map(|scale| 2.0 * scale).collect();
    for (scales, times) in [(&value.scales, 1.0), (&doubled, 2.0)] {
        let slices = Slices {
            query: &query,
            quantised_key: &key.integers,
            key_scales: &key.scales,
            quantised_value: &value.integers,
            value_scales: scales,
            key_lengths: Some((&[5]).into()),
            context: &mut context,
            ..Default::default()
        };
        call.run(&mechanism, slices).unwrap();
        let wanted: Vec<f32> = wanted.iter().map(|x| x * times).collect();
        rounded_once(&context, &wanted);
    }
    let slices = Slices {
        query: &query,
        quantised_key: &key.integers,
        key_scales: &key.scales[1..],
        quantised_value: &value.integers,
        value_scales: &value.scales,
        key_lengths: Some((&[5]).into()),
        context: &mut context,
        ..Default::default()
    };
    let error = call.run(&mechanism, slices).unwrap_err();
    assert_eq!(error.status(), Status::Shape);
    assert!(error.to_string().starts_with("key_scales has 13 elements"));
    let slices = Slices {
        query: &query,
        key: &query, // which was not laid out
        quantised_key: &key.integers,
        key_scales: &key.scales,
        quantised_value: &value.integers,
        value_scales: &value.scales,
        key_lengths: Some((&[5]).into()),
        context: &mut context,
        ..Default::default()
    };
    let error = call.run(&mechanism, slices).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
}

#[test]
fn integers_are_what_they_stand_for() {
    stand_for::<f32>();
    stand_for::<F16>();
    stand_for::<Bf16>();
}

#[test]
fn keys_of_integers_are_the_values_too() {
    let (mechanism, query) = (scaled_dot(), drawn::<f32>(2 * 4, 1));
    let key = Quantised::new(&drawn::<f32>(5 * 4, 2), 4);
    let run = |inputs: Inputs<'_, f32>| {
        let mut context = vec![0.0; 2 * 4];
        let outputs = Outputs::new().context(TensorMut::new(&mut context, &[2, 4]).unwrap());
        mechanism.forward(&inputs, outputs).unwrap();
        context
    };
    let inputs = Inputs::new(Tensor::new(&query, &[2, 4]).unwrap());
    let scales = Tensor::new(&key.scales, &[5]).unwrap();
    let got = run(inputs.quantised_key(Tensor::new(&key.integers, &[5, 4]).unwrap(), scales));
    rounded_once(
        &got,
        &run(inputs.key(Tensor::new(&key.meant, &[5, 4]).unwrap())),
    );
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let mechanism = scaled_dot();
    let (query, wide_query) = ([1.0f32; 4], [1.0f64; 4]);
    let (integers, scales) = ([1i8; 12], [1.0f32; 3]);
    let key = Tensor::new(&integers, &[3, 4]).unwrap();
    let mut context = [9.0f32; 4];
    let inputs = Inputs::new(Tensor::new(&query, &[1, 4]).unwrap());
    let fewer = Tensor::new(&scales[1..], &[2]).unwrap();
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &[1, 4]).unwrap());
    let error = mechanism
        .forward(&inputs.quantised_key(key, fewer), outputs)
        .unwrap_err();
    assert_eq!(error.status(), Status::Shape, "{error}");
    assert_eq!(context, [9.0; 4]);

    let scales = Tensor::new(&scales, &[3]).unwrap();
    let inputs = Inputs::new(Tensor::new(&wide_query, &[1, 4]).unwrap()).quantised_key(key, scales);
    let mut wide = [9.0f64; 4];
    let outputs = Outputs::new().context(TensorMut::new(&mut wide, &[1, 4]).unwrap());
    let error = mechanism.forward(&inputs, outputs).unwrap_err();
    assert_eq!(error.status(), Status::DType, "{error}");

    let inputs = Inputs::new(Tensor::new(&query, &[1, 4]).unwrap()).quantised_key(key, scales);
    let (rows, mut d_query) = ([0.0f64; 1], [0.0f32; 4]);
    let read = Tensor::new(&context, &[1, 4]).unwrap();
    let flow = Flow::new(Tensor::new(&rows, &[1]).unwrap()).context(read, read);
    let gradients = Gradients::new().query(TensorMut::new(&mut d_query, &[1, 4]).unwrap());
    let error = mechanism.backward(&inputs, &flow, gradients).unwrap_err();
    assert_eq!(error.status(), Status::Unsupported, "{error}");
}

/// What a memory of M has of rows that come as T.
trait Kept<T: Number>: Stored {
    fn kept(rows: &[T], width: usize) -> Vec<f32>;
}

impl<T: Number> Kept<T> for i8 {
    fn kept(rows: &[T], width: usize) -> Vec<f32> {
        Quantised::new(&widened(rows), width).meant
    }
}

macro_rules! kept_as_it_comes {
    ($($type:ty),*) => {$(
        impl Kept<$type> for $type {
            fn kept(rows: &[$type], _: usize) -> Vec<f32> {
                widened(rows)
            }
        }
    )*};
}

kept_as_it_comes!(f32, F16, Bf16);

fn memories<M: Kept<T>, T: Number>() {
    let mechanism = Arc::new(scaled_dot());
    let query = drawn::<T>(elements(&QUERY), 4);
    let (key, value) = (
        drawn::<T>(elements(&KEY), 5),
        drawn::<T>(elements(&VALUE), 6),
    );
    let options = MemoryOptions::new(DIM)
        .value_dim(VALUES)
        .key_heads(KEY_HEADS);
    let mut memory = Memory::<M>::new(&mechanism, options).unwrap();
    let rows =
        Append::keys(Tensor::new(&key, &KEY).unwrap()).values(Tensor::new(&value, &VALUE).unwrap());
    memory.append_converted(rows).unwrap();
    let (keys, values) = (M::kept(&key, DIM), M::kept(&value, VALUES));
    let wide_query = widened(&query);
    let plain = Inputs::new(Tensor::new(&wide_query, &QUERY).unwrap())
        .key(Tensor::new(&keys, &KEY).unwrap())
        .value(Tensor::new(&values, &VALUE).unwrap());
    let (wanted, _) = forward(&mechanism, &plain);
    let inputs = Inputs::new(Tensor::new(&query, &QUERY).unwrap());
    rounded_once(&forward(&mechanism, &inputs.memory(&memory)).0, &wanted);
    let copy = memory.fork().unwrap();
    memory.truncate(&[0]).unwrap();
    rounded_once(&forward(&mechanism, &inputs.memory(&copy)).0, &wanted);
}

#[test]
fn memories_are_what_they_keep() {
    memories::<F16, F16>();
    memories::<Bf16, Bf16>();
    memories::<i8, f32>();
    memories::<i8, F16>();
    memories::<i8, Bf16>();
}

#[test]
fn memories_refuse_other_types() {
    let mechanism = Arc::new(scaled_dot());
    let mut memory = Memory::<F16>::new(&mechanism, MemoryOptions::new(4)).unwrap();
    let (key, wide) = ([1.0f32; 4], [1.0f64; 4]);
    let rows = Append::keys(Tensor::new(&key, &[1, 4]).unwrap());
    let error = memory.append_converted(rows).unwrap_err();
    assert_eq!(error.status(), Status::DType, "{error}");
    let mut memory = Memory::<i8>::new(&mechanism, MemoryOptions::new(4)).unwrap();
    let rows = Append::keys(Tensor::new(&wide, &[1, 4]).unwrap());
    let error = memory.append_converted(rows).unwrap_err();
    assert_eq!(error.status(), Status::DType, "{error}");
    assert_eq!(memory.lengths().unwrap(), [0]);
}

/// Word by word over a memory, and over one of float32 that has what the first one keeps. Keys and values are the words.
fn layers<M: Kept<T>, T: Number>() {
    const WORDS: usize = 5;
    let mut mechanism = scaled_dot();
    mechanism.set_causal(Some(Align::BottomRight)).unwrap();
    let mut layer = MultiHead::new(mechanism, MultiHeadOptions::new(DIM, 2)).unwrap();
    let unit: Vec<f32> = (0..DIM * DIM)
        .map(|i| f32::from(u8::from(i / DIM == i % DIM)))
        .collect();
    for name in ["W_q", "W_k", "W_v", "W_o"] {
        layer.bind(name, unit.clone()).unwrap();
    }
    let words = drawn::<T>(WORDS * DIM, 7);
    let rows = M::kept(&words, DIM / 2); // a row is a head's
    let mut memory = layer.memory::<M>(1, 0).unwrap();
    let mut known = layer.memory::<f32>(1, 0).unwrap();
    for (word, row) in words.chunks(DIM).zip(rows.chunks(DIM)) {
        let (mut got, mut wanted) = (vec![T::default(); DIM], vec![T::default(); DIM]);
        let inputs = Inputs::new(Tensor::new(word, &[1, DIM]).unwrap());
        let outputs = Outputs::new().output(TensorMut::new(&mut got, &[1, DIM]).unwrap());
        layer.decode(&mut memory, &inputs, outputs).unwrap();
        let row = Tensor::new(row, &[1, 2, 1, DIM / 2]).unwrap();
        known.append(Append::keys(row).values(row)).unwrap();
        let outputs = Outputs::new().output(TensorMut::new(&mut wanted, &[1, DIM]).unwrap());
        layer.forward(&inputs.memory(&known), outputs).unwrap();
        for (got, wanted) in widened(&got).iter().zip(widened(&wanted)) {
            let bound = wanted.abs() * 2.0 * T::ROUNDOFF + 3e-6;
            assert!((got - wanted).abs() <= bound, "{got} {wanted}");
        }
    }
    assert_eq!(memory.lengths().unwrap(), [WORDS]);
}

#[test]
fn layers_decode_from_memories_of_any_type() {
    layers::<i8, f32>();
    layers::<i8, F16>();
    layers::<i8, Bf16>();
    layers::<F16, F16>();
    layers::<Bf16, Bf16>();
}

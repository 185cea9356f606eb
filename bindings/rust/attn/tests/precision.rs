// SPDX-License-Identifier: BSD-3-Clause
//! `Precision::Fast` is near what is exact, and has its bits where the engine says that this CPU computes nothing otherwise,
//! and in other types.

mod common;

use attn::*;
use common::*;

const HEADS: usize = 2;
const QUERIES: usize = 64;
const KEYS: usize = 256;
const DIM: usize = 64;
const QUERY: [usize; 3] = [HEADS, QUERIES, DIM];
const KEY: [usize; 3] = [HEADS, KEYS, DIM];

/// Numbers between -2 and 2.
fn drawn<T>(rows: usize, seed: u64, narrowed: impl Fn(f32) -> T) -> Vec<T> {
    let numbers = numbers(HEADS * rows * DIM, seed);
    numbers.iter().map(|&x| narrowed(2.0 * x as f32)).collect()
}

/// The context by a precision.
fn context<T: Float>(
    mechanism: &mut Mechanism,
    inputs: &Inputs<'_, T>,
    queries: usize,
    precision: Precision,
) -> Vec<T> {
    mechanism.set_precision(precision).unwrap();
    let mut context = vec![T::default(); HEADS * queries * DIM];
    let out = TensorMut::new(&mut context, &[HEADS, queries, DIM]).unwrap();
    mechanism
        .forward(inputs, Outputs::new().context(out))
        .unwrap();
    context
}

/// Whether the engine says that fast is exact.
fn is_exact(engine: &Engine, kind: &str) -> bool {
    let json = engine.describe().unwrap();
    let fast = json.split("\"fast\":{").nth(1).unwrap();
    let fast = fast.split('}').next().unwrap();
    fast.contains(&format!("\"{kind}\":\"exact\""))
}

/// Within 2^-7 of the greatest.
fn near(got: &[f32], wanted: &[f32]) {
    let greatest = wanted.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(greatest > 0.1);
    for (got, wanted) in got.iter().zip(wanted) {
        assert!((got - wanted).abs() <= greatest / 128.0, "{got} {wanted}");
    }
}

/// Both precisions of one call, and again what is exact; whether both have the same bits.
fn both<T: Float>(inputs: &Inputs<'_, T>, queries: usize, widened: impl Fn(&T) -> f32) -> bool {
    let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    let [exact, fast, again] = [Precision::Exact, Precision::Fast, Precision::Exact]
        .map(|precision| context(&mut mechanism, inputs, queries, precision))
        .map(|context| context.iter().map(&widened).collect::<Vec<f32>>());
    near(&fast, &exact);
    assert_eq!(again, exact);
    fast == exact
}

/// Where something is faster, it is for one query or for many.
fn as_described(same: [bool; 2], kind: &str) {
    let exact = is_exact(&Engine::new().unwrap(), kind);
    assert_eq!(same[0] && same[1], exact);
}

#[test]
fn bfloat16_is_near() {
    let query = drawn(QUERIES, 1, Bf16::from_f32);
    let key = drawn(KEYS, 2, Bf16::from_f32);
    let same = [1, QUERIES].map(|queries| {
        let rows = Tensor::new(&query[..HEADS * queries * DIM], &[HEADS, queries, DIM]).unwrap();
        let inputs = Inputs::new(rows).key(Tensor::new(&key, &KEY).unwrap());
        both(&inputs, queries, |x| x.to_f32())
    });
    as_described(same, "bf16");
}

#[test]
fn integers_are_near() {
    let query = drawn(QUERIES, 1, |x| x);
    let key = drawn(KEYS, 2, |x| (62.0 * x) as i8);
    let scales = vec![1f32 / 127.0; HEADS * KEYS];
    let same = [1, QUERIES].map(|queries| {
        let rows = Tensor::new(&query[..HEADS * queries * DIM], &[HEADS, queries, DIM]).unwrap();
        let inputs = Inputs::new(rows).quantised_key(
            Tensor::new(&key, &KEY).unwrap(),
            Tensor::new(&scales, &[HEADS, KEYS]).unwrap(),
        );
        both(&inputs, queries, |&x| x)
    });
    as_described(same, "i8");
}

#[test]
fn other_types_have_the_same_bits() {
    fn check<T: Float + PartialEq + std::fmt::Debug>(narrowed: impl Fn(f32) -> T) {
        let (query, key) = (drawn(QUERIES, 1, &narrowed), drawn(KEYS, 2, &narrowed));
        let inputs =
            Inputs::new(Tensor::new(&query, &QUERY).unwrap()).key(Tensor::new(&key, &KEY).unwrap());
        let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
        let [exact, fast] = [Precision::Exact, Precision::Fast]
            .map(|precision| context(&mut mechanism, &inputs, QUERIES, precision));
        assert_eq!(exact, fast);
        assert!(exact.iter().any(|x| *x != T::default()));
    }
    check(|x| x);
    check(f64::from);
    check(F16::from_f32);
}

/// What is laid out is computed by the precision that its mechanism has.
#[test]
fn a_prepared_call_follows_its_mechanism() {
    let (query, key) = (
        drawn(QUERIES, 1, Bf16::from_f32),
        drawn(KEYS, 2, Bf16::from_f32),
    );
    let inputs =
        Inputs::new(Tensor::new(&query, &QUERY).unwrap()).key(Tensor::new(&key, &KEY).unwrap());
    let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    for precision in [Precision::Fast, Precision::Exact, Precision::Fast] {
        let wanted = context(&mut mechanism, &inputs, QUERIES, precision);
        let mut got = vec![Bf16::default(); wanted.len()];
        let outputs = Outputs::new().context(TensorMut::new(&mut got, &QUERY).unwrap());
        let mut call = mechanism.prepare(&inputs, outputs).unwrap();
        let slices = Slices {
            query: &query,
            key: &key,
            context: &mut got,
            ..Default::default()
        };
        call.run(&mechanism, slices).unwrap();
        assert_eq!(got, wanted);
    }
}

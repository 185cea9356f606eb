// SPDX-License-Identifier: BSD-3-Clause
//! Gradients, by differences of the forward pass, which forward.rs holds against formulas.

mod common;

use attn::*;
use common::*;

const TQ: usize = 3;
const TK: usize = 4;
const D: usize = 2;
const A: usize = 3;

/// What attention is of, here.
#[derive(Clone)]
struct At {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    bias: Vec<f64>,
    w: Vec<f64>,
    slopes: Vec<f64>,
    table: Vec<f64>,
    sinks: Vec<f64>,
}

fn mechanism(at: &At) -> Mechanism {
    let form = Additive {
        key_projected: false,
        ..Additive::default()
    };
    let mut mechanism = Mechanism::additive(&Engine::new().unwrap(), D, D, A, form).unwrap();
    mechanism.bind("W", at.w.clone()).unwrap();
    mechanism.bind("U", numbers(A * D, 21)).unwrap();
    mechanism.bind("v", numbers(A, 22)).unwrap();
    mechanism.set_sinks(at.sinks.clone()).unwrap();
    mechanism
        .set_alibi(at.slopes.clone(), Align::TopLeft)
        .unwrap();
    mechanism
        .set_relative(at.table.clone(), Relative::Clipped, 1, Align::TopLeft)
        .unwrap();
    mechanism
}

fn inputs(at: &At) -> Inputs<'_, f64> {
    Inputs::new(Tensor::new(&at.q, &[TQ, D]).unwrap())
        .key(Tensor::new(&at.k, &[TK, D]).unwrap())
        .value(Tensor::new(&at.v, &[TK, D]).unwrap())
        .bias(Tensor::new(&at.bias, &[1, TK]).unwrap())
        .dropout(0.25, 3, 0)
}

struct Made {
    context: Vec<f64>,
    weights: Vec<f64>,
    logsumexp: Vec<f64>,
}

fn forward(at: &At) -> Made {
    let mut made = Made {
        context: vec![0.0; TQ * D],
        weights: vec![0.0; TQ * TK],
        logsumexp: vec![0.0; TQ],
    };
    let outputs = Outputs::new()
        .context(TensorMut::new(&mut made.context, &[TQ, D]).unwrap())
        .weights(TensorMut::new(&mut made.weights, &[TQ, TK]).unwrap())
        .logsumexp(TensorMut::new(&mut made.logsumexp, &[TQ]).unwrap());
    mechanism(at).forward(&inputs(at), outputs).unwrap();
    made
}

/// A loss that looks at context and log-sum-exp.
fn loss(at: &At) -> f64 {
    let made = forward(at);
    dot(&made.context, &numbers(TQ * D, 31)) + dot(&made.logsumexp, &numbers(TQ, 32))
}

#[test]
fn gradients_are_those_of_the_forward_pass() {
    let at = At {
        q: numbers(TQ * D, 11),
        k: numbers(TK * D, 12),
        v: numbers(TK * D, 13),
        bias: numbers(TK, 14),
        w: numbers(A * D, 15),
        slopes: vec![0.5],
        table: numbers(3, 16),
        sinks: vec![0.25],
    };
    let (made, mechanism) = (forward(&at), mechanism(&at));
    let (d_context, d_logsumexp) = (numbers(TQ * D, 31), numbers(TQ, 32));
    let mut to = At {
        q: vec![9.0; TQ * D],
        k: vec![9.0; TK * D],
        v: vec![9.0; TK * D],
        bias: vec![9.0; TK],
        w: vec![9.0; A * D],
        slopes: vec![9.0],
        table: vec![9.0; 3],
        sinks: vec![9.0],
    };
    let flow = Flow::new(Tensor::new(&made.logsumexp, &[TQ]).unwrap())
        .context(
            Tensor::new(&made.context, &[TQ, D]).unwrap(),
            Tensor::new(&d_context, &[TQ, D]).unwrap(),
        )
        .logsumexp(Tensor::new(&d_logsumexp, &[TQ]).unwrap());
    let mut workspace = Workspace::new();
    let mut backward = |to: &mut At, accumulate: bool| {
        let mut wanted = Gradients::new()
            .query(TensorMut::new(&mut to.q, &[TQ, D]).unwrap())
            .key(TensorMut::new(&mut to.k, &[TK, D]).unwrap())
            .value(TensorMut::new(&mut to.v, &[TK, D]).unwrap())
            .bias(TensorMut::new(&mut to.bias, &[1, TK]).unwrap())
            .param("W", TensorMut::new(&mut to.w, &[A, D]).unwrap())
            .alibi(TensorMut::new(&mut to.slopes, &[1]).unwrap())
            .relative(TensorMut::new(&mut to.table, &[1, 3]).unwrap())
            .sinks(TensorMut::new(&mut to.sinks, &[1]).unwrap())
            .workspace(&mut workspace);
        if accumulate {
            wanted = wanted.accumulate();
        }
        mechanism.backward(&inputs(&at), &flow, wanted).unwrap();
    };
    backward(&mut to, false);
    macro_rules! check {
        ($($name:ident),*) => {$(
            check_gradient(&at.$name, &to.$name, |x| {
                let mut at = at.clone();
                at.$name = x.to_vec();
                loss(&at)
            });
        )*};
    }
    check!(q, k, v, bias, w, slopes, table, sinks);
    let once = to.q.clone();
    backward(&mut to, true);
    let twice: Vec<f64> = once.iter().map(|g| 2.0 * g).collect();
    same(&to.q, &twice);
}

#[test]
fn a_loss_may_look_at_the_weights() {
    let (q, k, d_weights) = (numbers(TQ * D, 1), numbers(TK * D, 2), numbers(TQ * TK, 3));
    let mechanism = Mechanism::dot(&Engine::new().unwrap()).unwrap();
    let run = |q: &[f64]| {
        let (mut weights, mut logsumexp) = (vec![0.0; TQ * TK], vec![0.0; TQ]);
        let inputs =
            Inputs::new(Tensor::new(q, &[TQ, D]).unwrap()).key(Tensor::new(&k, &[TK, D]).unwrap());
        let outputs = Outputs::new()
            .weights(TensorMut::new(&mut weights, &[TQ, TK]).unwrap())
            .logsumexp(TensorMut::new(&mut logsumexp, &[TQ]).unwrap());
        mechanism.forward(&inputs, outputs).unwrap();
        (weights, logsumexp)
    };
    let (_, logsumexp) = run(&q);
    let mut d_q = vec![0.0; TQ * D];
    let inputs =
        Inputs::new(Tensor::new(&q, &[TQ, D]).unwrap()).key(Tensor::new(&k, &[TK, D]).unwrap());
    let flow = Flow::new(Tensor::new(&logsumexp, &[TQ]).unwrap())
        .weights(Tensor::new(&d_weights, &[TQ, TK]).unwrap());
    let wanted = Gradients::new().query(TensorMut::new(&mut d_q, &[TQ, D]).unwrap());
    mechanism.backward(&inputs, &flow, wanted).unwrap();
    check_gradient(&q, &d_q, |q| dot(&run(q).0, &d_weights));
}

#[test]
fn sinks_have_no_gradient_beside_one_by_the_weights() {
    let (q, d_weights) = (numbers(TQ * D, 1), numbers(TQ * TQ, 3));
    let mut mechanism = Mechanism::dot(&Engine::new().unwrap()).unwrap();
    mechanism.set_sinks(vec![0.5]).unwrap();
    let query = Tensor::new(&q, &[TQ, D]).unwrap();
    let (inputs, mut logsumexp) = (Inputs::new(query).key(query), vec![0.0; TQ]);
    let out = Outputs::new().logsumexp(TensorMut::new(&mut logsumexp, &[TQ]).unwrap());
    mechanism.forward(&inputs, out).unwrap();
    let flow = Flow::new(Tensor::new(&logsumexp, &[TQ]).unwrap())
        .weights(Tensor::new(&d_weights, &[TQ, TQ]).unwrap());
    let mut d_sinks = vec![9.0; 1];
    let wanted = Gradients::new().sinks(TensorMut::new(&mut d_sinks, &[1]).unwrap());
    let refused = mechanism.backward(&inputs, &flow, wanted);
    assert_eq!(refused.unwrap_err().status(), Status::Unsupported);
    assert_eq!(d_sinks, [9.0]);
}

#[test]
fn attentional_step_and_its_gradients() {
    const H: usize = 3;
    let engine = Engine::new().unwrap();
    let (weight, context) = (numbers(H * 2 * D, 1), numbers(TQ * D, 2));
    let (query, bias, d_output) = (numbers(TQ * D, 3), numbers(H, 4), numbers(TQ * H, 5));
    let run = |weight: &[f64]| {
        let inputs = Attentional::new(
            Tensor::new(weight, &[H, 2 * D]).unwrap(),
            Tensor::new(&context, &[TQ, D]).unwrap(),
            Tensor::new(&query, &[TQ, D]).unwrap(),
        )
        .bias(Tensor::new(&bias, &[H]).unwrap());
        let mut output = vec![0.0; TQ * H];
        engine
            .attentional(&inputs, TensorMut::new(&mut output, &[TQ, H]).unwrap())
            .unwrap();
        let mut d_weight = vec![0.0; weight.len()];
        let (got, flow) = (
            Tensor::new(&output, &[TQ, H]).unwrap(),
            Tensor::new(&d_output, &[TQ, H]).unwrap(),
        );
        let wanted =
            AttentionalGradients::new().weight(TensorMut::new(&mut d_weight, &[H, 2 * D]).unwrap());
        engine
            .attentional_backward(&inputs, got, flow, wanted)
            .unwrap();
        (output, d_weight)
    };
    let (output, d_weight) = run(&weight);
    let wanted: Vec<f64> = (0..TQ * H)
        .map(|n| {
            let both = [&context[n / H * D..][..D], &query[n / H * D..][..D]].concat();
            (dot(&weight[n % H * 2 * D..][..2 * D], &both) + bias[n % H]).tanh()
        })
        .collect();
    same(&output, &wanted);
    check_gradient(&weight, &d_weight, |weight| dot(&run(weight).0, &d_output));
}

#[test]
fn decomposable_attention_and_its_gradients() {
    let engine = Engine::new().unwrap();
    let (f, g) = (numbers(TQ * D, 1), numbers(TK * D, 2));
    let (a, b) = (numbers(TQ * A, 3), numbers(TK * A, 4));
    let (d_beta, d_alpha) = (numbers(TQ * A, 5), numbers(TK * A, 6));
    let run = |f: &[f64]| {
        let inputs = Decomposable::new(
            Tensor::new(f, &[TQ, D]).unwrap(),
            Tensor::new(&g, &[TK, D]).unwrap(),
        )
        .a(Tensor::new(&a, &[TQ, A]).unwrap())
        .b(Tensor::new(&b, &[TK, A]).unwrap());
        let (mut beta, mut alpha) = (vec![0.0; TQ * A], vec![0.0; TK * A]);
        let (mut a_lse, mut b_lse) = (vec![0.0; TQ], vec![0.0; TK]);
        let aligned = Aligned::new()
            .beta(TensorMut::new(&mut beta, &[TQ, A]).unwrap())
            .alpha(TensorMut::new(&mut alpha, &[TK, A]).unwrap())
            .a_logsumexp(TensorMut::new(&mut a_lse, &[TQ]).unwrap())
            .b_logsumexp(TensorMut::new(&mut b_lse, &[TK]).unwrap());
        engine.decomposable(&inputs, aligned).unwrap();
        let flow = DecomposableFlow::new()
            .beta(
                Tensor::new(&beta, &[TQ, A]).unwrap(),
                Tensor::new(&a_lse, &[TQ]).unwrap(),
                Tensor::new(&d_beta, &[TQ, A]).unwrap(),
            )
            .alpha(
                Tensor::new(&alpha, &[TK, A]).unwrap(),
                Tensor::new(&b_lse, &[TK]).unwrap(),
                Tensor::new(&d_alpha, &[TK, A]).unwrap(),
            );
        let mut d_f = vec![0.0; f.len()];
        let wanted = DecomposableGradients::new().f(TensorMut::new(&mut d_f, &[TQ, D]).unwrap());
        engine
            .decomposable_backward(&inputs, &flow, wanted)
            .unwrap();
        (beta, alpha, d_f)
    };
    let score = |i: usize, j: usize| dot(&f[i * D..][..D], &g[j * D..][..D]);
    let (beta, alpha, d_f) = run(&f);
    same(&beta, &attend(TQ, &b, A, score).context);
    same(&alpha, &attend(TK, &a, A, |j, i| score(i, j)).context);
    check_gradient(&f, &d_f, |f| {
        let (beta, alpha, _) = run(f);
        dot(&beta, &d_beta) + dot(&alpha, &d_alpha)
    });
}

/// Weights are made anew from the log-sum-exp: those of large scores add up to 1 again only if it has the digits.
#[test]
fn a_float32_call_is_most_exact_from_a_log_sum_exp_in_float64() {
    const KEYS: usize = 50;
    let mechanism = Mechanism::dot(&Engine::new().unwrap()).unwrap();
    let queries: Vec<f32> = numbers(TQ * D, 41)
        .iter()
        .map(|&x| x as f32 * 400.0)
        .collect();
    let keys: Vec<f32> = numbers(KEYS * D, 42).iter().map(|&x| x as f32).collect();
    let inputs = Inputs::new(Tensor::new(&queries, &[TQ, D]).unwrap())
        .key(Tensor::new(&keys, &[KEYS, D]).unwrap())
        .value(Tensor::new(&keys, &[KEYS, D]).unwrap());
    let (mut context, mut exact, mut again) = ([0.0f32; TQ * D], [0.0f64; TQ], [0.0f64; TQ]);
    let outputs = Outputs::new()
        .context(TensorMut::new(&mut context, &[TQ, D]).unwrap())
        .logsumexp(TensorMut::new(&mut exact, &[TQ]).unwrap());
    mechanism.forward(&inputs, outputs).unwrap();

    let laid = Outputs::new()
        .context(TensorMut::new(&mut context, &[TQ, D]).unwrap())
        .logsumexp(TensorMut::new(&mut again, &[TQ]).unwrap());
    let mut call = mechanism.prepare(&inputs, laid).unwrap();
    let slices = Slices {
        query: &queries,
        key: &keys,
        value: &keys,
        context: &mut context,
        exact_logsumexp: &mut again,
        ..Default::default()
    };
    call.run(&mechanism, slices).unwrap();
    assert_eq!(exact, again);
    assert!(exact.iter().any(|&x| x != f64::from(x as f32)));

    let (ones, mut d_values) = ([1.0f32; TQ * D], [0.0f32; KEYS * D]);
    let flow = Flow::new(Tensor::new(&exact, &[TQ]).unwrap()).context(
        Tensor::new(&context, &[TQ, D]).unwrap(),
        Tensor::new(&ones, &[TQ, D]).unwrap(),
    );
    let gradients = Gradients::new().value(TensorMut::new(&mut d_values, &[KEYS, D]).unwrap());
    mechanism.backward(&inputs, &flow, gradients).unwrap();
    let sum: f64 = d_values.iter().map(|&x| f64::from(x)).sum();
    assert!((sum - (TQ * D) as f64).abs() < 2e-6, "{sum}");
}

/// Keys in parts: forward, merged, and backward with what was merged, as all keys at once.
#[test]
fn parts_of_the_keys_are_merged() {
    let engine = Engine::new().unwrap();
    let mechanism = Mechanism::scaled_dot(&engine).unwrap();
    let (q, k, v) = (numbers(TQ * D, 1), numbers(TK * D, 2), numbers(TK * D, 3));
    let d_context = numbers(TQ * D, 4);
    let inputs_of = |keys: std::ops::Range<usize>| {
        let shape = [keys.len(), D];
        let rows = keys.start * D..keys.end * D;
        Inputs::new(Tensor::new(&q, &[TQ, D]).unwrap())
            .key(Tensor::new(&k[rows.clone()], &shape).unwrap())
            .value(Tensor::new(&v[rows], &shape).unwrap())
    };
    let run = |keys: std::ops::Range<usize>| {
        let (mut context, mut logsumexp) = (vec![0.0; TQ * D], vec![0.0; TQ]);
        let outputs = Outputs::new()
            .context(TensorMut::new(&mut context, &[TQ, D]).unwrap())
            .logsumexp(TensorMut::new(&mut logsumexp, &[TQ]).unwrap());
        mechanism.forward(&inputs_of(keys), outputs).unwrap();
        (context, logsumexp)
    };
    let query_gradient = |keys: std::ops::Range<usize>, context: &[f64], logsumexp: &[f64]| {
        let mut d_q = vec![0.0; TQ * D];
        let flow = Flow::new(Tensor::new(logsumexp, &[TQ]).unwrap()).context(
            Tensor::new(context, &[TQ, D]).unwrap(),
            Tensor::new(&d_context, &[TQ, D]).unwrap(),
        );
        let wanted = Gradients::new().query(TensorMut::new(&mut d_q, &[TQ, D]).unwrap());
        mechanism.backward(&inputs_of(keys), &flow, wanted).unwrap();
        d_q
    };
    let (whole, a, b) = (run(0..TK), run(0..1), run(1..TK));
    let view = |x| Tensor::new(x, &[TQ, D]).unwrap();
    let rows = |x| Tensor::new(x, &[TQ]).unwrap();
    let parts = Parts::new()
        .part(view(&a.0), rows(&a.1))
        .part(view(&b.0), rows(&b.1));
    let (mut context, mut logsumexp) = (vec![0.0; TQ * D], vec![0.0; TQ]);
    engine
        .merge(
            &parts,
            TensorMut::new(&mut context, &[TQ, D]).unwrap(),
            Some(TensorMut::new(&mut logsumexp, &[TQ]).unwrap().into()),
        )
        .unwrap();
    same(&context, &whole.0);
    same(&logsumexp, &whole.1);
    let (mut place, mut sums) = a.clone();
    engine
        .merge_in_place(
            &Parts::new().part(view(&b.0), rows(&b.1)),
            TensorMut::new(&mut place, &[TQ, D]).unwrap(),
            TensorMut::new(&mut sums, &[TQ]).unwrap(),
        )
        .unwrap();
    assert_eq!((&place, &sums), (&context, &logsumexp));
    let halves = [0..1, 1..TK].map(|keys| query_gradient(keys, &context, &logsumexp));
    let sum: Vec<f64> = halves[0]
        .iter()
        .zip(&halves[1])
        .map(|(a, b)| a + b)
        .collect();
    same(&sum, &query_gradient(0..TK, &whole.0, &whole.1));

    let none = engine.merge(
        &Parts::new(),
        TensorMut::new(&mut place, &[TQ, D]).unwrap(),
        None,
    );
    assert_eq!(none.unwrap_err().status(), Status::Argument);
}

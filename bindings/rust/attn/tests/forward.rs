// SPDX-License-Identifier: BSD-3-Clause
//! Every score and every modifier, by its formula.

mod common;

use attn::*;
use common::*;

const TQ: usize = 4;
const TK: usize = 5;
const D: usize = 3; // of queries, keys and values, unless a test says otherwise

struct Data {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
}

fn data() -> Data {
    Data {
        q: numbers(TQ * D, 1),
        k: numbers(TK * D, 2),
        v: numbers(TK * D, 3),
    }
}

impl Data {
    fn inputs(&self) -> Inputs<'_, f64> {
        Inputs::new(Tensor::new(&self.q, &[TQ, D]).unwrap())
            .key(Tensor::new(&self.k, &[TK, D]).unwrap())
            .value(Tensor::new(&self.v, &[TK, D]).unwrap())
    }

    fn q(&self, i: usize) -> &[f64] {
        &self.q[i * D..(i + 1) * D]
    }

    fn k(&self, j: usize) -> &[f64] {
        &self.k[j * D..(j + 1) * D]
    }

    fn dot(&self, i: usize, j: usize) -> f64 {
        dot(self.q(i), self.k(j))
    }
}

/// That all outputs of a mechanism are those of the formula.
fn expect(
    mechanism: &Mechanism,
    inputs: &Inputs<f64>,
    data: &Data,
    score: impl Fn(usize, usize) -> f64,
) {
    let wanted = attend(TQ, &data.v, D, score);
    let (mut context, mut weights) = (vec![9.0; TQ * D], vec![9.0; TQ * TK]);
    let mut logsumexp = vec![9.0; TQ];
    let outputs = Outputs::new()
        .context(TensorMut::new(&mut context, &[TQ, D]).unwrap())
        .weights(TensorMut::new(&mut weights, &[TQ, TK]).unwrap())
        .logsumexp(TensorMut::new(&mut logsumexp, &[TQ]).unwrap());
    mechanism.forward(inputs, outputs).unwrap();
    same(&context, &wanted.context);
    same(&weights, &wanted.weights);
    same(&logsumexp, &wanted.logsumexp);
}

fn engine() -> Engine {
    Engine::new().unwrap()
}

#[test]
fn stats_are_of_the_weights() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism.set_causal(Some(Align::TopLeft)).unwrap();
    let (mut entropy, mut strongest, mut sums) = (vec![9.0; TQ], vec![9; TQ], vec![9.0; TK]);
    let stats = Stats::new()
        .entropy(TensorMut::new(&mut entropy, &[TQ]).unwrap())
        .strongest(TensorMut::new(&mut strongest, &[TQ]).unwrap())
        .key_sums(TensorMut::new(&mut sums, &[TK]).unwrap());
    let mut weights = vec![9.0; TQ * TK];
    let outputs = Outputs::new()
        .weights(TensorMut::new(&mut weights, &[TQ, TK]).unwrap())
        .stats(stats);
    mechanism.forward(&data.inputs(), outputs).unwrap();
    for i in 0..TQ {
        let row = &weights[i * TK..(i + 1) * TK];
        let wanted: f64 = row[..=i].iter().map(|a| -a * a.ln()).sum();
        close(&entropy[i..=i], &[wanted], 1e-12);
        let most = row.iter().cloned().fold(0.0, f64::max);
        assert_eq!(
            row.iter().position(|a| *a == most),
            Some(strongest[i] as usize)
        );
    }
    let wanted: Vec<f64> = (0..TK)
        .map(|j| (0..TQ).map(|i| weights[i * TK + j]).sum())
        .collect();
    close(&sums, &wanted, 1e-12);

    let short = Stats::new().entropy(TensorMut::new(&mut entropy[..TQ - 1], &[TQ - 1]).unwrap());
    let refused = mechanism.forward(&data.inputs(), Outputs::new().stats(short));
    assert_eq!(refused.unwrap_err().status(), Status::Shape);
    let none = Outputs::new().stats(Stats::new());
    assert!(mechanism.forward(&data.inputs(), none).is_err());
    let alone = Stats::new().key_sums(TensorMut::new(&mut sums, &[TK]).unwrap());
    let refused = mechanism.prepare(&data.inputs(), Outputs::new().stats(alone));
    assert_eq!(refused.unwrap_err().status(), Status::Unsupported);
}

const HIDDEN: f64 = f64::NEG_INFINITY;

#[test]
fn dot_and_scaled_dot() {
    let (data, engine) = (data(), engine());
    let mechanism = Mechanism::dot(&engine).unwrap();
    assert_eq!(mechanism.name(), "dot");
    expect(&mechanism, &data.inputs(), &data, |i, j| data.dot(i, j));
    let mechanism = Mechanism::scaled_dot(&engine).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        data.dot(i, j) / 3f64.sqrt()
    });
}

#[test]
fn general() {
    let (data, w) = (data(), numbers(D * D, 4));
    let mut mechanism = Mechanism::general(&engine(), D, D).unwrap();
    mechanism.bind("W", w.clone()).unwrap();
    let mapped = project(&data.k, D, &w); // W k
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        dot(data.q(i), &mapped[j * D..(j + 1) * D])
    });
}

#[test]
fn additive_with_bias_and_normalised() {
    const A: usize = 6;
    let data = data();
    let (w, u, v) = (numbers(A * D, 4), numbers(A * D, 5), numbers(A, 6));
    let (b, g) = (numbers(A, 7), vec![1.5]);
    let form = Additive {
        bias: true,
        normalised: true,
        ..Additive::default()
    };
    let mut mechanism = Mechanism::additive(&engine(), D, D, A, form).unwrap();
    for (name, param) in [("W", &w), ("U", &u), ("v", &v), ("b", &b), ("g", &g)] {
        mechanism.bind(name, param.clone()).unwrap();
    }
    assert_eq!(mechanism.param_total().unwrap(), 2 * A * D + 2 * A + 1);
    let (wq, uk) = (project(&data.q, D, &w), project(&data.k, D, &u));
    let scale = g[0] / dot(&v, &v).sqrt();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        let unit = |a: usize| v[a] * (wq[i * A + a] + uk[j * A + a] + b[a]).tanh();
        scale * (0..A).map(unit).sum::<f64>()
    });
}

#[test]
fn additive_of_projected_inputs() {
    let (data, v) = (data(), numbers(D, 6));
    let form = Additive {
        query_projected: true,
        key_projected: true,
        ..Additive::default()
    };
    let mut mechanism = Mechanism::additive(&engine(), D, D, D, form).unwrap();
    mechanism.bind("v", v.clone()).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        (0..D)
            .map(|a| v[a] * (data.q(i)[a] + data.k(j)[a]).tanh())
            .sum()
    });
}

#[test]
fn concat() {
    const A: usize = 4;
    let (data, w, v) = (data(), numbers(A * 2 * D, 4), numbers(A, 5));
    let mut mechanism = Mechanism::concat(&engine(), D, D, A).unwrap();
    mechanism.bind("W", w.clone()).unwrap();
    mechanism.bind("v", v.clone()).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        let both = [data.q(i), data.k(j)].concat();
        (0..A)
            .map(|a| v[a] * dot(&w[a * 2 * D..(a + 1) * 2 * D], &both).tanh())
            .sum()
    });
}

#[test]
fn location_reads_no_keys() {
    let (data, w) = (data(), numbers(8 * D, 4));
    let mut mechanism = Mechanism::location(&engine(), D, 8).unwrap();
    mechanism.bind("W", w.clone()).unwrap();
    let inputs = Inputs::new(Tensor::new(&data.q, &[TQ, D]).unwrap())
        .value(Tensor::new(&data.v, &[TK, D]).unwrap());
    expect(&mechanism, &inputs, &data, |i, j| {
        dot(&w[j * D..(j + 1) * D], data.q(i))
    });
}

#[test]
fn scale_softcap_and_temperature() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism.set_scale(2.5).unwrap();
    mechanism.set_softcap(1.25).unwrap();
    mechanism.set_temperature(0.5).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        1.25 * (2.5 * data.dot(i, j) / 1.25).tanh() / 0.5
    });
}

#[test]
fn hardmax_takes_the_greatest() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism.set_normaliser(Normaliser::Hardmax).unwrap();
    let mut weights = vec![9.0; TQ * TK];
    let out = TensorMut::new(&mut weights, &[TQ, TK]).unwrap();
    mechanism
        .forward(&data.inputs(), Outputs::new().weights(out))
        .unwrap();
    for i in 0..TQ {
        let best = (0..TK).max_by(|&a, &b| data.dot(i, a).total_cmp(&data.dot(i, b)));
        for j in 0..TK {
            assert_eq!(weights[i * TK + j], f64::from(u8::from(Some(j) == best)));
        }
    }
}

#[test]
fn causal_from_either_end() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism.set_causal(Some(Align::TopLeft)).unwrap();
    let seen = |limit: isize, i, j: usize| {
        let sees = j as isize <= limit;
        if sees {
            data.dot(i, j)
        } else {
            HIDDEN
        }
    };
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        seen(i as isize, i, j)
    });
    let later = data.inputs().query_start(1);
    expect(&mechanism, &later, &data, |i, j| seen(i as isize + 1, i, j));
    mechanism.set_causal(Some(Align::BottomRight)).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        seen((i + TK - TQ) as isize, i, j)
    });
    mechanism.set_causal(None).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| data.dot(i, j));
}

#[test]
fn window_is_as_wide_as_it_says() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism
        .set_window(Some(2), Some(0), Some(Align::TopLeft))
        .unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        if j <= i && j + 2 >= i {
            data.dot(i, j)
        } else {
            HIDDEN
        }
    });
    mechanism
        .set_window(None, Some(1), Some(Align::TopLeft))
        .unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        if j <= i + 1 {
            data.dot(i, j)
        } else {
            HIDDEN
        }
    });
    mechanism.set_window(None, None, None).unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| data.dot(i, j));
}

#[test]
fn alibi_and_relative_biases() {
    let (data, table) = (data(), numbers(5, 9));
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism.set_alibi(vec![0.75], Align::TopLeft).unwrap();
    let distance = |i: usize, j: usize| (j as f64 - i as f64).abs();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        data.dot(i, j) - 0.75 * distance(i, j)
    });
    mechanism.alibi_mut::<f64>().unwrap()[0] = 0.25;
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        data.dot(i, j) - 0.25 * distance(i, j)
    });
    assert_eq!(mechanism.clear_alibi().unwrap(), Owned::F64(vec![0.25]));

    mechanism
        .set_relative(table.clone(), Relative::Clipped, 2, Align::TopLeft)
        .unwrap();
    let column = |i: usize, j: usize| (j as isize - i as isize).clamp(-2, 2) + 2;
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        data.dot(i, j) + table[column(i, j) as usize]
    });
    let shaped = Param::from(table.clone()).shaped(&[1, 5]).unwrap();
    mechanism
        .set_relative(shaped, Relative::Clipped, 2, Align::TopLeft)
        .unwrap();
    mechanism.relative_mut::<f64>().unwrap().fill(1.0); // which softmax does not see
    assert_eq!(mechanism.relative::<f64>().unwrap(), [1.0; 5]);
    let mut weights = vec![0.0; TQ * TK];
    let out = TensorMut::new(&mut weights, &[TQ, TK]).unwrap();
    mechanism
        .forward(&data.inputs(), Outputs::new().weights(out))
        .unwrap();
    same(
        &weights,
        &attend(TQ, &data.v, D, |i, j| data.dot(i, j)).weights,
    );
    mechanism.clear_relative().unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| data.dot(i, j));
}

#[test]
fn sinks_are_a_key_more() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    let run = |mechanism: &Mechanism| {
        let (mut context, mut weights) = (vec![9.0; TQ * D], vec![9.0; TQ * TK]);
        let mut logsumexp = vec![9.0; TQ];
        let outputs = Outputs::new()
            .context(TensorMut::new(&mut context, &[TQ, D]).unwrap())
            .weights(TensorMut::new(&mut weights, &[TQ, TK]).unwrap())
            .logsumexp(TensorMut::new(&mut logsumexp, &[TQ]).unwrap());
        mechanism.forward(&data.inputs(), outputs).unwrap();
        (context, weights, logsumexp)
    };
    let values = [&data.v[..], &[0.0; D]].concat(); // that of the sink is 0
    let is_right = |mechanism: &Mechanism, sink: f64| {
        let (context, weights, logsumexp) = run(mechanism);
        let wanted = attend(
            TQ,
            &values,
            D,
            |i, j| {
                if j < TK {
                    data.dot(i, j)
                } else {
                    sink
                }
            },
        );
        let of_keys = wanted.weights.chunks(TK + 1).flat_map(|row| &row[..TK]);
        same(&context, &wanted.context);
        same(&weights, &of_keys.copied().collect::<Vec<_>>());
        same(&logsumexp, &wanted.logsumexp);
    };
    mechanism.set_sinks(vec![0.75]).unwrap();
    is_right(&mechanism, 0.75);
    mechanism.sinks_mut::<f64>().unwrap()[0] = -0.25;
    assert_eq!(mechanism.sinks::<f64>().unwrap(), [-0.25]);
    is_right(&mechanism, -0.25);

    let mut context = vec![9.0; TQ * D];
    let out = Outputs::new().context(TensorMut::new(&mut context, &[TQ, D]).unwrap());
    mechanism.set_normaliser(Normaliser::Hardmax).unwrap();
    let refused = mechanism.forward(&data.inputs(), out);
    assert_eq!(refused.unwrap_err().status(), Status::Unsupported);
    mechanism.set_normaliser(Normaliser::Softmax).unwrap();
    assert_eq!(mechanism.clear_sinks().unwrap(), Owned::F64(vec![-0.25]));
    expect(&mechanism, &data.inputs(), &data, |i, j| data.dot(i, j));

    mechanism.set_sinks(vec![0.0; 2]).unwrap(); // of another number of heads
    let out = Outputs::new().context(TensorMut::new(&mut context, &[TQ, D]).unwrap());
    let refused = mechanism.forward(&data.inputs(), out);
    assert_eq!(refused.unwrap_err().status(), Status::Shape);
    let table = Param::from(vec![0.0f64; 2]).shaped(&[1, 2]).unwrap();
    let refused = mechanism.set_sinks(table);
    assert_eq!(refused.unwrap_err().status(), Status::Shape);
    assert_eq!(mechanism.sinks::<f64>().unwrap().len(), 2); // a refused one changes nothing
}

#[test]
fn monotonic_local_attention_sees_a_few_keys() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism
        .set_local(Some(Local::Monotonic { half_width: 1 }))
        .unwrap();
    expect(&mechanism, &data.inputs(), &data, |i, j| {
        if j <= i + 1 && j + 1 >= i {
            data.dot(i, j)
        } else {
            HIDDEN
        }
    });
}

#[test]
fn predictive_local_attention_by_its_formula() {
    const A: usize = 2;
    let (data, w, v) = (data(), numbers(A * D, 4), numbers(A, 5));
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    let local = Local::Predictive {
        half_width: 2,
        query_dim: D,
        hidden_dim: A,
    };
    mechanism.set_local(Some(local)).unwrap();
    mechanism.bind("W_p", w.clone()).unwrap();
    mechanism.bind("v_p", v.clone()).unwrap();
    let centre = |i: usize| {
        let s: f64 = (0..A)
            .map(|a| v[a] * dot(&w[a * D..(a + 1) * D], data.q(i)).tanh())
            .sum();
        TK as f64 / (1.0 + (-s).exp())
    };
    let plain = attend(TQ, &data.v, D, |i, j| {
        if (j as f64 - centre(i)).abs() <= 2.0 {
            data.dot(i, j)
        } else {
            HIDDEN
        }
    });
    let mut weights = vec![0.0; TQ * TK];
    let out = TensorMut::new(&mut weights, &[TQ, TK]).unwrap();
    mechanism
        .forward(&data.inputs(), Outputs::new().weights(out))
        .unwrap();
    for (at, weight) in weights.iter().enumerate() {
        let from = (at % TK) as f64 - centre(at / TK);
        let wanted = plain.weights[at] * (-from * from / 2.0).exp(); // sigma is 1
        assert!((weight - wanted).abs() < 1e-12, "{weight}, not {wanted}");
    }
    mechanism.set_local(None).unwrap(); // forgets the parameters
    assert!(mechanism.params().unwrap().is_empty());
    assert_eq!(
        mechanism.param::<f64>("W_p").unwrap_err().status(),
        Status::Parameter
    );
}

#[test]
fn mask_bias_and_lengths_hide_and_add() {
    let (data, bias) = (data(), numbers(TK, 8));
    let mechanism = Mechanism::dot(&engine()).unwrap();
    let mask: Vec<bool> = (0..TQ * TK).map(|n| n % 3 != 1 && n / TK != 2).collect(); // query 2 sees nothing
    let inputs = data
        .inputs()
        .mask(Tensor::new(&mask, &[TQ, TK]).unwrap())
        .bias(Tensor::new(&bias, &[1, TK]).unwrap()) // for all queries
        .key_lengths(&[4i32]);
    expect(&mechanism, &inputs, &data, |i, j| {
        if mask[i * TK + j] && j < 4 {
            data.dot(i, j) + bias[j]
        } else {
            HIDDEN
        }
    });
}

#[test]
fn scores_at_every_stage() {
    let data = data();
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    mechanism.set_softcap(0.5).unwrap();
    mechanism.set_causal(Some(Align::TopLeft)).unwrap();
    let capped = |n: usize| 0.5 * (data.dot(n / TK, n % TK) / 0.5).tanh();
    let seen = |n: usize| if n % TK <= n / TK { capped(n) } else { HIDDEN };
    let weights = attend(TQ, &data.v, D, |i, j| seen(i * TK + j)).weights;
    let all = |f: &dyn Fn(usize) -> f64| (0..TQ * TK).map(f).collect::<Vec<f64>>();
    for (stage, wanted) in [
        (Stage::Raw, all(&|n| data.dot(n / TK, n % TK))),
        (Stage::Capped, all(&capped)),
        (Stage::Masked, all(&seen)),
        (Stage::Weights, weights),
    ] {
        let mut scores = vec![9.0; TQ * TK];
        let out = TensorMut::new(&mut scores, &[TQ, TK]).unwrap();
        mechanism
            .forward(&data.inputs(), Outputs::new().scores(stage, out))
            .unwrap();
        same(&scores, &wanted);
    }
}

#[test]
fn dropout_drops_and_scales() {
    let data = data();
    let mechanism = Mechanism::dot(&engine()).unwrap();
    let wanted = attend(TQ, &data.v, D, |i, j| data.dot(i, j)).weights;
    let draw = |offset| {
        let mut weights = vec![9.0; TQ * TK];
        let out = TensorMut::new(&mut weights, &[TQ, TK]).unwrap();
        let inputs = data.inputs().dropout(0.5, 7, offset);
        mechanism
            .forward(&inputs, Outputs::new().weights(out))
            .unwrap();
        weights
    };
    let weights = draw(0);
    let dropped = weights.iter().filter(|w| **w == 0.0).count();
    assert!(dropped > 0 && dropped < TQ * TK);
    for (weight, wanted) in weights.iter().zip(&wanted) {
        assert!(*weight == 0.0 || (weight - 2.0 * wanted).abs() < 1e-12);
    }
    assert_eq!(draw(0), weights);
    assert_ne!(draw(TQ as u64), weights);
}

#[test]
fn strides_of_any_order_and_sign() {
    let data = data();
    let mechanism = Mechanism::dot(&engine()).unwrap();
    // Queries as columns; keys and values packed beside each other, the last key first; the context as columns.
    let columns: Vec<f64> = (0..D * TQ).map(|n| data.q[n % TQ * D + n / TQ]).collect();
    let packed: Vec<f64> = (0..TK)
        .rev()
        .flat_map(|j| [data.k(j), &data.v[j * D..(j + 1) * D]].concat())
        .collect();
    let (last, row) = ((TK - 1) * 2 * D, -(2 * D as isize));
    let inputs = Inputs::new(Tensor::strided(&columns, 0, &[TQ, D], &[1, TQ as isize]).unwrap())
        .key(Tensor::strided(&packed, last, &[TK, D], &[row, 1]).unwrap())
        .value(Tensor::strided(&packed, last + D, &[TK, D], &[row, 1]).unwrap());
    let mut context = vec![9.0; 1 + TQ * D];
    let out = TensorMut::strided(&mut context, 1, &[TQ, D], &[1, TQ as isize]).unwrap();
    mechanism
        .forward(&inputs, Outputs::new().context(out))
        .unwrap();
    let wanted = attend(TQ, &data.v, D, |i, j| data.dot(i, j)).context;
    let wanted: Vec<f64> = (0..D * TQ).map(|n| wanted[n % TQ * D + n / TQ]).collect();
    same(&context[1..], &wanted);
    assert_eq!(context[0], 9.0);
}

#[test]
fn float32_with_grouped_heads_and_a_broadcast_batch() {
    let (q, k) = (numbers(2 * 4 * TQ * D, 1), numbers(2 * TK * D, 2));
    let (q32, k32) = (to_f32(&q), to_f32(&k));
    let mechanism = Mechanism::scaled_dot(&engine()).unwrap();
    let shape = [2, 4, TQ, D];
    let strides = [0, (TK * D) as isize, D as isize, 1]; // the same keys for both sequences
    let mut context = vec![0.0f32; q.len()];
    let inputs = Inputs::new(Tensor::new(&q32, &shape).unwrap())
        .key(Tensor::strided(&k32, 0, &[2, 2, TK, D], &strides).unwrap());
    let out = TensorMut::new(&mut context, &shape).unwrap();
    mechanism
        .forward(&inputs, Outputs::new().context(out))
        .unwrap();
    for head in 0..8 {
        let q = &q[head * TQ * D..(head + 1) * TQ * D];
        let k = &k[head % 4 / 2 * TK * D..][..TK * D];
        let score = |i: usize, j: usize| dot(&q[i * D..][..D], &k[j * D..][..D]) / 3f64.sqrt();
        let wanted = attend(TQ, k, D, score).context;
        same_f32(&context[head * TQ * D..(head + 1) * TQ * D], &wanted);
    }
}

#[test]
fn empty_tensors_are_taken() {
    let mechanism = Mechanism::scaled_dot(&engine()).unwrap();
    let (q, none) = ([1.0f32; 6], [0.0f32; 0]);
    let mut context = [9.0; 6];
    let inputs =
        Inputs::new(Tensor::new(&q, &[2, 3]).unwrap()).key(Tensor::new(&none, &[0, 3]).unwrap());
    let out = TensorMut::new(&mut context, &[2, 3]).unwrap();
    mechanism
        .forward(&inputs, Outputs::new().context(out))
        .unwrap();
    assert_eq!(context, [0.0; 6]);
}

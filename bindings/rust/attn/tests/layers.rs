// SPDX-License-Identifier: BSD-3-Clause
//! Layers of heads, memories, positions.

mod common;

use attn::*;
use common::*;
use std::sync::Arc;

const DIM: usize = 4;
const HEADS: usize = 2;
const HEAD: usize = DIM / HEADS;
const T: usize = 5;

fn causal() -> Mechanism {
    let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    mechanism.set_causal(Some(Align::BottomRight)).unwrap();
    mechanism
}

/// A layer with biases, whose parameters are numbers of seeds 1 and on.
fn layer() -> MultiHead {
    let options = MultiHeadOptions {
        bias: true,
        ..MultiHeadOptions::new(DIM, HEADS)
    };
    let mut layer = MultiHead::new(causal(), options).unwrap();
    for (seed, info) in layer.params().unwrap().iter().enumerate() {
        layer
            .bind(info.name, numbers(info.elements, seed as u64 + 1))
            .unwrap();
    }
    layer
}

fn output_of(layer: &MultiHead, x: &[f64]) -> Vec<f64> {
    let (shape, mut output) = ([x.len() / DIM, DIM], vec![0.0; x.len()]);
    let outputs = Outputs::new().output(TensorMut::new(&mut output, &shape).unwrap());
    layer
        .forward(&Inputs::new(Tensor::new(x, &shape).unwrap()), outputs)
        .unwrap();
    output
}

#[test]
fn layer_is_its_formula() {
    let (layer, x) = (layer(), numbers(T * DIM, 20));
    let linear = |x: &[f64], weight: &str, bias: &str| -> Vec<f64> {
        let param = |name: &str| layer.param::<f64>(name).unwrap();
        let (weight, bias) = (param(weight), param(bias));
        let mut made = project(x, DIM, weight);
        made.iter_mut()
            .enumerate()
            .for_each(|(n, y)| *y += bias[n % DIM]);
        made
    };
    let [q, k, v] = [("W_q", "b_q"), ("W_k", "b_k"), ("W_v", "b_v")].map(|(w, b)| linear(&x, w, b));
    let mut joined = vec![0.0; T * DIM];
    for h in 0..HEADS {
        let part = |x: &[f64]| -> Vec<f64> {
            x.chunks(DIM)
                .flat_map(|row| row[h * HEAD..(h + 1) * HEAD].to_vec())
                .collect()
        };
        let (q, k) = (part(&q), part(&k));
        let head = attend(T, &part(&v), HEAD, |i, j| {
            let e = dot(&q[i * HEAD..][..HEAD], &k[j * HEAD..][..HEAD]) / (HEAD as f64).sqrt();
            if j <= i {
                e
            } else {
                f64::NEG_INFINITY
            }
        });
        for (row, context) in joined.chunks_mut(DIM).zip(head.context.chunks(HEAD)) {
            row[h * HEAD..(h + 1) * HEAD].copy_from_slice(context);
        }
    }
    same(&output_of(&layer, &x), &linear(&joined, "W_o", "b_o"));
}

#[test]
fn gradients_of_a_layer_with_and_without_what_was_saved() {
    let (mut layer, x) = (layer(), numbers(T * DIM, 20));
    let d_output = numbers(T * DIM, 21);
    let w_v = layer.param::<f64>("W_v").unwrap().to_vec();
    let mut found = Vec::new();
    for saves in [true, false] {
        let inputs = Inputs::new(Tensor::new(&x, &[T, DIM]).unwrap());
        let (mut output, mut saved) = (vec![0.0; T * DIM], layer.saved(&inputs).unwrap());
        let (mut d_x, mut d_w_v) = (vec![0.0; T * DIM], vec![0.0; DIM * DIM]);
        let mut workspace = Workspace::new();
        let mut outputs = Outputs::new()
            .output(TensorMut::new(&mut output, &[T, DIM]).unwrap())
            .workspace(&mut workspace);
        if saves {
            outputs = outputs.saved(&mut saved);
        }
        layer.forward(&inputs, outputs).unwrap();
        let mut flow = MultiHeadFlow::new().output(Tensor::new(&d_output, &[T, DIM]).unwrap());
        if saves {
            flow = flow.saved(&saved);
        }
        let wanted = Gradients::new()
            .query(TensorMut::new(&mut d_x, &[T, DIM]).unwrap())
            .param("W_v", TensorMut::new(&mut d_w_v, &[DIM, DIM]).unwrap())
            .workspace(&mut workspace);
        layer.backward(&inputs, &flow, wanted).unwrap();
        assert!(!workspace.is_empty());
        found.push((d_x, d_w_v));
    }
    assert_eq!(found[0], found[1]); // bit for bit
    let (d_x, d_w_v) = found.pop().unwrap();
    check_gradient(&x, &d_x, |x| dot(&output_of(&layer, x), &d_output));
    let layer = std::cell::RefCell::new(&mut layer);
    check_gradient(&w_v, &d_w_v, |w| {
        layer
            .borrow_mut()
            .param_mut("W_v")
            .unwrap()
            .copy_from_slice(w); // in place
        dot(&output_of(&layer.borrow(), &x), &d_output)
    });
}

#[test]
fn gradients_of_the_mechanism_inside() {
    let mut inner = Mechanism::general(&Engine::new().unwrap(), HEAD, HEAD).unwrap();
    inner.bind("W", numbers(HEAD * HEAD, 9)).unwrap();
    let mut layer = MultiHead::new(inner, MultiHeadOptions::new(DIM, HEADS)).unwrap();
    for (seed, info) in layer.params().unwrap().iter().enumerate() {
        layer
            .bind(info.name, numbers(info.elements, seed as u64 + 1))
            .unwrap();
    }
    let (x, d_output) = (numbers(T * DIM, 20), numbers(T * DIM, 21));
    let mut d_w = vec![0.0; HEAD * HEAD];
    let flow = MultiHeadFlow::new().output(Tensor::new(&d_output, &[T, DIM]).unwrap());
    let d = TensorMut::new(&mut d_w, &[HEAD, HEAD]).unwrap();
    let inputs = Inputs::new(Tensor::new(&x, &[T, DIM]).unwrap());
    layer
        .backward(&inputs, &flow, Gradients::new().mechanism_param("W", d))
        .unwrap();
    let layer = std::cell::RefCell::new(layer);
    check_gradient(&numbers(HEAD * HEAD, 9), &d_w, |w| {
        let mut layer = layer.borrow_mut();
        layer.mechanism_param_mut("W").unwrap().copy_from_slice(w);
        dot(&output_of(&layer, &x), &d_output)
    });
    let mut layer = layer.into_inner();
    let other = layer.mechanism().clone();
    let refused = layer.mechanism_param_mut::<f64>("W").unwrap_err();
    assert_eq!(refused.status(), Status::Argument);
    drop(other);
    layer.mechanism_param_mut::<f64>("W").unwrap();
}

#[test]
fn gradients_of_the_sinks_inside() {
    let with = |sinks: &[f64]| {
        let mut inner = causal();
        inner.set_sinks(sinks.to_vec()).unwrap();
        let mut layer = MultiHead::new(inner, MultiHeadOptions::new(DIM, HEADS)).unwrap();
        for (seed, info) in layer.params().unwrap().iter().enumerate() {
            layer
                .bind(info.name, numbers(info.elements, seed as u64 + 1))
                .unwrap();
        }
        layer
    };
    let (x, d_output, sinks) = (
        numbers(T * DIM, 20),
        numbers(T * DIM, 21),
        numbers(HEADS, 22),
    );
    let mut d_sinks = vec![9.0; HEADS];
    let flow = MultiHeadFlow::new().output(Tensor::new(&d_output, &[T, DIM]).unwrap());
    let inputs = Inputs::new(Tensor::new(&x, &[T, DIM]).unwrap());
    let wanted = Gradients::new().sinks(TensorMut::new(&mut d_sinks, &[HEADS]).unwrap());
    with(&sinks).backward(&inputs, &flow, wanted).unwrap();
    check_gradient(&sinks, &d_sinks, |sinks| {
        dot(&output_of(&with(sinks), &x), &d_output)
    });
}

#[test]
fn decoding_step_by_step_is_the_whole_sentence_at_once() {
    let (layer, x) = (layer(), numbers(T * DIM, 20));
    let whole = output_of(&layer, &x);
    let mut memory = layer.memory::<f64>(1, 2).unwrap();
    for (t, x) in x.chunks(DIM).enumerate() {
        let mut output = vec![0.0; DIM];
        let inputs = Inputs::new(Tensor::new(x, &[1, DIM]).unwrap());
        let outputs = Outputs::new().output(TensorMut::new(&mut output, &[1, DIM]).unwrap());
        layer.decode(&mut memory, &inputs, outputs).unwrap();
        same(&output, &whole[t * DIM..(t + 1) * DIM]);
        assert_eq!(memory.lengths().unwrap(), [t + 1]);
    }
    // Attending alone appends nothing.
    let mut again = vec![0.0; DIM];
    let inputs = Inputs::new(Tensor::new(&x[(T - 1) * DIM..], &[1, DIM]).unwrap()).memory(&memory);
    let outputs = Outputs::new().output(TensorMut::new(&mut again, &[1, DIM]).unwrap());
    layer.forward(&inputs, outputs).unwrap();
    same(&again, &whole[(T - 1) * DIM..]);
    assert_eq!(memory.lengths().unwrap(), [T]);
}

#[test]
fn memories_append_truncate_reorder_and_fork() {
    let mechanism = Arc::new(Mechanism::dot(&Engine::new().unwrap()).unwrap());
    let (k, v) = (numbers(2 * T * DIM, 1), numbers(2 * T * 3, 2));
    let options = MemoryOptions::new(DIM).value_dim(3).batch(2).capacity(1);
    let mut memory = Memory::<f64>::new(&mechanism, options).unwrap();
    let rows = Append::keys(Tensor::new(&k, &[2, 1, T, DIM]).unwrap())
        .values(Tensor::new(&v, &[2, 1, T, 3]).unwrap())
        .counts(&[5i64, 3]);
    memory.append(rows).unwrap();
    assert_eq!(memory.lengths().unwrap(), [5, 3]);
    let mut beam = memory.fork().unwrap();
    beam.reorder(&[1i32, 1, 0]).unwrap();
    beam.truncate(&[2, 3, 4]).unwrap();
    assert_eq!(beam.lengths().unwrap(), [2, 3, 4]);
    assert_eq!(memory.lengths().unwrap(), [5, 3]);

    let q = numbers(3 * DIM, 3);
    let mut context = vec![0.0; 9];
    let inputs = Inputs::new(Tensor::new(&q, &[3, 1, 1, DIM]).unwrap()).memory(&beam);
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &[3, 1, 1, 3]).unwrap());
    mechanism.forward(&inputs, outputs).unwrap();
    for (b, (row, length)) in [(1, 2), (1, 3), (0, 4)].iter().enumerate() {
        let (k, v) = (&k[row * T * DIM..], &v[row * T * 3..][..length * 3]);
        let score = |_, j: usize| dot(&q[b * DIM..][..DIM], &k[j * DIM..][..DIM]);
        same(&context[b * 3..][..3], &attend(1, v, 3, score).context);
    }
    assert_eq!(
        beam.truncate(&[3, 3, 4]).unwrap_err().status(),
        Status::Argument
    );
    assert_eq!(memory.reorder(&[2]).unwrap_err().status(), Status::Argument);
}

/// Of each sequence of keys, which are the values too, the context of one query.
fn contexts(mechanism: &Mechanism, memory: &Memory<f64>, q: &[f64]) -> Vec<f64> {
    let (batch, mut context) = (q.len() / DIM, vec![0.0; q.len()]);
    let shape = [batch, 1, 1, DIM];
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &shape).unwrap());
    let inputs = Inputs::new(Tensor::new(q, &shape).unwrap()).memory(memory);
    mechanism.forward(&inputs, outputs).unwrap();
    context
}

#[test]
fn memories_in_pages_share_them() {
    let mechanism = Arc::new(Mechanism::dot(&Engine::new().unwrap()).unwrap());
    let (k, more, q) = (
        numbers(T * DIM, 1),
        numbers(2 * DIM, 2),
        numbers(2 * DIM, 3),
    );
    let options = MemoryOptions::new(DIM).capacity(8).fixed().page(2);
    let mut memory = Memory::<f64>::new(&mechanism, options).unwrap();
    memory
        .append(Append::keys(Tensor::new(&k, &[T, DIM]).unwrap()))
        .unwrap();
    memory.reorder(&[0, 0]).unwrap(); // 3 pages of 4: the last one has a copy when one of the two goes on
    let rows = Append::keys(Tensor::new(&more, &[2, 1, 1, DIM]).unwrap());
    memory.append(rows.counts(&[1, 0])).unwrap();
    let mut fork = memory.fork().unwrap();
    assert_eq!(fork.append(rows).unwrap_err().status(), Status::Buffer);
    assert_eq!(memory.lengths().unwrap(), [6, 5]);
    memory.truncate(&[0, 0]).unwrap();
    assert_eq!(fork.lengths().unwrap(), [6, 5]);
    let all = [&k[..], &more[..DIM]].concat();
    let got = contexts(&mechanism, &fork, &q);
    for (b, length) in [6, 5].iter().enumerate() {
        let score = |_, j: usize| dot(&q[b * DIM..][..DIM], &all[j * DIM..][..DIM]);
        let want = attend(1, &all[..length * DIM], DIM, score).context;
        same(&got[b * DIM..][..DIM], &want);
    }
    let options = MemoryOptions::new(DIM).page(usize::MAX);
    assert!(Memory::<f64>::new(&mechanism, options).is_err());
}

/// What one thread does to a fork is nothing to the others', though the pool grows under them.
#[test]
fn forks_in_pages_go_their_ways_on_threads() {
    let mechanism = Arc::new(Mechanism::dot(&Engine::new().unwrap()).unwrap());
    let options = MemoryOptions::new(DIM).page(3);
    let mut memory = Memory::<f64>::new(&mechanism, options).unwrap();
    let (k, q) = (numbers(T * DIM, 1), numbers(DIM, 2));
    memory
        .append(Append::keys(Tensor::new(&k, &[T, DIM]).unwrap()))
        .unwrap();
    std::thread::scope(|scope| {
        for seed in 3..6 {
            let (memory, mechanism, k, q) = (&memory, &mechanism, &k, &q);
            scope.spawn(move || {
                let (mut fork, mut all) = (memory.fork().unwrap(), k.clone());
                for round in 0..60 {
                    let more = numbers((1 + round % 4) * DIM, seed * 100 + round as u64);
                    let rows = Tensor::new(&more, &[more.len() / DIM, DIM]).unwrap();
                    fork.append(Append::keys(rows)).unwrap();
                    all.extend(&more);
                    let score = |_, j: usize| dot(q, &all[j * DIM..][..DIM]);
                    let want = attend(1, &all, DIM, score).context;
                    same(&contexts(mechanism, &fork, q), &want);
                    fork = fork.fork().unwrap(); // and the other one goes
                }
            });
        }
    });
    let score = |_, j: usize| dot(&q, &k[j * DIM..][..DIM]);
    same(
        &contexts(&mechanism, &memory, &q),
        &attend(1, &k, DIM, score).context,
    );
}

/// Forks that come and go on threads leave the pages that they found.
#[test]
fn forks_in_pages_give_back_what_they_took() {
    const THREADS: usize = 3;
    let mechanism = Arc::new(Mechanism::dot(&Engine::new().unwrap()).unwrap());
    let options = MemoryOptions::new(DIM).capacity(5 * 3).fixed().page(3); // 2 pages, and one for each thread
    let mut memory = Memory::<f64>::new(&mechanism, options).unwrap();
    let k = numbers(10 * DIM, 1);
    let rows = |n: usize| Append::keys(Tensor::new(&k[..n * DIM], &[n, DIM]).unwrap());
    memory.append(rows(T)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..20000 {
                    memory.fork().unwrap().append(rows(1)).unwrap();
                }
            });
        }
    });
    memory.append(rows(10)).unwrap();
    assert_eq!(memory.append(rows(1)).unwrap_err().status(), Status::Buffer);
}

#[test]
fn memories_may_be_full() {
    let mechanism = Arc::new(Mechanism::dot(&Engine::new().unwrap()).unwrap());
    let options = MemoryOptions::new(DIM).capacity(2).fixed();
    let mut memory = Memory::<f32>::new(&mechanism, options).unwrap();
    let k = [1.0f32; 2 * DIM];
    let rows = Append::keys(Tensor::new(&k, &[2, DIM]).unwrap());
    memory.append(rows).unwrap();
    assert_eq!(memory.append(rows).unwrap_err().status(), Status::Buffer);
    assert_eq!(memory.lengths().unwrap(), [2]);
}

#[test]
fn memories_turn_keys_as_rope_does() {
    let engine = Engine::new().unwrap();
    let mechanism = Arc::new(Mechanism::dot(&engine).unwrap());
    let rope = Rope::new(RopeLayout::Halves);
    let (k, v, q) = (numbers(T * DIM, 1), numbers(T * DIM, 2), numbers(DIM, 3));
    let options = MemoryOptions::new(DIM).value_dim(DIM).rope(rope);
    let mut memory = Memory::<f64>::new(&mechanism, options).unwrap();
    let values = Tensor::new(&v, &[T, DIM]).unwrap();
    memory
        .append(Append::keys(Tensor::new(&k, &[T, DIM]).unwrap()).values(values))
        .unwrap();
    let mut turned = k.clone();
    let rows = TensorMut::new(&mut turned, &[T, DIM]).unwrap();
    engine
        .rope_in_place(rope, Positions::from(0), rows)
        .unwrap();
    let query = Tensor::new(&q, &[1, DIM]).unwrap();
    let keys = Tensor::new(&turned, &[T, DIM]).unwrap();
    let run = |inputs: &Inputs<f64>| {
        let mut context = vec![0.0; DIM];
        let out = TensorMut::new(&mut context, &[1, DIM]).unwrap();
        mechanism
            .forward(inputs, Outputs::new().context(out))
            .unwrap();
        context
    };
    let by_memory = run(&Inputs::new(query).memory(&memory));
    same(
        &by_memory,
        &run(&Inputs::new(query).key(keys).value(values)),
    );
}

#[test]
fn rope_turns_pairs_and_turns_them_back() {
    let engine = Engine::new().unwrap();
    let (x, rope) = (numbers(T * DIM, 1), Rope::new(RopeLayout::Interleaved));
    let (mut to, mut back) = (vec![0.0; T * DIM], vec![0.0; T * DIM]);
    let positions: Vec<i32> = vec![3, 1, 4, 1, 5];
    let from = Tensor::new(&x, &[T, DIM]).unwrap();
    let out = TensorMut::new(&mut to, &[T, DIM]).unwrap();
    engine
        .rope(rope, Positions::given(&positions), from, out)
        .unwrap();
    let wanted: Vec<f64> = (0..T * DIM)
        .map(|n| {
            let pair = n % DIM / 2;
            let angle =
                f64::from(positions[n / DIM]) * 10000f64.powf(-2.0 * pair as f64 / DIM as f64);
            if n % 2 == 0 {
                x[n] * angle.cos() - x[n + 1] * angle.sin()
            } else {
                x[n] * angle.cos() + x[n - 1] * angle.sin()
            }
        })
        .collect();
    same(&to, &wanted);
    let from = Tensor::new(&to, &[T, DIM]).unwrap();
    let out = TensorMut::new(&mut back, &[T, DIM]).unwrap();
    engine
        .rope(rope, Positions::given(&positions).inverse(), from, out)
        .unwrap();
    same(&back, &x);
}

#[test]
fn sinusoids_and_slopes() {
    let (mut table, mut slopes) = (vec![0.0f64; T * DIM], vec![0.0f32; 8]);
    sinusoidal(TensorMut::new(&mut table, &[T, DIM]).unwrap(), 2, 10000.0).unwrap();
    let wanted: Vec<f64> = (0..T * DIM)
        .map(|n| {
            let angle = (n / DIM + 2) as f64 / 10000f64.powf((n % DIM / 2 * 2) as f64 / DIM as f64);
            if n % 2 == 0 {
                angle.sin()
            } else {
                angle.cos()
            }
        })
        .collect();
    same(&table, &wanted);
    alibi_slopes(&mut slopes).unwrap();
    assert_eq!(slopes[0], 0.5);
    assert_eq!(slopes[7], 1.0 / 256.0);
}

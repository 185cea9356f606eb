// SPDX-License-Identifier: BSD-3-Clause
//! What a server asks for: memories that take ragged batches, sequences that join and leave, branches of guesses that came
//! true, pages by slots; and layers that turn and whose batches are ragged.

mod common;

use attn::*;
use common::*;
use std::sync::Arc;

const DIM: usize = 4;

fn causal() -> Arc<Mechanism> {
    let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    mechanism.set_causal(Some(Align::BottomRight)).unwrap();
    Arc::new(mechanism)
}

fn memory(mechanism: &Arc<Mechanism>, batch: usize, page: usize) -> Memory<f64> {
    Memory::new(mechanism, MemoryOptions::new(DIM).batch(batch).page(page)).unwrap()
}

fn view(data: &[f64]) -> Tensor<'_, f64> {
    Tensor::new(data, &[data.len() / DIM, DIM]).unwrap()
}

/// Some rows, by their indices.
fn rows_of(from: &[f64], rows: &[usize]) -> Vec<f64> {
    rows.iter()
        .flat_map(|row| from[row * DIM..(row + 1) * DIM].to_vec())
        .collect()
}

/// Sequence b of the memory is what is wanted of it.
fn expect_holds(memory: &Memory<f64>, wanted: &[Vec<f64>]) {
    let lengths: Vec<usize> = wanted.iter().map(|rows| rows.len() / DIM).collect();
    assert_eq!(memory.lengths().unwrap(), lengths);
    let query = numbers(wanted.len() * DIM, 9);
    let mut got = vec![0.0; query.len()];
    let shape = [wanted.len(), 1, 1, DIM];
    let inputs = Inputs::new(Tensor::new(&query, &shape).unwrap()).memory(memory);
    let outputs = Outputs::new().context(TensorMut::new(&mut got, &shape).unwrap());
    memory.mechanism().forward(&inputs, outputs).unwrap();
    for (b, keys) in wanted.iter().enumerate() {
        let mut alone = [0.0; DIM];
        let inputs = Inputs::new(view(&query[b * DIM..(b + 1) * DIM])).key(view(keys));
        let outputs = Outputs::new().context(TensorMut::new(&mut alone, &[1, DIM]).unwrap());
        memory.mechanism().forward(&inputs, outputs).unwrap();
        same(&got[b * DIM..(b + 1) * DIM], &alone);
    }
}

#[test]
fn a_memory_takes_a_ragged_batch_and_sequences_join_and_leave() {
    let (mechanism, key) = (causal(), numbers(7 * DIM, 1));
    for page in [0, 2] {
        let mut memory = memory(&mechanism, 3, page);
        let rows = Append::keys(view(&key));
        memory.append(rows.offsets(&[1, 3, 3, 7])).unwrap();
        let wanted = [&[1, 2][..], &[], &[3, 4, 5, 6]].map(|of| rows_of(&key, of));
        expect_holds(&memory, &wanted);
        for (wrong, status) in [
            (rows.offsets(&[1, 3, 3, 8]), Status::Argument),
            (rows.offsets(&[0, 7]), Status::Shape),
            (
                rows.offsets(&[0, 0, 0, 0]).counts(&[1, 1, 1]),
                Status::Argument,
            ),
        ] {
            assert_eq!(memory.append(wrong).unwrap_err().status(), status);
        }
        memory.reorder(&[2, -1, 0]).unwrap();
        memory.append(rows.offsets(&[0i64, 0, 1, 1])).unwrap();
        let wanted = [&[3, 4, 5, 6][..], &[0], &[1, 2]].map(|of| rows_of(&key, of));
        expect_holds(&memory, &wanted);
        memory.reorder(&[0i32; 0]).unwrap();
        assert!(memory.lengths().unwrap().is_empty());
        memory.reorder(&[-1, -1]).unwrap();
        assert_eq!(memory.lengths().unwrap(), [0, 0]);
        let error = memory.reorder(&[-2]).unwrap_err();
        assert_eq!(error.status(), Status::Argument);
    }
}

#[test]
fn a_branch_of_guesses_is_kept() {
    let (mechanism, key) = (causal(), numbers(6 * DIM, 2));
    for page in [0, 2] {
        let mut memory = memory(&mechanism, 1, page);
        memory.append(Append::keys(view(&key))).unwrap();
        let other = memory.fork().unwrap();
        let falling = memory.keep(&[2], &[3, 2], &[0, 2]).unwrap_err();
        assert_eq!(falling.status(), Status::Argument);
        assert!(falling.to_string().contains("positions"), "{falling}");
        memory.keep(&[2], &[3i64, 5], &[0, 2]).unwrap();
        expect_holds(&memory, &[rows_of(&key, &[0, 1, 3, 5])]);
        expect_holds(&other, std::slice::from_ref(&key));
    }
}

#[test]
fn a_pool_tells_its_pages() {
    let mechanism = causal();
    let options = MemoryOptions::new(DIM).page(4).capacity(20).fixed();
    let mut memory = Memory::<f64>::new(&mechanism, options).unwrap();
    let key = numbers(6 * DIM, 3);
    let pages = |memory: &Memory<f64>| {
        let Pages { count, unused } = memory.pages().unwrap();
        (count, unused)
    };
    assert_eq!(pages(&memory), (5, 5));
    memory.append(Append::keys(view(&key))).unwrap();
    let mut fork = memory.fork().unwrap();
    assert_eq!(pages(&memory), (5, 3));
    fork.append(Append::keys(view(&key[..DIM]))).unwrap(); // into a copy of the second page
    assert_eq!((pages(&memory), pages(&fork)), ((5, 2), (5, 2)));
    drop(memory);
    fork.truncate(&[0]).unwrap();
    assert_eq!(pages(&fork), (5, 5));
    assert_eq!(pages(&self::memory(&mechanism, 1, 0)), (0, 0));
}

#[test]
fn rows_are_written_into_pages_by_their_slots() {
    let engine = Engine::new().unwrap();
    let (key, value) = (to_f32(&numbers(3 * DIM, 4)), to_f32(&numbers(3 * 2, 5)));
    let keys = Tensor::new(&key, &[3, DIM]).unwrap();
    let values = Tensor::new(&value, &[3, 2]).unwrap();
    let (mut key_pages, mut value_pages) = ([7.0f32; 6 * DIM], [F16::from_f32(7.0); 6 * 2]);
    for (slots, refused) in [([4, -1, 0], false), ([4, 4, 0], true), ([0, 6, 1], true)] {
        let rows = PagesAppend::new(&slots)
            .key(
                keys,
                TensorMut::new(&mut key_pages, &[2, 1, 3, DIM]).unwrap(),
            )
            .value(
                values,
                TensorMut::new(&mut value_pages, &[2, 1, 3, 2]).unwrap(),
            );
        let status = engine.pages_append(rows).err().map(|why| why.status());
        assert_eq!(status, refused.then_some(Status::Argument));
        for slot in 0..6 {
            let row = [(4, 0), (0, 2)].iter().find(|(at, _)| *at == slot);
            for d in 0..DIM {
                let wanted = row.map_or(7.0, |(_, row)| key[row * DIM + d]);
                assert_eq!(key_pages[slot * DIM + d], wanted);
            }
            for d in 0..2 {
                let wanted = row.map_or(7.0, |(_, row)| value[row * 2 + d]);
                assert_eq!(value_pages[slot * 2 + d], F16::from_f32(wanted));
            }
        }
    }
    let (mut integers, mut scales) = ([0i8; 6 * DIM], [0.0f32; 6]);
    let pages = TensorMut::new(&mut integers, &[2, 1, 3, DIM]).unwrap();
    let room = TensorMut::new(&mut scales, &[2, 1, 3]).unwrap();
    let rows = PagesAppend::new(&[4i64, -1, 0]).quantised_key(keys, pages, room);
    engine.pages_append(rows).unwrap();
    for d in 0..DIM {
        let got = f32::from(integers[4 * DIM + d]) * scales[4];
        assert!((got - key[d]).abs() <= 1.0 / 127.0);
    }
    assert_eq!((scales[1], integers[DIM]), (0.0, 0));
    let pages = TensorMut::new(&mut integers, &[2, 1, 3, DIM]).unwrap();
    let room = TensorMut::new(&mut scales, &[2, 1, 3]).unwrap();
    let rows = PagesAppend::<f32>::new(&[5, -1, 1]).quantised_value(keys, pages, room);
    engine.pages_append(rows).unwrap();
    assert_ne!((scales[5], scales[1]), (0.0, 0.0));
    assert_eq!(scales[2], 0.0);
}

const ROPE: Rope = Rope {
    layout: RopeLayout::Halves,
    dimensions: 0,
    base: 100.0,
};

/// One head whose matrices are ones: what comes out is attention of the words, turned.
fn plain_layer() -> MultiHead {
    let options = MultiHeadOptions {
        rope: Some(ROPE),
        ..MultiHeadOptions::new(DIM, 1)
    };
    let mut layer = MultiHead::new(causal(), options).unwrap();
    let one: Vec<f64> = (0..DIM * DIM)
        .map(|at| f64::from(u8::from(at / DIM == at % DIM)))
        .collect();
    for name in ["W_q", "W_k", "W_v", "W_o"] {
        layer.bind(name, one.clone()).unwrap();
    }
    layer
}

/// Attention of words that were turned to these positions.
fn turned(layer: &MultiHead, words: &[f64], positions: &[i64]) -> Vec<f64> {
    let shape = [words.len() / DIM, DIM];
    let (mut at, mut context) = (words.to_vec(), vec![0.0; words.len()]);
    let rows = TensorMut::new(&mut at, &shape).unwrap();
    Engine::new()
        .unwrap()
        .rope_in_place(ROPE, Positions::given(positions), rows)
        .unwrap();
    let inputs = Inputs::new(view(&at)).key(view(&at)).value(view(words));
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &shape).unwrap());
    layer.mechanism().forward(&inputs, outputs).unwrap();
    context
}

#[test]
fn a_layer_turns_and_takes_a_ragged_batch() {
    let layer = plain_layer();
    let (first, second) = (numbers(3 * DIM, 6), numbers(2 * DIM, 7));
    let words = [vec![f64::NAN; DIM], first.clone(), second.clone()].concat(); // the first row is nobody's
    let run = |inputs: Inputs<'_, f64>| {
        let mut output = vec![7.0; 6 * DIM];
        let outputs = Outputs::new().output(TensorMut::new(&mut output, &[6, DIM]).unwrap());
        layer.forward(&inputs, outputs).map(|()| output)
    };
    let expect = |output: Vec<f64>, positions: [&[i64]; 2]| {
        let wanted = [
            turned(&layer, &first, positions[0]),
            turned(&layer, &second, positions[1]),
        ];
        assert_eq!(output[..DIM], [7.0; DIM]);
        same(&output[DIM..], &wanted.concat());
    };
    let inputs = Inputs::new(view(&words)).query_offsets(&[1, 4, 6]);
    expect(run(inputs).unwrap(), [&[0, 1, 2], &[0, 1]]);
    let at = [0, 5, 1, 4, 2, 9];
    expect(run(inputs.positions(&at)).unwrap(), [&[5, 1, 4], &[2, 9]]);
    let both = inputs
        .key(view(&words))
        .key_offsets(&[1, 4, 6])
        .positions(&at)
        .key_positions(&at);
    expect(run(both).unwrap(), [&[5, 1, 4], &[2, 9]]);
    let errors = [
        (run(inputs.query_offsets(&[1, 7])), "query_offsets"),
        (run(inputs.positions(&[1, 2])), "positions"),
    ];
    for (error, words) in errors {
        let error = error.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = layer
        .mechanism()
        .forward(&inputs.key(view(&words)).positions(&at), Outputs::new())
        .unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    assert!(error.to_string().contains("turns nothing"), "{error}");
}

fn at_depths<'a>(x: &'a [f64], at: &'a [i64; 6]) -> Inputs<'a, f64> {
    Inputs::new(view(x)).query_offsets(&[1, 4, 6]).positions(at)
}

#[test]
fn gradients_of_a_ragged_layer_lie_in_the_rows_of_their_sequence() {
    let layer = plain_layer();
    let (x, at) = (numbers(6 * DIM, 8), [0i64, 5, 1, 4, 2, 9]);
    let loss = |x: &[f64]| {
        let mut output = vec![0.0; 6 * DIM];
        let outputs = Outputs::new().output(TensorMut::new(&mut output, &[6, DIM]).unwrap());
        layer.forward(&at_depths(x, &at), outputs).unwrap();
        output.iter().sum()
    };
    let (mut d_x, d_output) = (vec![0.0; 6 * DIM], [1.0; 6 * DIM]);
    let mut output = vec![0.0; 6 * DIM];
    let mut saved = layer.saved(&at_depths(&x, &at)).unwrap();
    let outputs = Outputs::new()
        .output(TensorMut::new(&mut output, &[6, DIM]).unwrap())
        .saved(&mut saved);
    layer.forward(&at_depths(&x, &at), outputs).unwrap();
    let flow = MultiHeadFlow::new().output(view(&d_output));
    for flow in [flow, flow.saved(&saved)] {
        d_x.fill(0.0);
        let gradients = Gradients::new().query(TensorMut::new(&mut d_x, &[6, DIM]).unwrap());
        layer
            .backward(&at_depths(&x, &at), &flow, gradients)
            .unwrap();
        check_gradient(&x, &d_x, loss);
    }
}

/// Two sequences go on over one memory, by one word of the first and two of the second.
#[test]
fn a_layer_serves_ragged_steps() {
    let layer = plain_layer();
    let (first, second) = (numbers(3 * DIM, 6), numbers(2 * DIM, 7));
    let options = MemoryOptions::new(DIM).value_dim(DIM).batch(2).page(2);
    let mut memory = Memory::<f64>::new(layer.mechanism(), options).unwrap();
    let mut step = |words: &[f64], offsets: &[i64; 3]| {
        let mut output = vec![0.0; words.len()];
        let shape = [words.len() / DIM, DIM];
        let outputs = Outputs::new().output(TensorMut::new(&mut output, &shape).unwrap());
        let inputs = Inputs::new(view(words)).query_offsets(offsets);
        layer.decode(&mut memory, &inputs, outputs).unwrap();
        output
    };
    let begun = step(&first[..2 * DIM], &[0, 2, 2]);
    let gone_on = step(&[&first[2 * DIM..], &second].concat(), &[0, 1, 3]);
    assert_eq!(memory.lengths().unwrap(), [3, 2]);
    same(
        &[&begun, &gone_on[..DIM]].concat(),
        &turned(&layer, &first, &[0, 1, 2]),
    );
    same(&gone_on[DIM..], &turned(&layer, &second, &[0, 1]));
}

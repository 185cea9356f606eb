// SPDX-License-Identifier: BSD-3-Clause
//! Ragged batches, and masks of the last keys: each sequence gets the bits that it gets alone.

mod common;

use attn::*;
use common::*;

const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const DIM: usize = 8;
const QUERIES: usize = 12; // the last ones are nobody's
const KEYS: usize = 18;
const LONGEST: usize = 7;
const UNTOUCHED: f32 = 77.0;
const QUERY: [usize; 4] = [1, HEADS, QUERIES, DIM];
const KEY: [usize; 4] = [1, KEY_HEADS, KEYS, DIM];

/// One sequence without queries, one without keys.
const QUERY_OFFSETS: [i32; 6] = [0, 3, 3, 4, 9, 11];
const KEY_OFFSETS: [i64; 6] = [1, 6, 8, 8, 15, 17];

struct Scene {
    mechanism: Mechanism,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

fn scene() -> Scene {
    let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    mechanism.set_causal(Some(Align::BottomRight)).unwrap();
    let drawn = |count, seed| to_f32(&numbers(count, seed));
    Scene {
        mechanism,
        query: drawn(HEADS * QUERIES * DIM, 1),
        key: drawn(KEY_HEADS * KEYS * DIM, 2),
        value: drawn(KEY_HEADS * KEYS * DIM, 3),
    }
}

impl Scene {
    fn inputs(&self) -> Inputs<'_, f32> {
        Inputs::new(Tensor::new(&self.query, &QUERY).unwrap())
            .key(Tensor::new(&self.key, &KEY).unwrap())
            .value(Tensor::new(&self.value, &KEY).unwrap())
    }

    /// Context, weights and log-sum-exp of these queries and keys alone.
    fn alone(&self, queries: &[usize; 2], keys: &[usize; 2]) -> [Vec<f32>; 3] {
        let (nq, nk) = (queries[1] - queries[0], keys[1] - keys[0]);
        let mut made = [HEADS * nq * DIM, HEADS * nq * nk, HEADS * nq].map(|n| vec![0.0; n]);
        let [context, weights, logsumexp] = &mut made;
        let inputs = Inputs::new(rows(&self.query, HEADS, queries))
            .key(rows(&self.key, KEY_HEADS, keys))
            .value(rows(&self.value, KEY_HEADS, keys));
        let outputs = Outputs::new()
            .context(TensorMut::new(context, &[1, HEADS, nq, DIM]).unwrap())
            .weights(TensorMut::new(weights, &[1, HEADS, nq, nk]).unwrap())
            .logsumexp(TensorMut::new(logsumexp, &[1, HEADS, nq]).unwrap());
        self.mechanism.forward(&inputs, outputs).unwrap();
        made
    }

    /// Each sequence is what it is alone.
    fn expect(&self, made: &[Vec<f32>; 3], query_offsets: &[i32], key_offsets: &[i64]) {
        for b in 0..query_offsets.len() - 1 {
            let queries = [query_offsets[b] as usize, query_offsets[b + 1] as usize];
            let keys = [key_offsets[b] as usize, key_offsets[b + 1] as usize];
            let alone = self.alone(&queries, &keys);
            let (nq, nk) = (queries[1] - queries[0], keys[1] - keys[0]);
            for h in 0..HEADS {
                for i in 0..nq {
                    let (whole, own) = (h * QUERIES + queries[0] + i, h * nq + i);
                    let row = |of: usize, at: usize, width: usize, wanted: usize| {
                        let all = [&made[of], &alone[of]][usize::from(wanted == 1)];
                        all[at * width..at * width + [width, nk][usize::from(of == 1)].min(width)]
                            .to_vec()
                    };
                    assert_eq!(row(0, whole, DIM, 0), row(0, own, DIM, 1));
                    assert_eq!(row(1, whole, LONGEST, 0), row(1, own, nk, 1));
                    assert_eq!(row(2, whole, 1, 0), row(2, own, 1, 1));
                    let past = &made[1][whole * LONGEST + nk..(whole + 1) * LONGEST];
                    assert!(past.iter().all(|&x| x == 0.0));
                }
            }
        }
    }
}

/// Rows of [H, all, DIM] as [1, H, some, DIM].
fn rows<'a>(data: &'a [f32], heads: usize, of: &[usize; 2]) -> Tensor<'a, f32> {
    let all = data.len() / heads / DIM;
    let strides = [0, (all * DIM) as isize, DIM as isize, 1];
    Tensor::strided(data, of[0] * DIM, &[1, heads, of[1] - of[0], DIM], &strides).unwrap()
}

fn room() -> [Vec<f32>; 3] {
    [DIM, LONGEST, 1].map(|width| vec![UNTOUCHED; HEADS * QUERIES * width])
}

fn outputs(room: &mut [Vec<f32>; 3]) -> Outputs<'_, f32> {
    let [context, weights, logsumexp] = room;
    Outputs::new()
        .context(TensorMut::new(context, &QUERY).unwrap())
        .weights(TensorMut::new(weights, &[1, HEADS, QUERIES, LONGEST]).unwrap())
        .logsumexp(TensorMut::new(logsumexp, &[1, HEADS, QUERIES]).unwrap())
}

#[test]
fn sequences_get_the_bits_that_they_get_alone() {
    let (scene, mut made) = (scene(), room());
    let inputs = scene
        .inputs()
        .query_offsets(&QUERY_OFFSETS)
        .key_offsets(&KEY_OFFSETS);
    scene
        .mechanism
        .forward(&inputs, outputs(&mut made))
        .unwrap();
    scene.expect(&made, &QUERY_OFFSETS, &KEY_OFFSETS);
    for h in 0..HEADS {
        assert_eq!(made[2][h * QUERIES + QUERIES - 1], UNTOUCHED);
    }
}

#[test]
fn a_call_that_is_laid_out_takes_other_offsets() {
    let (scene, mut made) = (scene(), room());
    let inputs = scene
        .inputs()
        .query_offsets(&QUERY_OFFSETS)
        .key_offsets(&KEY_OFFSETS);
    let mut call = scene
        .mechanism
        .prepare(&inputs, outputs(&mut made))
        .unwrap();
    let others = ([0, 0, 5, 7, 8, 11], [0, 7, 14, 15, 15, 18]);
    let longer = ([0, 0, 5, 7, 8, 11], [0, 8, 14, 15, 15, 18]);
    let beyond = ([0, 0, 5, 7, 8, 13], [0, 7, 14, 15, 15, 18]);
    for (query_offsets, key_offsets) in [(QUERY_OFFSETS, KEY_OFFSETS), longer, beyond, others] {
        let [context, weights, logsumexp] = &mut made;
        let slices = Slices {
            query: &scene.query,
            key: &scene.key,
            value: &scene.value,
            query_offsets: Some((&query_offsets).into()),
            key_offsets: Some((&key_offsets).into()),
            context,
            weights,
            logsumexp,
            ..Default::default()
        };
        let ran = call.run(&scene.mechanism, slices);
        if key_offsets[1] == 8 {
            assert_eq!(ran.unwrap_err().status(), Status::Shape); // there is no room for its weights
        } else if query_offsets[5] == 13 {
            assert_eq!(ran.unwrap_err().status(), Status::Argument);
        } else {
            ran.unwrap();
            scene.expect(&made, &query_offsets, &key_offsets);
        }
    }
    for (query_offsets, name) in [
        (None, "query_offsets"),
        (Some((&[0, 3]).into()), "query_offsets"),
    ] {
        let [context, weights, logsumexp] = &mut made;
        let slices = Slices {
            query: &scene.query,
            key: &scene.key,
            value: &scene.value,
            query_offsets,
            key_offsets: Some((&KEY_OFFSETS).into()),
            context,
            weights,
            logsumexp,
            ..Default::default()
        };
        let error = call.run(&scene.mechanism, slices).unwrap_err();
        assert_eq!(error.status(), Status::Shape);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[test]
fn gradients_lie_in_the_rows_of_their_sequence() {
    let (scene, mut made) = (scene(), room());
    let inputs = scene
        .inputs()
        .query_offsets(&QUERY_OFFSETS)
        .key_offsets(&KEY_OFFSETS);
    scene
        .mechanism
        .forward(&inputs, outputs(&mut made))
        .unwrap();
    let [context, _, logsumexp] = &made;
    let d_context = to_f32(&numbers(context.len(), 4));
    let view = |data| Tensor::new(data, &QUERY).unwrap();
    let flow = Flow::new(Tensor::new(logsumexp, &[1, HEADS, QUERIES]).unwrap())
        .context(view(context), view(&d_context));
    let (mut d_query, mut d_key) = (
        vec![UNTOUCHED; context.len()],
        vec![UNTOUCHED; scene.key.len()],
    );
    let gradients = Gradients::new()
        .query(TensorMut::new(&mut d_query, &QUERY).unwrap())
        .key(TensorMut::new(&mut d_key, &KEY).unwrap());
    scene.mechanism.backward(&inputs, &flow, gradients).unwrap();

    let (queries, keys) = ([4, 9], [8, 15]); // sequence 3
    let [own, _, own_logsumexp] = scene.alone(&queries, &keys);
    let inputs = Inputs::new(rows(&scene.query, HEADS, &queries))
        .key(rows(&scene.key, KEY_HEADS, &keys))
        .value(rows(&scene.value, KEY_HEADS, &keys));
    let flow = Flow::new(Tensor::new(&own_logsumexp, &[1, HEADS, 5]).unwrap()).context(
        Tensor::new(&own, &[1, HEADS, 5, DIM]).unwrap(),
        rows(&d_context, HEADS, &queries),
    );
    let (mut own_query, mut own_key) = ([0.0; HEADS * 5 * DIM], [0.0; KEY_HEADS * 7 * DIM]);
    let gradients = Gradients::new()
        .query(TensorMut::new(&mut own_query, &[1, HEADS, 5, DIM]).unwrap())
        .key(TensorMut::new(&mut own_key, &[1, KEY_HEADS, 7, DIM]).unwrap());
    scene.mechanism.backward(&inputs, &flow, gradients).unwrap();
    for h in 0..HEADS {
        let first = (h * QUERIES + queries[0]) * DIM;
        assert_eq!(
            d_query[first..first + 5 * DIM],
            own_query[h * 5 * DIM..(h + 1) * 5 * DIM]
        );
        assert_eq!(d_query[(h * QUERIES + 11) * DIM], UNTOUCHED);
    }
    for h in 0..KEY_HEADS {
        let first = (h * KEYS + keys[0]) * DIM;
        assert_eq!(
            d_key[first..first + 7 * DIM],
            own_key[h * 7 * DIM..(h + 1) * 7 * DIM]
        );
    }
}

#[test]
fn a_mask_may_be_of_the_last_keys() {
    let scene = scene();
    let tree = [true, false, false, true]; // two guesses, of which neither sees the other
    let whole: Vec<bool> = (0..2 * KEYS)
        .map(|at| at % KEYS < KEYS - 2 || tree[at / KEYS * 2 + at % KEYS + 2 - KEYS])
        .collect();
    let run = |inputs: Inputs<'_, f32>| {
        let mut context = [UNTOUCHED; HEADS * 2 * DIM];
        let outputs =
            Outputs::new().context(TensorMut::new(&mut context, &[1, HEADS, 2, DIM]).unwrap());
        scene.mechanism.forward(&inputs, outputs).map(|()| context)
    };
    let inputs = Inputs::new(rows(&scene.query, HEADS, &[0, 2])).key(rows(
        &scene.key,
        KEY_HEADS,
        &[0, KEYS],
    ));
    let last = Tensor::new(&tree, &[2, 2]).unwrap();
    let got = run(inputs.mask_of_last_keys(last)).unwrap();
    assert_eq!(
        got,
        run(inputs.mask(Tensor::new(&whole, &[2, KEYS]).unwrap())).unwrap()
    );
    let error = run(inputs.mask_of_last_keys(last).mask(last)).unwrap_err();
    assert_eq!(error.status(), Status::Shape);
}

#[test]
fn keys_and_values_may_be_in_pages() {
    const PAGES: usize = 6;
    const PAGE: usize = 5;
    let mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    let (query, pages) = (numbers(2 * 3 * DIM, 1), numbers(PAGES * PAGE * DIM, 2));
    let (table, lengths) = ([4, 1, 5, 0, 1, 2], [12, 6]);
    let shape = [2, 1, 3, DIM];
    let inputs = Inputs::new(Tensor::new(&query, &shape).unwrap())
        .key(Tensor::new(&pages, &[PAGES, 1, PAGE, DIM]).unwrap())
        .key_lengths(&lengths);
    let tabled = inputs.page_table(Tensor::new(&table, &[2, 3]).unwrap());
    let mut context = vec![0.0; 2 * 3 * DIM];
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &shape).unwrap());
    mechanism.forward(&tabled, outputs).unwrap();
    for (b, &length) in lengths.iter().enumerate() {
        let own: Vec<f64> = (0..length as usize)
            .flat_map(|j| {
                let first = (table[b * 3 + j / PAGE] as usize * PAGE + j % PAGE) * DIM;
                pages[first..first + DIM].to_vec()
            })
            .collect();
        let mut alone = [0.0; 3 * DIM];
        let queries = &query[b * 3 * DIM..(b + 1) * 3 * DIM];
        let inputs = Inputs::new(Tensor::new(queries, &[3, DIM]).unwrap())
            .key(Tensor::new(&own, &[length as usize, DIM]).unwrap());
        let outputs = Outputs::new().context(TensorMut::new(&mut alone, &[3, DIM]).unwrap());
        mechanism.forward(&inputs, outputs).unwrap();
        for (got, wanted) in context[b * 3 * DIM..].iter().zip(alone) {
            assert!((got - wanted).abs() < 1e-12);
        }
    }
    let mut made = vec![0.0; 2 * 3 * DIM];
    let outputs = Outputs::new().context(TensorMut::new(&mut made, &shape).unwrap());
    let listed = inputs
        .page_table(&[4i64, 1, 5, 0, 1])
        .page_offsets(&[0i64, 3, 5]);
    let mut call = mechanism.prepare(&listed, outputs).unwrap();
    for entries in [[4i64, 1, 5, 0, 1], [4, 1, 99, 0, 1], [4, 1, 5, 0, 1]] {
        let slices = Slices {
            query: &query,
            key: &pages,
            key_lengths: Some((&lengths).into()),
            page_table: Some((&entries).into()),
            page_offsets: Some((&[0i64, 3, 5]).into()),
            context: &mut made,
            ..Default::default()
        };
        let ran = call.run(&mechanism, slices);
        assert_eq!(ran.is_err(), entries[2] == 99);
        assert_eq!(made, context);
    }
}

#[test]
fn wrong_offsets_are_refused() {
    let scene = scene();
    let refused = |query_offsets: &[i32], status: Status, words: &str| {
        let mut made = room();
        let inputs = scene
            .inputs()
            .query_offsets(query_offsets)
            .key_offsets(&KEY_OFFSETS);
        let error = scene
            .mechanism
            .forward(&inputs, outputs(&mut made))
            .unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(made[0].iter().all(|&x| x == UNTOUCHED));
    };
    refused(&[0, 3, 2, 4, 9, 11], Status::Argument, "query_offsets[2]");
    refused(&[0, 3, 3, 4, 9, 13], Status::Argument, "ends with 13");
    refused(&[-1, 3, 3, 4, 9, 11], Status::Argument, "query_offsets");
    refused(&[0, 11], Status::Shape, "key_offsets has 6 elements");
    refused(&[], Status::Shape, "query_offsets is empty");
}

// SPDX-License-Identifier: BSD-3-Clause
//! Who owns what for how long; threads; and that a prepared call asks nobody for memory.

mod common;

use attn::*;
use common::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::thread;

/// Counts what this thread asks for, and what it has not given back.
struct Counting;

thread_local!(static ASKED: Cell<usize> = const { Cell::new(0) });
thread_local!(static HELD: Cell<isize> = const { Cell::new(0) });

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
        let _ = HELD.try_with(|held| held.set(held.get() + 1));
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - 1));
        System.dealloc(pointer, layout)
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn asked() -> usize {
    ASKED.with(Cell::get)
}

fn held() -> isize {
    HELD.with(Cell::get)
}

#[test]
fn prepared_calls_ask_nobody_for_memory() {
    const SHAPE: [usize; 4] = [1, 2, 200, 64]; // whose scratch is no small one
    let engine = EngineOptions::new()
        .threads(1)
        .rust_allocator()
        .create()
        .unwrap();
    let mechanism = Mechanism::scaled_dot(&engine).unwrap();
    let x = to_f32(&numbers(SHAPE.iter().product(), 1));
    let (mut context, mut once) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let inputs =
        Inputs::new(Tensor::new(&x, &SHAPE).unwrap()).key(Tensor::new(&x, &SHAPE).unwrap());

    let before = asked();
    let out = Outputs::new().context(TensorMut::new(&mut once, &SHAPE).unwrap());
    mechanism.forward(&inputs, out).unwrap();
    assert!(
        asked() > before,
        "without a workspace the engine asks, and is heard"
    );

    let holds = held();
    let out = Outputs::new().context(TensorMut::new(&mut context, &SHAPE).unwrap());
    let mut call = mechanism.prepare(&inputs, out).unwrap();
    let before = asked();
    for _ in 0..3 {
        let slices = Slices {
            query: &x,
            key: &x,
            context: &mut context,
            ..Slices::default()
        };
        call.run(&mechanism, slices).unwrap();
    }
    assert_eq!(asked(), before);
    assert_eq!(context, once);
    assert!(held() > holds);
    drop(call);
    assert_eq!(held(), holds);

    let mut workspace = Workspace::new();
    for round in 0..2 {
        let before = asked();
        let out = Outputs::new()
            .context(TensorMut::new(&mut context, &SHAPE).unwrap())
            .workspace(&mut workspace);
        mechanism.forward(&inputs, out).unwrap();
        assert_eq!(asked() > before, round == 0); // it grows once
    }
}

#[test]
fn prepared_calls_follow_a_memory_that_grows() {
    const DIM: usize = 64;
    let mechanism = Arc::new(Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap());
    let mut memory = Memory::<f32>::new(&mechanism, MemoryOptions::new(DIM)).unwrap();
    let keys = to_f32(&numbers(5000 * DIM, 1));
    let (q, mut context, mut once) = (to_f32(&numbers(DIM, 2)), vec![0.0; DIM], vec![0.0; DIM]);
    let query = Tensor::new(&q, &[1, DIM]).unwrap();
    memory
        .append(Append::keys(Tensor::new(&keys[..DIM], &[1, DIM]).unwrap()))
        .unwrap();
    let out = Outputs::new().context(TensorMut::new(&mut context, &[1, DIM]).unwrap());
    let mut call = mechanism
        .prepare(&Inputs::new(query).memory(&memory), out)
        .unwrap();
    for more in [0, 10, 4000] {
        let rows = Tensor::new(&keys[..more * DIM], &[more, DIM]).unwrap();
        memory.append(Append::keys(rows)).unwrap();
        let slices = Slices {
            query: &q,
            memory: Some((&memory).into()),
            context: &mut context,
            ..Slices::default()
        };
        call.run(&mechanism, slices).unwrap();
        let out = Outputs::new().context(TensorMut::new(&mut once, &[1, DIM]).unwrap());
        mechanism
            .forward(&Inputs::new(query).memory(&memory), out)
            .unwrap();
        assert_eq!(context, once);
    }
    let slices = Slices {
        query: &q,
        context: &mut context,
        ..Slices::default()
    };
    assert_eq!(
        call.run(&mechanism, slices).unwrap_err().status(),
        Status::Argument
    );
}

const ROWS: usize = 3;
const DIM: usize = 4;
const KEYS: usize = 5;

/// Queries [2, 1, ROWS, DIM], keys [2, 1, KEYS, DIM], their lengths.
type Data<'a> = (&'a [f64], &'a [f64], &'a [i32]);

fn run(
    call: &mut Call<f64>,
    mechanism: &Mechanism,
    (query, key, lengths): Data,
) -> Result<Vec<f64>> {
    let mut context = vec![9.0; query.len()];
    let slices = Slices {
        query,
        key,
        key_lengths: Some(lengths.into()),
        context: &mut context,
        ..Slices::default()
    };
    let result = call.run(mechanism, slices);
    assert!(result.is_ok() || context.iter().all(|&x| x == 9.0));
    result.map(|()| context)
}

fn laid<'a>((query, key, lengths): Data<'a>) -> Inputs<'a, f64> {
    Inputs::new(Tensor::new(query, &[2, 1, ROWS, DIM]).unwrap())
        .key(Tensor::new(key, &[2, 1, KEYS, DIM]).unwrap())
        .key_lengths(lengths)
}

fn prepared(mechanism: &Mechanism, data: Data) -> Result<Call<f64>> {
    let mut context = vec![0.0; data.0.len()];
    let shape = [2, 1, ROWS, DIM];
    let out = Outputs::new().context(TensorMut::new(&mut context, &shape).unwrap());
    mechanism.prepare(&laid(data), out)
}

fn forward(mechanism: &Mechanism, data: Data) -> Result<Vec<f64>> {
    let mut context = vec![0.0; data.0.len()];
    let shape = [2, 1, ROWS, DIM];
    let out = Outputs::new().context(TensorMut::new(&mut context, &shape).unwrap());
    mechanism.forward(&laid(data), out)?;
    Ok(context)
}

#[test]
fn each_run_of_a_prepared_call_is_forward() {
    let (mut query, key) = (numbers(2 * ROWS * DIM, 1), numbers(2 * KEYS * DIM, 2));
    let mut lengths = [5, 4];
    let mut m = Mechanism::general(&Engine::new().unwrap(), DIM, DIM).unwrap();
    assert_eq!(
        prepared(&m, (&query, &key, &lengths)).unwrap_err().status(),
        Status::Parameter
    );
    m.bind("W", numbers(DIM * DIM, 3)).unwrap();
    let mut call = prepared(&m, (&query, &key, &lengths)).unwrap();
    let mut before = vec![];
    for step in 0..7 {
        match step {
            1 => query.iter_mut().for_each(|x| *x *= -2.0),
            2 => query = query.iter().rev().copied().collect(), // they lie elsewhere
            3 => lengths = [1, 5],
            4 => m.param_mut::<f64>("W").unwrap()[0] = 3.0,
            5 => m.set_scale(0.5).unwrap(),
            6 => m.set_causal(Some(Align::BottomRight)).unwrap(),
            _ => (),
        }
        let got = run(&mut call, &m, (&query, &key, &lengths));
        assert_eq!(got, forward(&m, (&query, &key, &lengths)), "{step}");
        assert_ne!(got.as_ref().unwrap(), &before, "{step}");
        before = got.unwrap();
    }
    // What is refused leaves the call as it was.
    let too_long = run(&mut call, &m, (&query, &key, &[6, 5]));
    assert_eq!(too_long.unwrap_err().status(), Status::Argument);
    let slices = Slices {
        query: &query,
        key: &key,
        key_lengths: Some((&[5i64, 5][..]).into()),
        context: &mut vec![0.0; query.len()],
        ..Slices::default()
    };
    assert_eq!(
        call.run(&m, slices).unwrap_err().status(),
        Status::DType // laid out with others
    );
    let w = m.param::<f64>("W").unwrap().to_vec();
    m.unbind("W").unwrap();
    let unbound = run(&mut call, &m, (&query, &key, &lengths));
    assert_eq!(unbound.unwrap_err().status(), Status::Parameter);
    m.bind("W", w).unwrap();
    assert_eq!(run(&mut call, &m, (&query, &key, &lengths)), Ok(before));
}

/// Whose address the next one could have, were it not for the plan; and whose parameters are gone.
#[test]
fn prepared_calls_outlive_their_mechanism() {
    let (query, key) = (numbers(2 * ROWS * DIM, 1), numbers(2 * KEYS * DIM, 2));
    let data = (&query[..], &key[..], &[5, 4][..]);
    let engine = Engine::new().unwrap();
    let general = |seed| {
        let mut m = Mechanism::general(&engine, DIM, DIM).unwrap();
        m.bind("W", numbers(DIM * DIM, seed)).unwrap();
        m
    };
    let mut call = prepared(&general(3), data).unwrap();
    for seed in 3..10 {
        let mechanism = general(seed);
        let want = forward(&mechanism, data);
        assert_eq!(run(&mut call, &mechanism, data), want);
        let moved = Box::new(mechanism);
        assert_eq!(run(&mut call, &moved, data), want);
    }
    let unbound = Mechanism::general(&engine, DIM, DIM).unwrap();
    let (kept, seldom) = (general(4), Mechanism::dot(&engine).unwrap());
    for mechanism in [&kept, &seldom, &kept] {
        let refused = run(&mut call, &unbound, data);
        assert_eq!(refused.unwrap_err().status(), Status::Parameter);
        assert_eq!(run(&mut call, mechanism, data), forward(mechanism, data));
    }
    drop((kept, seldom, engine));
    thread::spawn(move || drop(call)).join().unwrap();
}

#[test]
fn what_is_bound_is_owned_and_given_back() {
    let mut mechanism = Mechanism::general(&Engine::new().unwrap(), 2, 2).unwrap();
    mechanism.bind("W", vec![1.0f32, 2.0, 3.0, 4.0]).unwrap();
    mechanism.param_mut::<f32>("W").unwrap()[3] = 5.0;
    let weights = Owned::F32(vec![1.0, 2.0, 3.0, 5.0]);
    assert_eq!(mechanism.unbind("W").unwrap(), weights);
    assert_eq!(mechanism.unbind("W").unwrap(), Owned::None);
    assert!(!mechanism.params().unwrap()[0].bound);
}

#[test]
fn what_is_shared_lives_as_long_as_it_is_bound() {
    /// Weights in the middle of something, as of a mapped file.
    struct Mapped(Vec<f64>);
    impl AsRef<[f64]> for Mapped {
        fn as_ref(&self) -> &[f64] {
            &self.0[1..]
        }
    }
    let mapped = Arc::new(Mapped(vec![9.0, 1.0, 0.0, 0.0, 1.0]));
    let seen = Arc::downgrade(&mapped);
    let mut mechanism = Mechanism::general(&Engine::new().unwrap(), 2, 2).unwrap();
    mechanism.bind("W", Param::shared(mapped)).unwrap();
    assert_eq!(seen.strong_count(), 1);
    assert_eq!(mechanism.param::<f64>("W").unwrap(), [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(
        mechanism.param_mut::<f64>("W").unwrap_err().status(),
        Status::Argument
    );
    let (q, mut weights) = ([1.0, 2.0], [0.0; 1]);
    let query = Tensor::new(&q, &[1, 2]).unwrap();
    let out = Outputs::new().scores(Stage::Raw, TensorMut::new(&mut weights, &[1, 1]).unwrap());
    mechanism
        .forward(&Inputs::new(query).key(query), out)
        .unwrap();
    assert_eq!(weights, [5.0]);
    mechanism.bind("W", vec![0.0f64; 4]).unwrap(); // another in its place
    assert_eq!(seen.strong_count(), 0);

    let slopes: Arc<[f32]> = vec![0.5f32; 4].into();
    mechanism.set_alibi(slopes.clone(), Align::TopLeft).unwrap();
    mechanism
        .set_alibi(vec![0.5f32; 4], Align::TopLeft)
        .unwrap();
    assert_eq!(Arc::strong_count(&slopes), 1);
    let sinks: Arc<[f32]> = vec![0.5f32; 4].into();
    mechanism.set_sinks(sinks.clone()).unwrap();
    assert_eq!(Arc::strong_count(&sinks), 2);
    mechanism.clear_sinks().unwrap();
    assert_eq!(Arc::strong_count(&sinks), 1);
    let bound = Arc::new(vec![0.0f64; 4]);
    mechanism.bind("W", bound.clone()).unwrap();
    drop(mechanism);
    assert_eq!(Arc::strong_count(&bound), 1);
}

#[test]
fn parameters_may_lie_in_a_part_of_their_slice() {
    let mut mechanism = Mechanism::general(&Engine::new().unwrap(), 2, 2).unwrap();
    // Two columns of four, transposed.
    let all: Vec<f64> = (0..8).map(f64::from).collect();
    let part = Param::from(all).strided(1, &[2, 2], &[1, 4]).unwrap(); // [[1, 5], [2, 6]]
    mechanism.bind("W", part).unwrap();
    let (q, k, mut score) = ([1.0, 10.0], [1.0, 100.0], [0.0; 1]);
    let inputs =
        Inputs::new(Tensor::new(&q, &[1, 2]).unwrap()).key(Tensor::new(&k, &[1, 2]).unwrap());
    let out = Outputs::new().scores(Stage::Raw, TensorMut::new(&mut score, &[1, 1]).unwrap());
    mechanism.forward(&inputs, out).unwrap();
    assert_eq!(score, [1.0 + 500.0 + 20.0 + 6000.0]);
}

#[test]
fn memories_and_layers_outlive_who_made_them() {
    let x = [1.0f32; 4];
    let tensor = Tensor::new(&x, &[1, 4]).unwrap();
    let mut memory = {
        let engine = Engine::new().unwrap();
        let mut mechanism = Mechanism::general(&engine, 4, 4).unwrap();
        mechanism.bind("W", vec![1.0f32; 16]).unwrap();
        Memory::<f32>::new(&Arc::new(mechanism), MemoryOptions::new(4)).unwrap()
    };
    memory.append(Append::keys(tensor)).unwrap(); // reads the parameters, of a mechanism that nobody else has
    let mechanism = memory.mechanism().clone();
    let mut context = [0.0; 4];
    let out = Outputs::new().context(TensorMut::new(&mut context, &[1, 4]).unwrap());
    mechanism
        .forward(&Inputs::new(tensor).memory(&memory), out)
        .unwrap();
    assert_eq!(context, x);
    std::mem::forget(memory); // which leaks, and nothing worse
}

#[test]
fn what_may_be_sent_and_shared() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Engine>();
    sync::<Engine>();
    send::<Mechanism>();
    sync::<Mechanism>();
    send::<Memory<f32>>();
    sync::<Memory<f32>>();
    send::<MultiHead>();
    sync::<MultiHead>();
    send::<Tensor<f32>>();
    sync::<Tensor<f32>>();
    send::<TensorMut<f32>>();
    send::<Call<f32>>();
    send::<Workspace>();
    send::<Saved>();
    send::<Error>();
    sync::<Error>();
}

#[test]
fn threads_share_a_mechanism_and_find_the_same_bits() {
    const SHAPE: [usize; 4] = [1, 4, 150, 32];
    let mut mechanism = Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap();
    mechanism.set_causal(Some(Align::TopLeft)).unwrap();
    let x = to_f32(&numbers(SHAPE.iter().product(), 1));
    let inputs =
        Inputs::new(Tensor::new(&x, &SHAPE).unwrap()).key(Tensor::new(&x, &SHAPE).unwrap());
    let run = || {
        let mut context = vec![0.0; x.len()];
        let out = Outputs::new().context(TensorMut::new(&mut context, &SHAPE).unwrap());
        mechanism.forward(&inputs, out).unwrap();
        context
    };
    let alone = run();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
    // Errors are of the thread that has them.
    thread::scope(|scope| {
        let refused = scope.spawn(|| mechanism.forward(&inputs, Outputs::new()).unwrap_err());
        assert!(refused.join().unwrap().to_string().contains("attn_forward"));
    });
    // A handle may end elsewhere than it began.
    thread::spawn(move || drop(mechanism)).join().unwrap();
}

#[test]
fn engines_describe_themselves_and_log() {
    let mut said = Vec::new();
    let engine = EngineOptions::new()
        .threads(2)
        .way(Way::Tiles)
        .kernels("portable")
        .log(|level, sentence| said.push((level, sentence.to_string())))
        .create()
        .unwrap();
    assert!(said.iter().all(|(_, sentence)| !sentence.is_empty()));
    let described = engine.describe().unwrap();
    assert!(
        described.starts_with('{') && described.ends_with('}'),
        "{described}"
    );
    assert!(
        described.contains("portable") && described.contains(version()),
        "{described}"
    );
    let again = engine.clone();
    drop(engine);
    assert_eq!(again.describe().unwrap(), described);
    // A panic in the log goes no further.
    EngineOptions::new()
        .log(|_, _| panic!("of a log"))
        .create()
        .unwrap();
}

// SPDX-License-Identifier: BSD-3-Clause
//! What a call costs more from Rust than from C, on the benchmark's tiny case: 1 query, 5 keys, dimension 4. The same call
//! four ways in turn, the medians of many rounds: as a C program has it, arguments laid out once, by a plan and by
//! attn_forward; a prepared call, beside the plan; and forward(), which lays out arguments each time, beside attn_forward.
//! The figures of differences are medians of those within a round. `cargo bench --offline`.

use attn::{EngineOptions, Inputs, Mechanism, Outputs, Slices, Tensor, TensorMut};
use attn_sys as sys;
use std::ptr;
use std::time::Instant;

const CALLS: u32 = 100;
const ROUNDS: usize = 20000;

/// Nanoseconds for each of many calls.
fn time(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

/// A plan and attn_forward as a C program has them; what they have is leaked.
fn c_calls(x: &'static [f32], context: *mut f32) -> (impl FnMut(), impl FnMut()) {
    let tensor = |data: *const f32, rows: i64| {
        Box::leak(Box::new(sys::attn_tensor {
            data: data as *mut _,
            dtype: sys::ATTN_F32,
            ndim: 4,
            shape: [1, 1, rows, 4],
            stride: [rows * 4, rows * 4, 4, 1],
        }))
    };
    let args: &_ = Box::leak(Box::new(sys::attn_forward_args {
        query: tensor(x[20..].as_ptr(), 1),
        key: tensor(x.as_ptr(), 5),
        value: tensor(x[24..].as_ptr(), 5),
        context: tensor(context, 1),
        ..Default::default()
    }));
    let options = sys::attn_engine_options {
        threads: 1,
        ..Default::default()
    };
    let (mut engine, mut mechanism) = (ptr::null_mut(), ptr::null_mut());
    let mut plan = ptr::null_mut();
    unsafe {
        assert_eq!(sys::attn_engine_create(&options, &mut engine), 0);
        assert_eq!(
            sys::attn_mechanism_create_scaled_dot(engine, &mut mechanism),
            0
        );
        assert_eq!(sys::attn_plan_create(mechanism, args, &mut plan), 0);
    }
    (
        move || assert_eq!(unsafe { sys::attn_plan_run(plan, args) }, 0),
        move || assert_eq!(unsafe { sys::attn_forward(mechanism, args) }, 0),
    )
}

fn main() -> attn::Result<()> {
    let x: &'static [f32] = Box::leak((0..44).map(|i| (i as f32).sin()).collect());
    let (key, query, value) = (&x[..20], &x[20..24], &x[24..]);
    let (one, five) = ([1, 1, 1, 4], [1, 1, 5, 4]);
    let mut context = vec![0.0; 4];
    let (mut planned, mut plain) = c_calls(x, context.as_mut_ptr()); // one output for all
    let mechanism = Mechanism::scaled_dot(&EngineOptions::new().threads(1).create()?)?;
    let inputs = Inputs::new(Tensor::new(query, &one)?)
        .key(Tensor::new(key, &five)?)
        .value(Tensor::new(value, &five)?);
    let outputs = Outputs::new().context(TensorMut::new(&mut context, &one)?);
    let mut call = mechanism.prepare(&inputs, outputs)?;

    let mut rounds = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let times = [
            time(&mut planned),
            time(|| {
                let slices = Slices {
                    query,
                    key,
                    value,
                    context: &mut context,
                    ..Slices::default()
                };
                call.run(&mechanism, slices).unwrap();
            }),
            time(&mut plain),
            time(|| {
                let inputs = Inputs::new(Tensor::new(query, &one).unwrap())
                    .key(Tensor::new(key, &five).unwrap())
                    .value(Tensor::new(value, &five).unwrap());
                let output = TensorMut::new(&mut context, &one).unwrap();
                mechanism
                    .forward(&inputs, Outputs::new().context(output))
                    .unwrap();
            }),
        ];
        let [planned, prepared, plain, forward] = times;
        let figures = [planned, prepared - planned, plain, forward - plain];
        for (all, figure) in rounds.iter_mut().zip(figures) {
            all.push(figure);
        }
    }
    let [planned, prepared, plain, forward] = rounds.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    println!("C, a plan: {planned:.1} ns");
    println!("prepared call: {prepared:+.1} ns");
    println!("C, attn_forward: {plain:.1} ns");
    println!("forward(): {forward:+.1} ns");
    Ok(())
}

// SPDX-License-Identifier: BSD-3-Clause
//! What is refused, by which status, in which words; and that nothing was written.

use attn::*;
use std::sync::Arc;

fn engine() -> Engine {
    Engine::new().unwrap()
}

fn shape_of(data: &[f32], shape: &[usize]) -> Option<Status> {
    Tensor::new(data, shape).err().map(|error| error.status())
}

fn strided(length: usize, offset: usize, shape: &[usize], strides: &[isize]) -> Option<Status> {
    let mut data = vec![0.0f32; length];
    let read = Tensor::strided(&data, offset, shape, strides).err();
    let written = TensorMut::strided(&mut data, offset, shape, strides).err();
    assert_eq!(read, written);
    read.map(|error| error.status())
}

#[test]
fn shapes_are_those_of_the_slice() {
    let data = [0.0; 6];
    assert_eq!(shape_of(&data, &[6]), None);
    assert_eq!(shape_of(&data, &[1, 2, 3, 1]), None);
    for shape in [&[5][..], &[7], &[2, 2], &[], &[1, 1, 1, 1, 6], &[0]] {
        assert_eq!(shape_of(&data, shape), Some(Status::Shape), "{shape:?}");
    }
    let wraps = usize::MAX / 2 + 1; // times 2 is 0, where it wraps
    for shape in [&[wraps, 2][..], &[usize::MAX], &[1 << 33, 1 << 33]] {
        assert_eq!(shape_of(&data, shape), Some(Status::Overflow), "{shape:?}");
        assert_eq!(shape_of(&[], shape), Some(Status::Overflow), "{shape:?}");
    }
    assert_eq!(shape_of(&[], &[3, 0]), None);
}

#[test]
fn strides_stay_within_the_slice() {
    let fits = None;
    let refused = Some(Status::Shape);
    assert_eq!(strided(6, 0, &[2, 3], &[3, 1]), fits);
    assert_eq!(strided(6, 0, &[3, 2], &[1, 3]), fits);
    assert_eq!(strided(6, 5, &[2, 3], &[-3, -1]), fits);
    assert_eq!(strided(6, 3, &[2, 3], &[-3, 1]), fits);
    assert_eq!(strided(1, 0, &[1 << 40, 1 << 20], &[0, 0]), fits); // each element the same
    assert_eq!(strided(6, 0, &[1, 3], &[isize::MAX, 1]), fits); // a stride that is never taken
    assert_eq!(strided(5, 0, &[2, 3], &[3, 1]), refused);
    assert_eq!(strided(6, 1, &[2, 3], &[3, 1]), refused);
    assert_eq!(strided(6, 4, &[2, 3], &[-3, -1]), refused);
    assert_eq!(strided(6, 0, &[2], &[-1]), refused);
    assert_eq!(strided(6, 2, &[2, 3], &[-3, 1]), refused);
    assert_eq!(strided(6, 0, &[2, 3], &[3]), refused);
    assert_eq!(strided(6, 0, &[], &[]), refused);
    // What reaches around all there is.
    for (shape, strides) in [
        (&[3, 3][..], &[isize::MAX, isize::MAX][..]),
        (&[3, 3], &[isize::MIN, isize::MIN]),
        (&[3, 3], &[isize::MAX, isize::MIN]),
        (
            &[usize::MAX >> 1, usize::MAX >> 1],
            &[isize::MAX, isize::MAX],
        ),
        (
            &[usize::MAX >> 1, usize::MAX >> 1, usize::MAX >> 1],
            &[isize::MAX; 3],
        ),
        (&[2], &[isize::MIN]),
    ] {
        assert!(
            strided(6, 3, shape, strides).is_some(),
            "{shape:?} {strides:?}"
        );
    }
    assert!(strided(6, usize::MAX, &[2], &[1]).is_some());
    // Without elements there are none outside, but the view begins within the slice.
    assert_eq!(strided(6, 6, &[0, 3], &[isize::MAX, 1]), fits);
    assert_eq!(strided(6, 7, &[0, 3], &[3, 1]), refused);
}

#[test]
fn refused_calls_say_why_and_write_nothing() {
    let mechanism = Mechanism::dot(&engine()).unwrap();
    let (q, k) = ([1.0f32; 6], [1.0f32; 8]);
    let mut context = [9.0; 8];
    let inputs =
        Inputs::new(Tensor::new(&q, &[2, 3]).unwrap()).key(Tensor::new(&k, &[2, 4]).unwrap());
    let out = TensorMut::new(&mut context, &[2, 4]).unwrap();
    let error = mechanism
        .forward(&inputs, Outputs::new().context(out))
        .unwrap_err();
    assert_eq!(error.status(), Status::Shape);
    let sentence = error.to_string();
    assert!(
        sentence.contains("attn_forward") && sentence.contains("key"),
        "{sentence}"
    );
    assert_eq!(context, [9.0; 8]);

    let inputs = inputs.key(Tensor::new(&q, &[2, 3]).unwrap());
    let error = mechanism.forward(&inputs, Outputs::new()).unwrap_err(); // nothing is wanted
    assert_eq!(error.status(), Status::Argument);
    let inputs = Inputs::new(Tensor::new(&q, &[2, 3]).unwrap());
    let out = TensorMut::new(&mut context[..6], &[2, 3]).unwrap();
    let error = mechanism
        .forward(&inputs, Outputs::new().context(out))
        .unwrap_err();
    assert_eq!(error.status(), Status::Argument);
}

#[test]
fn outputs_have_no_strides_of_nothing() {
    let mechanism = Mechanism::dot(&engine()).unwrap();
    let q = [1.0f32; 6];
    let mut context = [9.0; 3];
    let query = Tensor::new(&q, &[2, 3]).unwrap();
    let out = TensorMut::strided(&mut context, 0, &[2, 3], &[0, 1]).unwrap();
    let inputs = Inputs::new(query).key(query);
    let error = mechanism
        .forward(&inputs, Outputs::new().context(out))
        .unwrap_err();
    assert_eq!(error.status(), Status::Overlap);
    assert_eq!(context, [9.0; 3]);
}

#[test]
fn parameters_by_name_shape_and_type() {
    let mut mechanism = Mechanism::general(&engine(), 2, 3).unwrap();
    let status = |result: Result<()>| result.unwrap_err().status();
    assert_eq!(
        status(mechanism.bind("X", vec![0.0f32; 6])),
        Status::Parameter
    );
    assert_eq!(
        status(mechanism.bind("W\0", vec![0.0f32; 6])),
        Status::Argument
    );
    let error = mechanism.bind("W", vec![0.0f32; 5]).unwrap_err();
    assert_eq!(error.status(), Status::Shape);
    assert!(error.to_string().contains("\"W\""), "{error}");
    let transposed = Param::from(vec![0.0f32; 6])
        .strided(0, &[3, 2], &[2, 1])
        .unwrap();
    assert_eq!(status(mechanism.bind("W", transposed)), Status::Shape);
    assert!(Param::from(vec![0.0f32; 5])
        .strided(0, &[2, 3], &[3, 1])
        .is_err());
    assert!(Param::from(vec![0.0f32; 5]).shaped(&[2, 3]).is_err());

    let (q, k) = ([1.0f64; 2], [1.0f64; 3]);
    let inputs =
        Inputs::new(Tensor::new(&q, &[1, 2]).unwrap()).key(Tensor::new(&k, &[1, 3]).unwrap());
    let mut context = [0.0; 3];
    let mut run = |mechanism: &Mechanism| {
        let out = TensorMut::new(&mut context, &[1, 3]).unwrap();
        mechanism.forward(&inputs, Outputs::new().context(out))
    };
    assert_eq!(status(run(&mechanism)), Status::Parameter); // not bound
    mechanism.bind("W", vec![0.5f32; 6]).unwrap();
    assert_eq!(status(run(&mechanism)), Status::DType);
    assert_eq!(
        mechanism.param::<f64>("W").unwrap_err().status(),
        Status::DType
    );
    mechanism.bind("W", vec![0.5f64; 6]).unwrap();
    run(&mechanism).unwrap();
    // A refused binding leaves what there was.
    assert!(mechanism.bind("W", vec![0.0f64; 7]).is_err());
    assert_eq!(mechanism.param::<f64>("W").unwrap(), [0.5; 6]);
    run(&mechanism).unwrap();
}

#[test]
fn gradients_that_there_are_not() {
    let mut mechanism = Mechanism::dot(&engine()).unwrap();
    let (x, lse) = ([1.0f64; 2], [0.0; 1]);
    let tensor = Tensor::new(&x, &[1, 2]).unwrap();
    let (context, mut d) = (x, [0.0; 2]);
    let flow = Flow::new(Tensor::new(&lse, &[1]).unwrap())
        .context(Tensor::new(&context, &[1, 2]).unwrap(), tensor);
    let inputs = Inputs::new(tensor).key(tensor);
    let mut status = |mechanism: &Mechanism, param: bool| {
        let d = TensorMut::new(&mut d, &[1, 2]).unwrap();
        let wanted = if param {
            Gradients::new().param("W", d)
        } else {
            Gradients::new().query(d)
        };
        mechanism
            .backward(&inputs, &flow, wanted)
            .map_err(|error| error.status())
    };
    assert_eq!(status(&mechanism, true), Err(Status::Parameter));
    assert_eq!(status(&mechanism, false), Ok(()));
    mechanism.set_normaliser(Normaliser::Hardmax).unwrap();
    assert_eq!(status(&mechanism, false), Err(Status::Unsupported));
}

#[test]
fn no_gradient_is_taken_and_never_written() {
    let mut mechanism = Mechanism::general(&engine(), 2, 2).unwrap();
    mechanism.bind("W", vec![0.5f64; 4]).unwrap();
    let (x, lse, mut once, mut twice) = ([1.0f64; 2], [1.0; 1], [9.0; 4], [9.0; 4]);
    let tensor = Tensor::new(&x, &[1, 2]).unwrap();
    let flow = Flow::new(Tensor::new(&lse, &[1]).unwrap()).context(tensor, tensor);
    let wanted = Gradients::new()
        .param("W", TensorMut::new(&mut once, &[2, 2]).unwrap())
        .param("W", TensorMut::new(&mut twice, &[2, 2]).unwrap());
    let error = mechanism
        .backward(&Inputs::new(tensor).key(tensor), &flow, wanted)
        .unwrap_err();
    assert_eq!(error.status(), Status::Parameter);
    assert!(error.to_string().contains("twice"), "{error}");
    assert_eq!((once, twice), ([9.0; 4], [9.0; 4]));
}

#[test]
fn memories_are_for_their_mechanism() {
    let engine = engine();
    let mine = Arc::new(Mechanism::dot(&engine).unwrap());
    let other = Mechanism::dot(&engine).unwrap();
    let mut memory = Memory::<f32>::new(&mine, MemoryOptions::new(2)).unwrap();
    let x = [1.0f32; 2];
    let tensor = Tensor::new(&x, &[1, 2]).unwrap();
    memory.append(Append::keys(tensor)).unwrap();
    let mut context = [9.0; 2];
    let out = TensorMut::new(&mut context, &[1, 2]).unwrap();
    let inputs = Inputs::new(tensor).memory(&memory);
    let error = other
        .forward(&inputs, Outputs::new().context(out))
        .unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    assert_eq!(context, [9.0; 2]);
}

#[test]
fn engines_of_what_this_machine_has_not() {
    let status = |options: EngineOptions| options.create().unwrap_err().status();
    assert_eq!(
        status(EngineOptions::new().kernels("abacus")),
        Status::Unsupported
    );
    assert_eq!(
        status(EngineOptions::new().kernels("a\0b")),
        Status::Argument
    );
    assert_eq!(
        status(EngineOptions::new().threads(usize::MAX)),
        Status::Argument
    );
}

#[test]
fn prepared_calls_take_slices_of_their_layout_alone() {
    let mechanism = Mechanism::dot(&engine()).unwrap();
    let (x, mut context) = ([1.0f32; 8], [9.0f32; 8]);
    let strides = [4, 1];
    let inputs = Inputs::new(Tensor::strided(&x, 1, &[2, 3], &strides).unwrap())
        .key(Tensor::new(&x, &[2, 4]).unwrap());
    assert!(mechanism.prepare(&inputs, Outputs::new()).is_err()); // other dimensions
    let inputs = inputs.key(Tensor::new(&x[..6], &[2, 3]).unwrap());
    let out = TensorMut::strided(&mut context, 0, &[2, 3], &strides).unwrap();
    let mut call = mechanism
        .prepare(&inputs, Outputs::new().context(out))
        .unwrap();
    let mut run = |query: &[f32], key: &[f32], value: &[f32], context: &mut [f32]| {
        let slices = Slices {
            query,
            key,
            value,
            context,
            ..Slices::default()
        };
        call.run(&mechanism, slices).map_err(|error| error.status())
    };
    assert_eq!(run(&x, &x[..6], &[], &mut context), Ok(()));
    assert_eq!(context, [1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 9.0]);
    context.fill(9.0);
    let short = Err(Status::Shape);
    assert_eq!(run(&x[..7], &x[..6], &[], &mut context), short); // 1 + 4 + 3 are needed
    assert_eq!(run(&x, &x[..5], &[], &mut context), short);
    assert_eq!(run(&x, &x[..6], &[], &mut context[..6]), short);
    assert_eq!(run(&[], &x[..6], &[], &mut context), short);
    assert_eq!(run(&x, &x[..6], &x, &mut context), Err(Status::Argument)); // laid out without
    assert_eq!(context, [9.0; 8]);
    assert_eq!(run(&x, &x, &[], &mut context[..7]), Ok(())); // longer will do
}

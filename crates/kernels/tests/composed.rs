//! The switch to candle's own operations, which is for the whole program and so has a test program of its own.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use candle_core::{Device, Result, Tensor, Var};
use isorate_kernels::{Conv2d, affine, affine_relu, backward, batch_norm, compose, conv2d, cross_entropy, global_avg_pool, relu};

/// Numbers without a pattern that an operation could hide in.
fn numbers(shape: &[usize]) -> Result<Tensor> {
    let count = shape.iter().product::<usize>();
    let value = |i: usize| ((i * 7919 + 31) % 1009) as f32 / 504.5 - 1.0;
    Tensor::from_vec((0..count).map(value).collect::<Vec<_>>(), shape, &Device::Cpu)
}

/// The loss of a small network, and the gradients of its weights.
fn loss_and_gradients() -> Result<(f32, Vec<Vec<f32>>)> {
    let shapes: [&[usize]; 5] = [&[4, 3, 3, 3], &[4], &[4], &[6, 4], &[5, 6]];
    let weights: Vec<Var> = shapes.iter().map(|shape| Var::from_tensor(&numbers(shape)?)).collect::<Result<_>>()?;
    let filters = conv2d(&numbers(&[2, 3, 6, 6])?, &weights[0], Conv2d { stride: 1, padding: 1, groups: 1 })?;
    let normed = relu(&batch_norm(&filters, &weights[1], &weights[2], 1e-5, false)?.y)?;
    let hidden = affine_relu(&global_avg_pool(&normed)?, &weights[3], None)?;
    let logits = affine(&hidden, &weights[4], None)?;
    let loss = cross_entropy(&logits, &Tensor::new(&[1_u32, 4], &Device::Cpu)?)?;
    let gradients = backward(&loss)?;
    let flat = |var: &Var| gradients.get(var).unwrap().flatten_all()?.to_vec1();
    Ok((loss.to_scalar()?, weights.iter().map(flat).collect::<Result<_>>()?))
}

#[test]
fn composed_and_fused_agree_and_the_switch_goes_back() {
    let (loss, gradients) = loss_and_gradients().unwrap();
    compose(true);
    let (composed_loss, composed) = loss_and_gradients().unwrap();
    compose(false);
    assert!((loss - composed_loss).abs() < 1e-5, "{loss} {composed_loss}");
    for (ours, candles) in gradients.iter().zip(&composed) {
        assert!(ours.iter().zip(candles).all(|(a, b)| (a - b).abs() < 1e-5), "{ours:?} {candles:?}");
    }
    // Sums in another order: some bit is different, or the switch did nothing.
    assert_ne!(gradients, composed);
    assert_eq!((loss, gradients), loss_and_gradients().unwrap());
}

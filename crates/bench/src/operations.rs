//! Single operations of networks, with their gradients.

use candle_core::{Result, Tensor, Var};
use isorate_kernels::{
    Conv2d, add_relu, backward, batch_norm, batch_norm_add_relu, causal_attention, conv2d, cross_entropy, gelu_tanh,
    global_avg_pool, layer_norm, max_pool2d, relu,
};

use crate::inputs::{normal, whole};
use crate::work::Work;

/// What an operation takes, and which tensors it has gradients for.
type Operation = fn(&[Var]) -> Result<Tensor>;

/// Each operation forward and backward from a gradient of ones; the convolution also forward alone.
pub(crate) fn operations() -> Vec<Work> {
    const IMAGES: &[usize] = &[64, 64, 32, 32];
    const FILTERS: &[usize] = &[64, 64, 3, 3];
    let convolution = |x: &[Var]| conv2d(&x[0], &x[1], Conv2d { padding: 1, ..Conv2d::default() });
    let flops = 2.0 * f64::from(64 * 64 * 64 * 9) * f64::from(32 * 32);
    vec![
        operation("convolution-3x3/64x64x32x32/forward", &[IMAGES, FILTERS], convolution, false).flops(flops),
        operation("convolution-3x3/64x64x32x32/forward-backward", &[IMAGES, FILTERS], convolution, true).flops(3.0 * flops),
        operation(
            "batch-norm-relu/64x64x32x32",
            &[IMAGES, &[64], &[64]],
            |x| Ok(batch_norm(&x[0], &x[1], &x[2], 1e-5, true)?.y),
            true,
        ),
        operation(
            "batch-norm-add-relu/64x64x32x32",
            &[IMAGES, &[64], &[64], IMAGES],
            |x| Ok(batch_norm_add_relu(&x[0], &x[1], &x[2], &x[3], 1e-5)?.y),
            true,
        ),
        operation("relu/64x64x32x32", &[IMAGES], |x| relu(&x[0]), true),
        operation("add-relu/64x64x32x32", &[IMAGES, IMAGES], |x| add_relu(&x[0], &x[1]), true),
        operation("max-pool-3x3/64x64x32x32", &[IMAGES], |x| max_pool2d(&x[0], 3, 2, 1), true),
        operation("global-average-pool/64x512x4x4", &[&[64, 512, 4, 4]], |x| global_avg_pool(&x[0]), true),
        cross_entropy_of(2048, 4096),
        operation("layer-norm/2048x128", &[&[2048, 128], &[128], &[128]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5), true),
        operation("attention/32x64x4x32", &[&[32, 64, 3 * 128]], |x| causal_attention(&x[0], 4), true),
        operation("gelu/2048x512", &[&[2048, 512]], |x| gelu_tanh(&x[0]), true),
    ]
}

fn operation(name: &str, shapes: &'static [&'static [usize]], operation: Operation, with_backward: bool) -> Work {
    Work::new(format!("operation/{name}"), move || {
        let inputs = (0..).zip(shapes).map(|(seed, &shape)| Ok(Var::from_tensor(&normal(shape, seed)?)?));
        let inputs: Vec<Var> = inputs.collect::<crate::Result<_>>()?;
        Ok(Box::new(move || {
            let y = operation(&inputs)?;
            if with_backward {
                backward(&y)?;
            }
            Ok(())
        }))
    })
}

fn cross_entropy_of(rows: usize, classes: u32) -> Work {
    Work::new(format!("operation/cross-entropy/{rows}x{classes}"), move || {
        let (logits, labels) = (Var::from_tensor(&normal((rows, classes as usize), 1)?)?, whole(rows, classes, 2)?);
        Ok(Box::new(move || {
            backward(&cross_entropy(&logits, &labels)?)?;
            Ok(())
        }))
    })
}

//! Tensors as faer's matrices, in f64: what the definitions of rules are written in.

use candle_core::{Device, Tensor};
use faer::Mat;

pub fn mat(t: &Tensor) -> Mat<f64> {
    let rows = t.to_vec2::<f64>().unwrap();
    Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

pub fn tensor(m: &Mat<f64>) -> Tensor {
    let values: Vec<f64> = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    Tensor::from_vec(values, (m.nrows(), m.ncols()), &Device::Cpu).unwrap()
}

pub fn scaled(m: &Mat<f64>, by: f64) -> Mat<f64> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)] * by)
}

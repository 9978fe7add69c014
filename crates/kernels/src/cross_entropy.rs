//! Cross-entropy of a softmax.

use candle_core::{D, Result, Tensor};

/// The mean over the rows of −log softmax(z)_y in nats, for logits z [n, classes] and labels y [n] of type u32.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&largest)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let of_label = shifted.gather(&labels.unsqueeze(1)?, 1)?;
    (log_sum - of_label)?.mean_all()
}

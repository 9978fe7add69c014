//! Steps that orthogonalize, for many parameters at once.

use candle_core::Tensor;

use super::Slot;
use crate::rules::Rule;
use crate::{Orthogonalizer, Result};

/// Parameters whose directions are orthogonalized together, in their order: small matrices go to different threads, and
/// equal shapes on a device into one stack. On the CPU the bits are those of [`Rule::step`] one by one.
#[derive(Default)]
pub(super) struct Together<'a> {
    waiting: Vec<Waiting<'a>>,
    bytes: usize,
}

struct Waiting<'a> {
    slot: &'a mut Slot,
    gradient: Tensor,
    lr_factor: f64,
}

/// Bytes of gradients, and so of directions and of results, that wait at a time.
const TOGETHER: usize = 64 << 20;

impl<'a> Together<'a> {
    /// Adds the step of a parameter whose rule is an orthogonalization, after those that do not go with it.
    pub fn push(&mut self, slot: &'a mut Slot, gradient: Tensor, lr_factor: f64) -> Result<()> {
        let bytes = gradient.elem_count() * gradient.dtype().size_in_bytes();
        let fits = self.waiting.first_mut().is_none_or(|first| {
            self.bytes + bytes <= TOGETHER && orthogonalizer(&mut *first.slot.rule) == orthogonalizer(&mut *slot.rule)
        });
        if !fits {
            self.finish()?;
        }
        self.bytes += bytes;
        self.waiting.push(Waiting { slot, gradient, lr_factor });
        Ok(())
    }

    /// Makes the steps that wait.
    pub fn finish(&mut self) -> Result<()> {
        self.bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting);
        let Some(how) = waiting.first_mut().and_then(|first| orthogonalizer(&mut *first.slot.rule)).cloned() else {
            return Ok(());
        };
        let mut directions = Vec::with_capacity(waiting.len());
        for Waiting { slot, gradient, .. } in &mut waiting {
            if let Some(rule) = slot.rule.orthogonalized() {
                directions.push(rule.direction(gradient).map_err(|e| slot.failed(e))?);
            }
        }
        let results = how.apply_each(&directions);
        drop(directions);
        for (Waiting { slot, lr_factor, .. }, result) in waiting.into_iter().zip(results) {
            let update = |rule: &mut dyn Rule, weight: &_| match rule.orthogonalized() {
                Some(rule) => rule.update(weight, &result?, lr_factor),
                None => Ok(()),
            };
            slot.update(update).map_err(|e| slot.failed(e))?;
        }
        Ok(())
    }
}

fn orthogonalizer(rule: &mut dyn Rule) -> Option<&Orthogonalizer> {
    rule.orthogonalized().map(|rule| rule.orthogonalizer())
}

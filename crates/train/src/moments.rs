//! The spectrum of a data set's moments, as records.

use std::collections::BTreeMap;

use isorate_data::{Centering, LabelledFeatures, Moments, variance_shares};
use isorate_results::{Outcome, Record};
use serde_json::{Value, json};

use crate::Error;
use crate::colored::ColoredMnistRun;
use crate::runner::Product;

/// Eigenvalues of Σ_xx that are kept.
const EIGENVALUES: usize = 64;

/// The moments of one seed's training set.
#[derive(Clone, Debug)]
pub(crate) struct MomentsRun {
    pub(crate) data: ColoredMnistRun,
}

impl MomentsRun {
    pub(crate) fn spec(&self) -> Value {
        json!({ "kind": "moments", "data": self.data.spec() })
    }

    /// Under the optimizer key `data`, on the split `train`: `s_yx` (singular values of Σ_yx = E[y xᵀ], as in the
    /// paper) and `s_xx` (diagonal of Vᵀ Σ_xx V) by component; `eigenvalue` (the largest of Σ_xx); `condition1_residual`.
    ///
    /// On the split `test`, where digit and colour are independent: `digit_share` and `colour_share` by component, the parts
    /// of the variance along v_c that the digit and the colour explain.
    pub(crate) fn execute(&self) -> Result<Product, Error> {
        let sets = self.data.build()?;
        let (train, test) = (&sets.train, &sets.test);
        let features = LabelledFeatures::new(train.pixels(), train.dim(), train.labels(), train.classes())?;
        let moments = Moments::new(&features, Centering::Raw)?;
        let base = Record::at_step(0).of("data").split("train");
        let by_component = |metric: &'static str, values: &[f64]| {
            let record = |(c, value): (usize, &f64)| base.clone().metric(metric).group(&c.to_string()).value(*value);
            values.iter().enumerate().map(record).collect::<Vec<_>>()
        };
        let mut records = by_component("s_yx", moments.s_yx());
        records.extend(by_component("s_xx", moments.s_xx()));
        let mut eigenvalues = moments.eigenvalues()?;
        eigenvalues.sort_by(|a, b| b.total_cmp(a));
        eigenvalues.truncate(EIGENVALUES);
        records.extend(by_component("eigenvalue", &eigenvalues));
        records.push(base.clone().metric("condition1_residual").value(moments.residual()));
        let features = LabelledFeatures::new(test.pixels(), test.dim(), test.labels(), test.classes())?;
        let shares = variance_shares(&features, test.colors(), test.color_count(), moments.right_vectors())?;
        for (c, share) in shares.iter().enumerate() {
            let base = base.clone().split("test").group(&c.to_string());
            records.push(base.clone().metric("digit_share").value(share.class));
            records.push(base.metric("colour_share").value(share.attribute));
        }
        Ok(Product { outcome: Outcome::Finished, records, notes: BTreeMap::new() })
    }
}

//! The spectrum of a data set's moments, as records.

use std::collections::BTreeMap;

use isorate_data::{Centering, Examples, Groups, LabelledFeatures, Moments, variance_shares};
use isorate_results::{Outcome, Record};
use serde_json::{Value, json};

use crate::Error;
use crate::inputs::Inputs;
use crate::runner::Product;
use crate::sets::DataRun;
use crate::spec::data::DataSpec;

/// Eigenvalues of Σ_xx that are kept.
const EIGENVALUES: usize = 64;

/// The moments of one seed's training set.
#[derive(Clone, Debug)]
pub(crate) struct MomentsRun {
    pub(crate) case: String,
    pub(crate) data: DataRun,
}

impl MomentsRun {
    pub(crate) fn spec(&self) -> Value {
        json!({ "kind": "moments", "case": self.case, "data": self.data.spec() })
    }

    /// Under the optimizer key `data`, on the split `train`: `s_yx` (singular values of Σ_yx = E[y xᵀ], as in the
    /// paper) and `s_xx` (diagonal of Vᵀ Σ_xx V) by component; `eigenvalue` (the largest of Σ_xx); `condition1_residual`.
    ///
    /// For Colored-MNIST also, on the split `test`, where digit and colour are independent: `digit_share` and `colour_share` by
    /// component, the parts of the variance along v_c that the digit and the colour explain.
    pub(crate) fn execute(&self) -> Result<Product, Error> {
        let sets = self.data.build()?;
        let Inputs::Images { examples: train, .. } = &sets.train else {
            return Err(Error::Run("only images have moments here".into()));
        };
        let pixels = all(&**train)?;
        let features = LabelledFeatures::new(&pixels, train.dim(), train.labels(), train.classes())?;
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
        let test = sets.held_out.iter().find(|set| set.split == "test").map(|set| &set.inputs);
        if let (DataSpec::Colored(_), Some(Inputs::Images { examples: test, .. })) = (&self.data.spec, test)
            && let Some(groups) = test.groups()
        {
            records.extend(shares(&**test, groups, &moments, &base.split("test"))?);
        }
        Ok(Product { outcome: Outcome::Finished, records, notes: BTreeMap::new(), steps: 0, train_seconds: 0.0 })
    }
}

fn shares(test: &dyn Examples, groups: &Groups, moments: &Moments, base: &Record) -> Result<Vec<Record>, Error> {
    let pixels = all(test)?;
    let features = LabelledFeatures::new(&pixels, test.dim(), test.labels(), test.classes())?;
    let attributes = groups.attribute_names().len();
    let shares = variance_shares(&features, groups.attributes(), attributes, moments.right_vectors())?;
    let record = |(c, share): (usize, &isorate_data::VarianceShares)| {
        let base = base.clone().group(&c.to_string());
        [base.clone().metric("digit_share").value(share.class), base.metric("colour_share").value(share.attribute)]
    };
    Ok(shares.iter().enumerate().flat_map(record).collect())
}

/// All pixels, row after row.
fn all(examples: &dyn Examples) -> Result<Vec<f32>, Error> {
    let rows: Vec<usize> = (0..examples.len()).collect();
    let mut pixels = vec![0.0; rows.len() * examples.dim()];
    examples.read(&rows, &mut pixels)?;
    Ok(pixels)
}

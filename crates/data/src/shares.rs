//! What a direction of feature space reads: the class or an attribute.

use rayon::prelude::*;

use crate::{DataError, LabelledFeatures};

/// How the variance of a projection splits over class and attribute. The four shares are in [0, 1] and add up to 1 (all are 0 when
/// the projection is constant).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VarianceShares {
    /// Main effect of the class: the share that knowing the class alone explains.
    pub class: f64,
    /// Main effect of the attribute (for Colored-MNIST, the colour).
    pub attribute: f64,
    /// What class and attribute explain together beyond their main effects.
    pub interaction: f64,
    /// The rest: variance among samples of the same class and attribute.
    pub within: f64,
}

/// Splits the variance of `z = vᵀx` for each direction `v` (`directions` is `r × dim`, row after row) over class and attribute.
///
/// Two-way analysis of variance with every cell (class `y`, attribute `a`) weighted equally, that is, under the law in which both
/// are uniform and independent, whatever the counts in `data`. With cell means `m_ya` and variances `w_ya`, averages over an index written as a dot,
///
/// `Var z = mean_y (m_y· − m_··)² + mean_a (m_·a − m_··)² + mean_ya (m_ya − m_y· − m_·a + m_··)² + mean_ya w_ya`,
///
/// and the shares are these four terms over their sum. Applied to the right singular vectors of `Σ_yx` this tells which components
/// of a spuriously correlated training set read the attribute rather than the class once the two are independent; measure it on a set in
/// which all cells are well filled, such as a balanced test set.
///
/// # Errors
/// [`DataError::Setting`] when a cell is empty, the attributes are not one for each row or not below `attribute_count`, or the
/// directions are not a multiple of `dim`; [`DataError::NotFinite`] for a feature that is not finite.
pub fn variance_shares<T: Copy + Into<f64> + Sync>(
    data: &LabelledFeatures<'_, T>,
    attributes: &[u32],
    attribute_count: usize,
    directions: &[f64],
) -> Result<Vec<VarianceShares>, DataError> {
    let d = data.dim();
    if attributes.len() != data.len() {
        return Err(DataError::setting("number of attributes", attributes.len(), format!("must be {}", data.len())));
    }
    if let Some(bad) = attributes.iter().find(|&&a| a as usize >= attribute_count) {
        return Err(DataError::setting("attribute", bad, format!("must be below {attribute_count}")));
    }
    if !directions.len().is_multiple_of(d) {
        return Err(DataError::setting("length of directions", directions.len(), format!("must be a multiple of {d}")));
    }
    let cells: Vec<usize> =
        data.labels().iter().zip(attributes).map(|(&y, &a)| y as usize * attribute_count + a as usize).collect();
    let mut counts = vec![0u32; data.classes() * attribute_count];
    for &cell in &cells {
        counts[cell] += 1;
    }
    if let Some(empty) = counts.iter().position(|&n| n == 0) {
        let cell = (empty / attribute_count, empty % attribute_count);
        return Err(DataError::setting("cell (class, attribute)", cell, "has no sample; every cell needs one"));
    }

    let projections = project(data, directions)?;
    let r = directions.len() / d;
    Ok((0..r)
        .map(|c| {
            let z = projections.iter().skip(c).step_by(r).copied();
            split(z, &cells, &counts, attribute_count)
        })
        .collect())
}

/// `vᵀx` for each sample and direction, `n × r`.
fn project<T: Copy + Into<f64> + Sync>(data: &LabelledFeatures<'_, T>, directions: &[f64]) -> Result<Vec<f64>, DataError> {
    let d = data.dim();
    let rows: Vec<Vec<f64>> = (0..data.len())
        .into_par_iter()
        .map_init(
            || vec![0.0; d],
            |x, row| {
                data.fill(row, x)?;
                Ok(directions.chunks_exact(d).map(|v| v.iter().zip(x.iter()).map(|(v, x)| v * x).sum()).collect())
            },
        )
        .collect::<Result<_, DataError>>()?;
    Ok(rows.concat())
}

fn split(z: impl Iterator<Item = f64> + Clone, cells: &[usize], counts: &[u32], attribute_count: usize) -> VarianceShares {
    let classes = counts.len() / attribute_count;
    let mut means = vec![0.0; counts.len()];
    for (z, &cell) in z.clone().zip(cells) {
        means[cell] += z / f64::from(counts[cell]);
    }
    let mut within = 0.0;
    for (z, &cell) in z.zip(cells) {
        within += (z - means[cell]).powi(2) / f64::from(counts[cell]);
    }
    let average = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
    let by_class: Vec<f64> =
        means.chunks_exact(attribute_count).map(|m| average(&mut m.iter().copied(), attribute_count)).collect();
    let by_attribute: Vec<f64> =
        (0..attribute_count).map(|a| average(&mut means.iter().skip(a).step_by(attribute_count).copied(), classes)).collect();
    let grand = average(&mut by_class.iter().copied(), classes);
    let class = average(&mut by_class.iter().map(|m| (m - grand).powi(2)), classes);
    let attribute = average(&mut by_attribute.iter().map(|m| (m - grand).powi(2)), attribute_count);
    let interaction = average(
        &mut means
            .iter()
            .enumerate()
            .map(|(cell, m)| (m - by_class[cell / attribute_count] - by_attribute[cell % attribute_count] + grand).powi(2)),
        counts.len(),
    );
    let within = within / counts.len() as f64;
    let total = class + attribute + interaction + within;
    let share = |part: f64| if total > 0.0 { part / total } else { 0.0 };
    VarianceShares { class: share(class), attribute: share(attribute), interaction: share(interaction), within: share(within) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two classes and three attributes, twice each; feature 0 is the class, 1 the attribute, 2 neither, 3 their product.
    fn design() -> (Vec<f64>, Vec<u32>, Vec<u32>) {
        let (mut x, mut labels, mut attributes) = (vec![], vec![], vec![]);
        for (y, a, noise) in (0..12).map(|i| (i % 2, i / 2 % 3, if i < 6 { -1.0 } else { 1.0 })) {
            x.extend([f64::from(y), f64::from(a), noise, (2.0 * f64::from(y) - 1.0) * (f64::from(a) - 1.0)]);
            labels.push(y);
            attributes.push(a);
        }
        (x, labels, attributes)
    }

    #[test]
    fn pure_directions_have_one_share() {
        let (x, labels, attributes) = design();
        let data = LabelledFeatures::new(&x, 4, &labels, 2).unwrap();
        let axes: Vec<f64> = (0..16).map(|i| f64::from(i % 5 == 0)).collect();
        let shares = variance_shares(&data, &attributes, 3, &axes).unwrap();
        let parts = |s: &VarianceShares| [s.class, s.attribute, s.within, s.interaction];
        for (i, share) in shares.iter().enumerate() {
            for (j, part) in parts(share).into_iter().enumerate() {
                assert!((part - f64::from(i == j)).abs() < 1e-12, "axis {i}: {share:?}");
            }
        }
        // Var = ¼ for the class, ⅔ for the attribute: 3/11 and 8/11 of their sum.
        let mixed = variance_shares(&data, &attributes, 3, &[1.0, 1.0, 0.0, 0.0]).unwrap()[0];
        assert!((mixed.class - 3.0 / 11.0).abs() < 1e-12 && (mixed.attribute - 8.0 / 11.0).abs() < 1e-12, "{mixed:?}");
        let constant = variance_shares(&data, &attributes, 3, &[0.0; 4]).unwrap()[0];
        assert_eq!(constant, VarianceShares { class: 0.0, attribute: 0.0, interaction: 0.0, within: 0.0 });
    }

    proptest! {
        #[test]
        fn shares_add_up_whatever_the_counts(
            rows in prop::collection::vec((prop::array::uniform3(-9.0..9.0f64), 0u32..2, 0u32..2), 1..30),
            v in prop::array::uniform3(-2.0..2.0f64),
        ) {
            // One sample in each cell first, so that none is empty.
            let first = (0..4u32).map(|i| ([f64::from(i), 1.0, f64::from(i * i)], i / 2, i % 2));
            let rows: Vec<_> = first.chain(rows).collect();
            let x: Vec<f64> = rows.iter().flat_map(|r| r.0).collect();
            let labels: Vec<u32> = rows.iter().map(|r| r.1).collect();
            let attributes: Vec<u32> = rows.iter().map(|r| r.2).collect();
            let data = LabelledFeatures::new(&x, 3, &labels, 2).unwrap();
            let s = variance_shares(&data, &attributes, 2, &v).unwrap()[0];
            let sum = s.class + s.attribute + s.interaction + s.within;
            prop_assert!((sum - 1.0).abs() < 1e-12 || sum == 0.0, "{s:?}");
            prop_assert!([s.class, s.attribute, s.interaction, s.within].iter().all(|p| *p >= 0.0));
            // Repeating a sample within its cell changes nothing but the mean over that cell; repeating all of them changes nothing.
            let twice = [x.clone(), x].concat();
            let labels = [labels.clone(), labels].concat();
            let attributes = [attributes.clone(), attributes].concat();
            let data = LabelledFeatures::new(&twice, 3, &labels, 2).unwrap();
            let t = variance_shares(&data, &attributes, 2, &v).unwrap()[0];
            prop_assert!((s.class - t.class).abs() + (s.attribute - t.attribute).abs() < 1e-9);
        }
    }

    #[test]
    fn bad_input_is_named() {
        let (x, labels, attributes) = design();
        let data = LabelledFeatures::new(&x, 4, &labels, 2).unwrap();
        let error = |attributes: &[u32], count, v: &[f64]| variance_shares(&data, attributes, count, v).unwrap_err();
        insta::assert_snapshot!(error(&attributes, 4, &[0.0; 4]), @"cell (class, attribute) = (0, 3): has no sample; every cell needs one");
        insta::assert_snapshot!(error(&attributes, 2, &[0.0; 4]), @"attribute = 2: must be below 2");
        insta::assert_snapshot!(error(&attributes[1..], 3, &[0.0; 4]), @"number of attributes = 11: must be 12");
        insta::assert_snapshot!(error(&attributes, 3, &[0.0; 5]), @"length of directions = 5: must be a multiple of 4");
    }
}

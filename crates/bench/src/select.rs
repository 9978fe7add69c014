use crate::{Error, Result, Work, works};

/// The works whose names contain one of the filters; all of them without a filter.
///
/// # Errors
/// [`Error::UnknownWork`] for a filter that is in no name.
pub fn select(filters: &[String]) -> Result<Vec<Work>> {
    let all = works();
    if let Some(filter) = filters.iter().find(|filter| !all.iter().any(|work| work.name().contains(filter.as_str()))) {
        return Err(Error::UnknownWork { filter: filter.clone(), hint: hint(filter, &all) });
    }
    let chosen = |work: &Work| filters.is_empty() || filters.iter().any(|filter| work.name().contains(filter.as_str()));
    Ok(all.into_iter().filter(chosen).collect())
}

/// The nearest name or segment of a name.
fn hint(filter: &str, works: &[Work]) -> String {
    let segments = works.iter().flat_map(|work| work.name().split('/').chain([work.name()]));
    let nearest = segments
        .map(|known| (strsim::damerau_levenshtein(&filter.to_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3))
        .min();
    let list = "`isorate bench --list` shows all names";
    nearest.map_or_else(|| list.into(), |(_, nearest)| format!("did you mean `{nearest}`? {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filters: &[&str]) -> Result<Vec<String>> {
        let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        Ok(select(&filters)?.iter().map(|work| work.name().to_owned()).collect())
    }

    #[test]
    fn filters_are_parts_of_names_and_keep_the_order() {
        assert_eq!(names(&[]).unwrap().len(), works().len());
        let chosen = names(&["train/mlp/sgd", "matmul", "mlp/sgd"]).unwrap();
        assert_eq!(chosen, ["matmul/1024x1024", "train/mlp/sgd"]);
    }

    #[test]
    fn a_name_that_is_near_is_told() {
        let message = |filter: &str| names(&["muon", filter]).unwrap_err().to_string();
        assert!(message("moun").contains("no work has `moun`"));
        assert!(message("moun").contains("\nhint: did you mean `muon`?"));
        assert!(message("train/mlp/sdg").contains("did you mean `train/mlp/sgd`?"));
        assert!(message("convolution-of-everything").contains("\nhint: `isorate bench --list`"));
    }
}

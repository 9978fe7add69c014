use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// Changes when the meaning of a stored run changes, so that old files are not taken for new ones.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The name of a run: the first 128 bits, in hexadecimal, of the BLAKE3 hash of the schema version and the
/// [canonical JSON](canonical_json) of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The identifier of a description.
    pub fn of(spec: &Value) -> Result<Self, Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("isorate results {SCHEMA_VERSION}\n").as_bytes());
        hasher.update(canonical_json(spec)?.as_bytes());
        Ok(Self(hasher.finalize().to_hex()[..32].to_owned()))
    }

    /// The 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// JSON with sorted keys and no white space: equal values give equal text, whatever order they were built in.
///
/// Numbers are written in their shortest form that reads back to the same value. `null` is refused: it is what a NaN or an
/// infinite number turns into, and neither belongs in a description.
pub fn canonical_json(value: &Value) -> Result<String, Error> {
    fn write(value: &Value, out: &mut String) -> Result<(), Error> {
        match value {
            Value::Null => return Err(Error::Spec("found null, which stands for a missing or non-finite number".into())),
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write(item, out)?;
                }
                out.push(']');
            }
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                out.push('{');
                for (i, key) in keys.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::String(key.clone()).to_string());
                    out.push(':');
                    write(&map[key], out)?;
                }
                out.push('}');
            }
            scalar => out.push_str(&scalar.to_string()),
        }
        Ok(())
    }
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_does_not_matter_and_values_do() {
        let a = json!({"b": [1, 2.5], "a": {"y": "é\"", "x": true}});
        let b: Value = serde_json::from_str(r#"{"a":{"x":true,"y":"é\""},"b":[1,2.5]}"#).unwrap();
        assert_eq!(canonical_json(&a).unwrap(), r#"{"a":{"x":true,"y":"é\""},"b":[1,2.5]}"#);
        assert_eq!(RunId::of(&a).unwrap(), RunId::of(&b).unwrap());
        assert_ne!(RunId::of(&a).unwrap(), RunId::of(&json!({"b": [1, 2.500_000_1], "a": {"y": "é\"", "x": true}})).unwrap());
        assert_ne!(RunId::of(&json!({"lr": 1})).unwrap(), RunId::of(&json!({"lr": 1.0})).unwrap());
    }

    #[test]
    fn the_hash_is_pinned() {
        // A change of this value makes every stored run unknown: then SCHEMA_VERSION must change as well.
        insta::assert_snapshot!(RunId::of(&json!({"rule": "muon", "lr": 0.02})).unwrap(), @"77bff1a2526ce32f9ec451f3cf3220ab");
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        let message = RunId::of(&json!({"lr": f64::NAN})).unwrap_err().to_string();
        assert!(message.contains("finite"), "{message}");
    }
}

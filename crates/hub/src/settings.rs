//! Where the hub is, where files are kept, and what is known of the user: from the environment, or said in code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::HubError;

/// The variable that names a further manifest.
const MANIFEST: &str = "ISORATE_HUB_MANIFEST";
/// The variable that says how often a failed request is repeated.
const RETRIES: &str = "ISORATE_HUB_RETRIES";
/// The variable of huggingface_hub for the longest silence in a download.
const TIMEOUT: &str = "HF_HUB_DOWNLOAD_TIMEOUT";

/// Every variable that is looked at.
pub(crate) const VARIABLES: [&str; 13] = [
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HOME",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    TIMEOUT,
    RETRIES,
    MANIFEST,
];

/// How long the client waits, and how often it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often a request that failed for a passing reason is repeated.
    pub retries: u32,
    /// The wait before the first repetition; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait that is obeyed when the hub names one (`Retry-After`); past it the fetch fails.
    pub longest_wait: Duration,
    /// The longest time to a connection.
    pub connect: Duration,
    /// The longest silence within an answer: a stall ends the attempt.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_mins(2),
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
        }
    }
}

/// Everything that can be set; what is not said in code comes from the environment.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) endpoint: Option<String>,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) token: Option<String>,
    pub(crate) offline: Option<bool>,
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) patience: Option<Patience>,
}

/// Settings that were checked.
pub(crate) struct Checked {
    pub(crate) endpoint: String,
    pub(crate) cache: PathBuf,
    pub(crate) token: Option<String>,
    pub(crate) offline: bool,
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) patience: Patience,
}

impl Settings {
    /// Completes and checks the settings; `variable` looks a variable of the environment up.
    pub(crate) fn check(self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Checked, HubError> {
        // An empty variable counts as unset, as in most programs.
        let variable = &|name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let endpoint = self.endpoint.or_else(|| variable("HF_ENDPOINT"));
        let home = hf_home(variable);
        let cache =
            self.cache.or_else(|| variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")).map(expand(variable)));
        let offline = match self.offline {
            Some(offline) => offline,
            None => variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
        };
        Ok(Checked {
            endpoint: check_endpoint(endpoint.as_deref().unwrap_or("https://huggingface.co"))?,
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token: check_token(self.token.or_else(|| token(variable, &home)))?,
            offline,
            manifest: self.manifest.or_else(|| variable(MANIFEST).map(PathBuf::from)),
            patience: match self.patience {
                Some(patience) => patience,
                None => patience(variable)?,
            },
        })
    }
}

/// The values that huggingface_hub takes for true.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str())
}

/// `~` at the beginning is the home folder, as in huggingface_hub.
fn expand(variable: &dyn Fn(&str) -> Option<String>) -> impl Fn(String) -> PathBuf {
    move |path| match (path.strip_prefix('~'), variable("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => PathBuf::from(home + rest),
        _ => PathBuf::from(path),
    }
}

/// HF_HOME, else `huggingface` in XDG_CACHE_HOME, else `~/.cache/huggingface`.
fn hf_home(variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let expand = expand(variable);
    if let Some(home) = variable("HF_HOME") {
        return expand(home);
    }
    expand(variable("XDG_CACHE_HOME").unwrap_or_else(|| "~/.cache".into())).join("huggingface")
}

/// HF_TOKEN, else the file HF_TOKEN_PATH, else the file that a login leaves in HF_HOME.
fn token(variable: &dyn Fn(&str) -> Option<String>, home: &Path) -> Option<String> {
    if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
        return None;
    }
    let file = || {
        let path = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), expand(variable));
        fs_err::read_to_string(path).ok()
    };
    variable("HF_TOKEN").or_else(file)
}

/// An endpoint without a slash at its end.
fn check_endpoint(endpoint: &str) -> Result<String, HubError> {
    let setting = |problem: String| HubError::Setting { name: "HF_ENDPOINT", problem };
    let form = "an address such as https://huggingface.co";
    let url =
        reqwest::Url::parse(endpoint.trim()).map_err(|error| setting(format!("is {endpoint:?}, but must be {form}: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(setting(format!("holds a user name or a password, but must be {form}\nhint: a token goes into HF_TOKEN")));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err(setting(format!("is {endpoint:?}, but must be {form}")));
    }
    Ok(endpoint.trim().trim_end_matches('/').to_owned())
}

/// A token that can be sent in a header; the message does not show it.
fn check_token(token: Option<String>) -> Result<Option<String>, HubError> {
    let Some(token) = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) else { return Ok(None) };
    if token.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(Some(token));
    }
    Err(HubError::Setting {
        name: "HF_TOKEN",
        problem: "(or the file of the token) holds a space or a character that is not ASCII\nhint: a token looks like hf_ and \
                  34 letters and digits"
            .into(),
    })
}

fn patience(variable: &dyn Fn(&str) -> Option<String>) -> Result<Patience, HubError> {
    let whole = |name: &'static str, least: u32, most: u32| match variable(name) {
        None => Ok(None),
        Some(value) => value.trim().parse().ok().filter(|number| (least..=most).contains(number)).map(Some).ok_or_else(|| {
            HubError::Setting { name, problem: format!("is {value:?}, but must be a whole number from {least} to {most}") }
        }),
    };
    let mut patience = Patience::default();
    if let Some(seconds) = whole(TIMEOUT, 1, 3600)? {
        patience.silence = Duration::from_secs(seconds.into());
        patience.connect = patience.connect.min(patience.silence);
    }
    if let Some(retries) = whole(RETRIES, 0, 20)? {
        patience.retries = retries;
    }
    Ok(patience)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

    use super::*;

    #[test]
    fn no_other_variable_is_looked_at() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let _ = Settings::default().check(&|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        assert_eq!(asked.into_inner(), VARIABLES.iter().map(|name| (*name).to_owned()).collect());
    }

    fn check(variables: &[(&str, &str)]) -> Result<Checked, HubError> {
        let variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Settings::default().check(&|name| variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn folders_come_from_the_variables_of_huggingface_hub() {
        let cache = |variables: &[(&str, &str)]| check(variables).unwrap().cache.display().to_string();
        assert_eq!(cache(&[("HOME", "/h")]), "/h/.cache/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")]), "/hf/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/hf")]), "/h/hf/hub");
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/cache")]), "/cache");
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")]), "/old");
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "")]), "/hf/hub");
    }

    #[test]
    fn offline_is_what_huggingface_hub_takes_for_true() {
        for (value, offline) in
            [("1", true), ("on", true), ("Yes", true), ("TRUE", true), ("0", false), ("no", false), ("", false)]
        {
            assert_eq!(check(&[("HF_HUB_OFFLINE", value)]).unwrap().offline, offline, "{value:?}");
        }
    }

    #[test]
    fn tokens_come_from_the_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        fs_err::write(folder.path().join("token"), "hf_login\n").unwrap();
        fs_err::write(folder.path().join("other"), "hf_other\n").unwrap();
        let other = format!("{home}/other");
        let token = |variables: &[(&str, &str)]| check(variables).unwrap().token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_login"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN_PATH", &other)]).as_deref(), Some("hf_other"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", " hf_set ")]).as_deref(), Some("hf_set"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_HOME", "/nowhere")]), None);
    }

    #[test]
    fn settings_that_cannot_be_used_are_named_without_secrets() {
        let cases: [&[(&str, &str)]; 8] = [
            &[("HF_ENDPOINT", "hub")],
            &[("HF_ENDPOINT", "ftp://example.org")],
            &[("HF_ENDPOINT", "https://user:secret@example.org")],
            &[("HF_TOKEN", "hf_secret secret")],
            &[("HF_TOKEN", "hf_sécret")],
            &[("HF_HUB_DOWNLOAD_TIMEOUT", "0")],
            &[("HF_HUB_DOWNLOAD_TIMEOUT", "soon")],
            &[("ISORATE_HUB_RETRIES", "-1")],
        ];
        let messages: Vec<String> = cases.iter().map(|case| check(case).err().unwrap().to_string()).collect();
        assert!(messages.iter().all(|message| !message.contains("cret")), "{messages:?}");
        insta::assert_snapshot!(messages.join("\n\n"));
    }

    #[test]
    fn an_endpoint_has_no_slash_at_its_end() {
        assert_eq!(check(&[("HF_ENDPOINT", "http://127.0.0.1:8080/hub/")]).unwrap().endpoint, "http://127.0.0.1:8080/hub");
        assert_eq!(check(&[]).unwrap().endpoint, "https://huggingface.co");
    }

    #[test]
    fn patience_comes_from_the_environment() {
        let patience = check(&[("HF_HUB_DOWNLOAD_TIMEOUT", "2"), ("ISORATE_HUB_RETRIES", "0")]).unwrap().patience;
        assert_eq!((patience.silence, patience.connect, patience.retries), (Duration::from_secs(2), Duration::from_secs(2), 0));
        assert_eq!(check(&[]).unwrap().patience, Patience::default());
    }
}

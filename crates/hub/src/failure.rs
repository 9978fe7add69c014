//! What a failed request means: whether it passes, and what the user can do.

use std::io;
use std::time::Duration;

use hf_hub::HFError;

use crate::{HubError, Source};

/// The longest text of the hub that a message shows.
const LONGEST: usize = 200;

/// A failed request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// May be over at the next attempt: the hub is busy or broken, or the connection failed.
    Passing {
        reason: String,
        /// What the hub asks for.
        wait: Option<Duration>,
        /// The hub counts requests and refuses more of them.
        limited: bool,
    },
    /// 401 or 403.
    Access { status: u16, code: Option<String>, said: String },
    /// 404.
    NotFound { said: String },
    /// What arrives cannot be written.
    Io(io::Error),
    /// Anything else: it will fail again.
    Lasting { reason: String },
}

/// Reads an error of hf-hub.
pub(crate) fn failure(error: HFError) -> Failure {
    match error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context } => {
            by_status(context.status.as_u16(), context.error_code.clone(), said(context.server_message.as_deref()), None)
        }
        HFError::RateLimited { retry_after, context } => {
            by_status(429, context.error_code.clone(), said(context.server_message.as_deref()), retry_after)
        }
        HFError::RepoNotFound { context, .. }
        | HFError::RevisionNotFound { context, .. }
        | HFError::EntryNotFound { context, .. } => {
            Failure::NotFound { said: said(context.as_ref().and_then(|context| context.server_message.as_deref())) }
        }
        HFError::Request { source, .. } => {
            let (stalled, unreached) = (source.is_timeout(), source.is_connect());
            // Neither a request that cannot be made nor a circle of redirects gets better.
            let lasting = source.is_builder() || source.is_redirect();
            let source = source.without_url();
            let cause = cause(&source);
            if is_no_json(&source) {
                return Failure::Lasting { reason: format!("the answer is not what a hub gives: {cause}") };
            }
            if lasting {
                return Failure::Lasting { reason: cause };
            }
            let reason = match (stalled, unreached) {
                (true, _) => format!("no answer in time ({cause})"),
                (_, true) => format!("cannot be reached ({cause})"),
                _ => format!("the answer broke off ({cause})"),
            };
            Failure::Passing { reason, wait: None, limited: false }
        }
        HFError::Xet { source, operation } => {
            Failure::Passing { reason: format!("xet {operation} failed ({})", cause(&*source)), wait: None, limited: false }
        }
        HFError::Io(error) => Failure::Io(error),
        HFError::MalformedResponse { what, .. } => Failure::Lasting { reason: format!("the answer is incomplete: {what}") },
        HFError::Json(error) => Failure::Lasting { reason: format!("the answer is not what a hub gives: {error}") },
        other => Failure::Lasting { reason: other.to_string() },
    }
}

fn by_status(status: u16, code: Option<String>, said: String, wait: Option<Duration>) -> Failure {
    match status {
        401 | 403 => Failure::Access { status, code, said },
        404 => Failure::NotFound { said },
        408 | 429 | 500 | 502 | 503 | 504 => {
            Failure::Passing { reason: format!("the hub answers {status}{said}"), wait, limited: status == 429 }
        }
        _ => Failure::Lasting { reason: format!("the hub answers {status}{said}") },
    }
}

/// What the hub says, in one line, after a colon.
fn said(message: Option<&str>) -> String {
    let words: Vec<&str> = message.unwrap_or_default().split_whitespace().collect();
    let text: String = words.join(" ").chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// The innermost cause: the ones around it say that an error happened.
fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// Whether an answer arrived and was something else than JSON.
fn is_no_json(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<serde_json::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

impl Failure {
    /// Takes the token out of what others say, in case they repeat it.
    pub(crate) fn hide(&mut self, token: Option<&str>) {
        let Some(token) = token else { return };
        let text = match self {
            Self::Passing { reason, .. } | Self::Lasting { reason } => reason,
            Self::Access { said, .. } | Self::NotFound { said } => said,
            Self::Io(_) => return,
        };
        if text.contains(token) {
            *text = text.replace(token, "(token)");
        }
    }

    /// The error that a user sees.
    pub(crate) fn into_error(self, source: &Source, url: &str, attempts: u32, has_token: bool) -> HubError {
        let (name, url) = (source.name.clone(), url.to_owned());
        let attempts = if attempts == 1 { "at the first attempt".to_owned() } else { format!("after {attempts} attempts") };
        match self {
            Self::Io(error) => HubError::Io(error),
            Self::Access { status, code, said } => {
                let how = access(source, code.as_deref(), has_token);
                HubError::Access { name, url, status, said, how }
            }
            Self::NotFound { said } => {
                let mut how = format!("look at {}", source.page());
                if !has_token {
                    how += "; a private repository looks like this as well: set HF_TOKEN";
                }
                HubError::NotFound { name, url, said, how }
            }
            Self::Passing { reason, wait, limited } => {
                let reason = match wait {
                    Some(wait) => format!("{reason}, and asks to wait {} s", wait.as_secs()),
                    None => reason,
                };
                let how = if limited {
                    "the hub limits requests: wait, or set HF_TOKEN for a higher limit; what has arrived stays"
                } else {
                    "try again later: what has arrived stays; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT"
                };
                HubError::Network { name, url, reason, attempts, how }
            }
            Self::Lasting { reason } => HubError::Network {
                name,
                url,
                reason,
                attempts,
                how: "something may answer in place of the hub, such as a proxy; look at HF_ENDPOINT",
            },
        }
    }
}

/// How to get access.
fn access(source: &Source, code: Option<&str>, has_token: bool) -> String {
    let page = source.page();
    let own = source.access.as_ref().map(|how| format!("{how}; ")).unwrap_or_default();
    let token = "make a token at https://huggingface.co/settings/tokens and set HF_TOKEN";
    match (code, has_token) {
        (Some("RepoNotFound"), false) => {
            format!("{own}there is no such repository, or it is private: look at {page}, then {token}")
        }
        (None, false) => format!("{own}ask for access at {page}, then {token}; if it is open to all, a proxy may refuse"),
        (_, false) => format!("{own}ask for access at {page}, then {token}"),
        (_, true) => format!("{own}the token that is set gives no access: ask for it at {page}, or set HF_TOKEN to another"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hidden_wherever_it_comes_back() {
        let mut failure = Failure::Lasting { reason: "the hub answers 400: bad token hf_secret".into() };
        failure.hide(Some("hf_secret"));
        assert!(
            matches!(&failure, Failure::Lasting { reason } if reason == "the hub answers 400: bad token (token)"),
            "{failure:?}"
        );
    }

    #[test]
    fn statuses_pass_or_last() {
        let passes = |status| matches!(by_status(status, None, String::new(), None), Failure::Passing { .. });
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(passes(status), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 410, 416, 501] {
            assert!(!passes(status), "{status}");
        }
    }

    #[test]
    fn what_the_hub_says_is_one_short_line() {
        assert_eq!(said(None), "");
        assert_eq!(said(Some(" Access to\nthis is\t restricted ")), ": Access to this is restricted");
        assert_eq!(said(Some(&"word ".repeat(1000))).len(), LONGEST + 2);
    }
}

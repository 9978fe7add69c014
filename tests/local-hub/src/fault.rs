//! What can go wrong between a client and the hub, to be switched on for some requests.

use crate::http::Response;

/// The part of a download that a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Every request.
    Any,
    /// Questions to `/api/…`: what a repository is, its tree, its names.
    Listing,
    /// `HEAD` of a file.
    Head,
    /// `GET` of a file at the hub itself, which answers with the address of the bytes.
    Get,
    /// `GET` of the bytes, for a large file at the storage to which the hub sends the client.
    Bytes,
}

/// How an answer is sent.
pub(crate) struct Delivery {
    pub response: Response,
    /// After how many bytes of the body something happens; `None`: all is sent.
    pub interrupted: Option<usize>,
    /// Whether the head is sent before it happens.
    pub says_anything: bool,
    /// Whether the connection then stays open without a word; otherwise it is closed.
    pub stalls: bool,
}

impl Delivery {
    pub fn whole(response: Response) -> Self {
        Self { response, interrupted: None, says_anything: true, stalls: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Status { code: u16, retry_after: Option<u64> },
    Short,
    Altered,
    Page,
    Stall,
    Reset,
    Loop,
    Portal,
    OtherCommit,
}

/// Something that goes wrong, for which requests, and how often.
///
/// ```
/// use isorate_local_hub::{Fault, Stage};
/// // The first two times that the bytes of a shard are asked for, the connection breaks after 1,000 bytes.
/// let fault = Fault::reset().after(1000).path("train-00001").times(2);
/// // The hub itself is out of order.
/// let fault = Fault::status(500).on(Stage::Listing);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(crate) effect: Effect,
    stage: Stage,
    path: Option<String>,
    /// How many more requests are struck; `None`: all.
    left: Option<usize>,
    /// How much of the body is sent before it happens; `None`: nothing, not even a head (`Short`: half of the body).
    after: Option<usize>,
}

impl Fault {
    fn new(effect: Effect, stage: Stage) -> Self {
        Self { effect, stage, path: None, left: None, after: None }
    }

    /// This status with an HTML page as body, at every stage unless [`on`](Self::on) says otherwise.
    pub fn status(code: u16) -> Self {
        Self::new(Effect::Status { code, retry_after: None }, Stage::Any)
    }

    /// 429 with `Retry-After: seconds`.
    pub fn too_many_requests(seconds: u64) -> Self {
        Self::new(Effect::Status { code: 429, retry_after: Some(seconds) }, Stage::Any)
    }

    /// The announced length, half of the bytes (or as many as [`after`](Self::after) says), and an orderly close.
    pub fn short_body() -> Self {
        Self::new(Effect::Short, Stage::Bytes)
    }

    /// One bit of the body flipped; length and headers are right.
    pub fn altered_body() -> Self {
        Self::new(Effect::Altered, Stage::Bytes)
    }

    /// An HTML page with status 200 instead of the bytes.
    pub fn page() -> Self {
        Self::new(Effect::Page, Stage::Bytes)
    }

    /// Nothing more is sent, and the connection stays open, until [`release`](crate::LocalHub::release).
    pub fn stall() -> Self {
        Self::new(Effect::Stall, Stage::Bytes)
    }

    /// The connection is reset. Systems other than Linux may close it instead.
    pub fn reset() -> Self {
        Self::new(Effect::Reset, Stage::Bytes)
    }

    /// A redirect to the same address, over and over.
    pub fn redirect_loop() -> Self {
        Self::new(Effect::Loop, Stage::Get)
    }

    /// A redirect to a page where one is to sign in, with status 200: what networks of hotels do.
    pub fn portal() -> Self {
        Self::new(Effect::Portal, Stage::Get)
    }

    /// The answer names a commit (`X-Repo-Commit`) that is not the one asked for.
    pub fn other_commit() -> Self {
        Self::new(Effect::OtherCommit, Stage::Any)
    }

    /// Only at this stage.
    #[must_use]
    pub fn on(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Only for files whose path contains `part`.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only for the first `n` requests that match.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        self.left = Some(n);
        self
    }

    /// Only after this many bytes of the body have been sent ([`stall`](Self::stall), [`reset`](Self::reset),
    /// [`short_body`](Self::short_body)).
    #[must_use]
    pub fn after(mut self, bytes: usize) -> Self {
        self.after = Some(bytes);
        self
    }

    /// Whether the fault strikes a request; counts it if so.
    pub(crate) fn strikes(&mut self, stage: Stage, path: Option<&str>) -> bool {
        let hit = (self.stage == Stage::Any || self.stage == stage)
            && self.path.as_ref().is_none_or(|part| path.is_some_and(|path| path.contains(part)))
            && self.left != Some(0);
        if hit && let Some(left) = &mut self.left {
            *left -= 1;
        }
        hit
    }

    /// Turns the right answer to a request for `target` into what is sent.
    pub(crate) fn strike(&self, mut right: Response, target: &str, sign_in: &str) -> Delivery {
        match &self.effect {
            Effect::Status { code, retry_after } => {
                let page = Response::page(*code);
                Delivery::whole(match retry_after {
                    Some(seconds) => page.with("Retry-After", seconds.to_string()),
                    None => page,
                })
            }
            Effect::Page => Delivery::whole(Response::page(200)),
            Effect::Loop => Delivery::whole(Response::redirect(302, target)),
            Effect::Portal => Delivery::whole(Response::redirect(302, sign_in)),
            Effect::Altered => {
                let middle = right.body.len() / 2;
                if let Some(byte) = right.body.get_mut(middle) {
                    *byte ^= 1;
                }
                Delivery::whole(right)
            }
            Effect::OtherCommit => {
                for (_, value) in right.headers.iter_mut().filter(|(name, _)| *name == "X-Repo-Commit") {
                    *value = value.chars().rev().collect();
                }
                Delivery::whole(right)
            }
            Effect::Short => {
                let sent = self.after.unwrap_or(right.body.len() / 2);
                Delivery { response: right, interrupted: Some(sent), says_anything: true, stalls: false }
            }
            Effect::Stall | Effect::Reset => Delivery {
                response: right,
                interrupted: Some(self.after.unwrap_or(0)),
                says_anything: self.after.is_some(),
                stalls: self.effect == Effect::Stall,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_stage_its_path_and_so_many_times() {
        let mut fault = Fault::status(500).on(Stage::Head).path("train").times(1);
        assert!(!fault.strikes(Stage::Get, Some("train-0")));
        assert!(!fault.strikes(Stage::Head, Some("test-0")));
        assert!(!fault.strikes(Stage::Head, None));
        assert!(fault.strikes(Stage::Head, Some("train-0")));
        assert!(!fault.strikes(Stage::Head, Some("train-0")));
        let mut always = Fault::status(403);
        assert!((0..3).all(|_| always.strikes(Stage::Listing, None)));
    }
}

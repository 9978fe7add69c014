//! Which answer an address gets, as the hub gives it when nothing is wrong.

use serde_json::{Value, json};

use crate::fault::Stage;
use crate::http::{Head, Response, encode};
use crate::listing;
use crate::repository::{Commit, File, Kind, Repository};

/// What the routes know of the hub.
pub(crate) struct Site<'a> {
    pub repositories: &'a [Repository],
    pub url: &'a str,
    pub storage_url: &'a str,
    /// Tokens that are somebody's, whatever they may read.
    pub tokens: &'a [String],
    pub page_size: usize,
}

/// What a request asks for.
enum Question {
    Info,
    Tree(Vec<String>),
    Paths,
    Refs,
    Resolve(String),
    Cached(String),
    Other,
}

/// A page where one is to sign in; see [`Fault::portal`](crate::Fault::portal).
pub(crate) const SIGN_IN: &str = "/sign-in";

/// Which part of a download a request to the hub is, and of which file.
pub(crate) fn hub_stage(head: &Head) -> (Stage, Option<String>) {
    match parse(&head.segments()).map(|address| address.question) {
        Some(Question::Resolve(path) | Question::Cached(path)) if head.method == "HEAD" => (Stage::Head, Some(path)),
        Some(Question::Resolve(path)) => (Stage::Get, Some(path)),
        Some(Question::Cached(path)) => (Stage::Bytes, Some(path)),
        _ => (Stage::Listing, None),
    }
}

/// The same for a request to the storage.
pub(crate) fn storage_stage(head: &Head) -> (Stage, Option<String>) {
    let stage = if head.method == "HEAD" { Stage::Head } else { Stage::Bytes };
    (stage, parse_storage(&head.segments()).map(|(_, _, path)| path))
}

/// Repository, commit and path in an address of the storage.
fn parse_storage(segments: &[String]) -> Option<((Kind, String), String, String)> {
    let (kind, rest) = match segments {
        [first, rest @ ..] if first == "datasets" => (Kind::Dataset, rest),
        rest => (Kind::Model, rest),
    };
    match rest {
        [owner, name, commit, path @ ..] => Some(((kind, format!("{owner}/{name}")), commit.clone(), path.join("/"))),
        _ => None,
    }
}

struct Address {
    kind: Kind,
    id: String,
    revision: String,
    question: Question,
}

fn kind(plural: &str) -> Option<Kind> {
    [Kind::Model, Kind::Dataset].into_iter().find(|kind| kind.plural() == plural)
}

fn parse(segments: &[String]) -> Option<Address> {
    let texts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let address = |kind, owner: &str, name: &str, revision: &str, question| {
        Some(Address { kind, id: format!("{owner}/{name}"), revision: revision.to_owned(), question })
    };
    match texts[..] {
        ["api", "resolve-cache", plural, owner, name, commit, ref path @ ..] => {
            address(kind(plural)?, owner, name, commit, Question::Cached(path.join("/")))
        }
        ["api", plural, owner, name, ref rest @ ..] => {
            let (revision, question) = match *rest {
                [] => ("main", Question::Info),
                ["revision", revision] => (revision, Question::Info),
                ["tree", revision, ref folder @ ..] => {
                    (revision, Question::Tree(folder.iter().map(|&segment| segment.to_owned()).collect()))
                }
                ["paths-info", revision] => (revision, Question::Paths),
                ["refs"] => ("main", Question::Refs),
                _ => ("main", Question::Other),
            };
            address(kind(plural)?, owner, name, revision, question)
        }
        ["datasets", owner, name, "resolve", revision, ref path @ ..] => {
            address(Kind::Dataset, owner, name, revision, Question::Resolve(path.join("/")))
        }
        [owner, name, "resolve", revision, ref path @ ..] => {
            address(Kind::Model, owner, name, revision, Question::Resolve(path.join("/")))
        }
        _ => None,
    }
}

impl Site<'_> {
    /// Answer of the hub.
    pub fn hub(&self, head: &Head, body: &[u8]) -> Response {
        if head.target == SIGN_IN {
            return Response::page(200);
        }
        match parse(&head.segments()) {
            Some(address) => self.answer(head, body, &address).unwrap_or_else(|refusal| refusal),
            None => Response::error(404, None, "Sorry, we can't find the page you are looking for."),
        }
    }

    fn answer(&self, head: &Head, body: &[u8], address: &Address) -> Result<Response, Response> {
        let token = head.header("authorization").map(|value| value.trim_start_matches("Bearer "));
        let known = |token: &str| {
            let readers = self.repositories.iter().filter_map(|repository| repository.readers.as_ref()).flatten();
            self.tokens.iter().chain(readers).any(|known| known == token)
        };
        if token.is_some_and(|token| !known(token)) {
            return Err(Response::error(401, None, "Invalid credentials in Authorization header"));
        }
        let repository = self
            .repositories
            .iter()
            .find(|repository| repository.kind == address.kind && repository.id == address.id)
            // The hub does not tell strangers which names exist.
            .ok_or_else(|| {
                Response::error(if token.is_some() { 404 } else { 401 }, Some("RepoNotFound"), "Repository not found")
            })?;
        let commit = repository
            .revision(&address.revision)
            .ok_or_else(|| Response::error(404, Some("RevisionNotFound"), &format!("Invalid rev id: {}", address.revision)))?;
        match &address.question {
            Question::Info => Ok(Response::json(&info(repository, commit))),
            Question::Refs => Ok(Response::json(&refs(repository))),
            Question::Tree(folder) => self.tree(head, repository, commit, &address.revision, folder),
            Question::Paths => {
                let paths: Value = serde_json::from_slice(body).unwrap_or_default();
                let paths: Vec<&str> = paths["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                Ok(Response::json(&listing::paths_info(repository, commit, &paths)))
            }
            Question::Resolve(path) => {
                let file = readable(repository, commit, path, token)?;
                Ok(self.resolve(repository, commit, path, file))
            }
            Question::Cached(path) => {
                let file = readable(repository, commit, path, token)?;
                let answer =
                    Response::new(200, "text/plain; charset=utf-8", file.bytes.clone()).with("X-Repo-Commit", commit.id());
                Ok(conditional(head, answer, &file.git_oid()))
            }
            Question::Other => Err(Response::error(501, None, "This local hub does not serve chunked storage")),
        }
    }

    fn tree(
        &self,
        head: &Head,
        repository: &Repository,
        commit: &Commit,
        revision: &str,
        folder: &[String],
    ) -> Result<Response, Response> {
        let folder = folder.join("/");
        let flag = |name| head.query(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let entries = listing::tree(repository, commit, &folder, flag("recursive"), flag("expand"));
        if entries.is_empty() && !folder.is_empty() {
            return Err(Response::error(404, Some("EntryNotFound"), &format!("{folder} does not exist on \"{revision}\"")));
        }
        let first: usize = head.query("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0).min(entries.len());
        let limit = head.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX).clamp(1, self.page_size);
        let end = usize::min(first + limit, entries.len());
        let answer = Response::json(&Value::from(&entries[first..end]));
        if end == entries.len() {
            return Ok(answer);
        }
        let path = head.target.split('?').next().unwrap_or_default();
        let next =
            format!("{}{path}?recursive={}&expand={}&limit={limit}&cursor={end}", self.url, flag("recursive"), flag("expand"));
        Ok(answer.with("Link", format!("<{next}>; rel=\"next\"")))
    }

    /// A large file is at the storage, a small one behind a relative redirect; the head says what it is.
    fn resolve(&self, repository: &Repository, commit: &Commit, path: &str, file: &File) -> Response {
        let (id, path, commit) = (&repository.id, encode(path), commit.id());
        let response = if file.lfs {
            let prefix = repository.kind.prefix();
            let location = format!("{}/{prefix}{id}/{commit}/{path}?X-Amz-Signature={}", self.storage_url, &file.sha256[..16]);
            let response = Response::redirect(302, &location)
                .with("X-Linked-Size", file.bytes.len().to_string())
                .with("X-Linked-Etag", format!("\"{}\"", file.sha256));
            if repository.chunked { response.with("X-Xet-Hash", file.storage_hash()) } else { response }
        } else {
            Response::redirect(307, &format!("/api/resolve-cache/{}/{id}/{commit}/{path}", repository.kind.plural()))
        };
        response.with("X-Repo-Commit", commit).with("Accept-Ranges", "bytes")
    }

    /// Answer of the storage, to which the hub sends clients for large files. It takes the signature in the address, and
    /// like the real one refuses a request that also carries a token; its `ETag` is not the SHA-256.
    pub fn storage(&self, head: &Head) -> Response {
        let file = parse_storage(&head.segments()).and_then(|((kind, id), commit, path)| {
            let repository = self.repositories.iter().find(|repository| repository.kind == kind && repository.id == id)?;
            repository.revision(&commit)?.files.get(&path).cloned()
        });
        let error = |status, code: &str| Response::new(status, "application/xml", format!("<Error><Code>{code}</Code></Error>"));
        match file {
            _ if head.header("authorization").is_some() => error(400, "InvalidArgument"),
            Some(file) if head.query("X-Amz-Signature").as_deref() == Some(&file.sha256[..16]) => {
                let tag = file.storage_hash();
                conditional(head, Response::new(200, "application/octet-stream", file.bytes), &tag)
            }
            _ => error(403, "AccessDenied"),
        }
    }
}

/// The file, unless it does not exist or may not be read.
fn readable<'a>(repository: &Repository, commit: &'a Commit, path: &str, token: Option<&str>) -> Result<&'a File, Response> {
    let page = format!("{}{}", repository.kind.prefix(), repository.id);
    let restricted =
        |status, what: &str| Err(Response::error(status, Some("GatedRepo"), &format!("Access to {page} is restricted. {what}")));
    match (&repository.readers, token) {
        (Some(_), None) => restricted(401, "You must have access to it and be authenticated to access it. Please log in."),
        (Some(readers), Some(token)) if !readers.iter().any(|reader| reader == token) => {
            restricted(403, "You are not in the authorized list. Ask for access on its page.")
        }
        _ => commit
            .files
            .get(path)
            .ok_or_else(|| Response::error(404, Some("EntryNotFound"), "Entry not found").with("X-Repo-Commit", commit.id())),
    }
}

/// `If-None-Match`, `If-Range` and `Range` against the entity tag.
fn conditional(head: &Head, response: Response, tag: &str) -> Response {
    let tag = format!("\"{tag}\"");
    if head.header("if-none-match") == Some(&tag) {
        return Response { body: Vec::new(), status: 304, ..response }.with("ETag", tag);
    }
    let current = head.header("if-range").is_none_or(|known| known == tag);
    let response = response.with("ETag", tag).with("Accept-Ranges", "bytes");
    match head.header("range") {
        Some(range) if current => response.range(range),
        _ => response,
    }
}

fn info(repository: &Repository, commit: &Commit) -> Value {
    let siblings: Vec<Value> = commit.paths().map(|path| json!({ "rfilename": path })).collect();
    let gated = if repository.readers.is_some() { json!("auto") } else { json!(false) };
    json!({
        "_id": "0123456789abcdef01234567", "id": repository.id, "author": repository.id.split('/').next(), "sha": commit.id(),
        "private": false, "gated": gated, "disabled": false, "downloads": 0, "likes": 0, "tags": [],
        "lastModified": listing::DATE, "createdAt": listing::DATE, "siblings": siblings,
    })
}

fn refs(repository: &Repository) -> Value {
    let target = repository.head().map(Commit::id).unwrap_or_default();
    let tags: Vec<Value> = repository
        .tags
        .iter()
        .map(|(name, commit)| json!({ "name": name, "ref": format!("refs/tags/{name}"), "targetCommit": commit }))
        .collect();
    json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": target }], "tags": tags, "converts": [] })
}

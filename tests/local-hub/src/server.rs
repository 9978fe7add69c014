//! The two addresses of the hub, their connections, and what the tests may ask and change.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::fault::{Delivery, Effect, Fault, Stage};
use crate::http::{Head, Response};
use crate::repository::{Commit, Repository};
use crate::routes::{self, SIGN_IN, Site};

/// Bytes of a body sent at once.
const PIECE: usize = 16 * 1024;
/// A test that waits longer than this for a request has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request, as it came in and was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD` or `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The part of a download that it is.
    pub stage: Stage,
    /// The path in the repository, if it is about a file.
    pub file: Option<String>,
    /// Whether it came to the storage and not to the hub itself.
    pub storage: bool,
    /// Whether it carried a token.
    pub authorized: bool,
    /// Its `Range` header.
    pub range: Option<String>,
    /// Status of the answer; `None` while there is none.
    pub status: Option<u16>,
    /// Bytes of the body handed to the system so far.
    pub sent: usize,
}

struct State {
    repositories: Vec<Repository>,
    tokens: Vec<String>,
    page_size: usize,
    faults: Vec<Fault>,
    log: Vec<Request>,
    /// Counts calls of `release`.
    releases: usize,
    stopping: bool,
    open: Vec<TcpStream>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    hub: SocketAddr,
    storage: SocketAddr,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hub on 127.0.0.1 that lives as long as the value.
pub struct LocalHub {
    shared: Arc<Shared>,
    acceptors: Vec<JoinHandle<()>>,
}

impl LocalHub {
    /// Starts a hub with these repositories on two free ports, one of the hub and one of its storage.
    ///
    /// # Panics
    /// If the system gives no port.
    pub fn start(repositories: Vec<Repository>) -> Self {
        let bind = || TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
        let (hub, storage) = (bind(), bind());
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
        let state = State {
            repositories,
            tokens: Vec::new(),
            page_size: 1000,
            faults: Vec::new(),
            log: Vec::new(),
            releases: 0,
            stopping: false,
            open: Vec::new(),
            workers: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            hub: address(&hub),
            storage: address(&storage),
        });
        let acceptors = [(hub, false), (storage, true)].map(|(listener, is_storage)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&shared, &listener, is_storage))
        });
        Self { shared, acceptors: acceptors.into() }
    }

    /// What to set `HF_ENDPOINT` to.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.hub)
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().log.clone()
    }

    /// Paths of the files whose bytes were asked for, in the order of the requests: one for every download.
    pub fn downloads(&self) -> Vec<String> {
        let log = &self.shared.lock().log;
        log.iter().filter(|request| request.stage == Stage::Bytes).filter_map(|request| request.file.clone()).collect()
    }

    /// Empties the log of requests.
    pub fn forget_requests(&self) {
        self.shared.lock().log.clear();
    }

    /// Waits until the log of requests satisfies a condition.
    ///
    /// # Panics
    /// If it does not within half a minute.
    pub fn wait_for(&self, condition: impl Fn(&[Request]) -> bool) {
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), PATIENCE, |state| !condition(&state.log))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "waited in vain; the requests so far: {:#?}", state.log);
    }

    /// Switches a fault on. Where several strike one request, the first that was switched on does.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Switches all faults off. Connections that stall already go on stalling.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Lets the connections that stall now go on.
    pub fn release(&self) {
        self.shared.lock().releases += 1;
        self.shared.changed.notify_all();
    }

    /// Adds a commit to a repository and moves its `main` there.
    ///
    /// # Panics
    /// If there is no repository with this id.
    pub fn push(&self, id: &str, commit: Commit) {
        let mut state = self.shared.lock();
        let repository = state.repositories.iter_mut().find(|repository| repository.id == id);
        repository.unwrap_or_else(|| panic!("the local hub has no repository {id}")).commits.push(commit);
    }

    /// Accepts a token as somebody's; what it may read, the repositories say.
    pub fn accept_token(&self, token: &str) {
        self.shared.lock().tokens.push(token.to_owned());
    }

    /// Lists at most so many entries of a tree in one answer (1,000 unless set).
    pub fn page_size(&self, entries: usize) {
        self.shared.lock().page_size = entries.max(1);
    }
}

impl Drop for LocalHub {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        for address in [self.shared.hub, self.shared.storage] {
            // Wakes the thread that waits for connections; if it cannot, the thread has ended.
            let _ = TcpStream::connect(address);
        }
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
        let (open, workers) = {
            let mut state = self.shared.lock();
            (std::mem::take(&mut state.open), std::mem::take(&mut state.workers))
        };
        for stream in open {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for worker in workers {
            let _ = worker.join();
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, storage: bool) {
    for stream in listener.incoming() {
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else { continue };
        state.open.push(copy);
        let shared = Arc::clone(shared);
        state.workers.push(thread::spawn(move || {
            // Kept so that the end of the hub can end the connection; while it is kept, the socket stays open.
            let peer = stream.peer_addr();
            let connection = Connection { shared: &shared, stream, storage };
            connection.serve_and_close(peer.ok());
        }));
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    stream: TcpStream,
    storage: bool,
}

impl Connection<'_> {
    /// Serves until one side ends it. The socket is closed with its last handle: what is unread then makes it a reset.
    fn serve_and_close(mut self, peer: Option<SocketAddr>) {
        // A client that goes away, or is sent away, ends its connection with an error: nothing to report.
        let _ = self.serve();
        self.shared.lock().open.retain(|other| other.peer_addr().ok() != peer);
    }

    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        while let Some(head) = Head::read(&mut self.stream)? {
            let (stage, file) = if self.storage { routes::storage_stage(&head) } else { routes::hub_stage(&head) };
            let (index, fault, releases) = self.record(&head, stage, file);
            let reset = fault.as_ref().is_some_and(|fault| fault.effect == Effect::Reset);
            // Whatever stays unread when the socket is closed resets the connection.
            let body = if reset { Vec::new() } else { head.read_rest(&mut self.stream)? };
            let keep = self.answer(&head, &body, (index, releases), fault.as_ref())?;
            if !keep || head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                break;
            }
        }
        Ok(())
    }

    /// Enters a request into the log and finds the fault that strikes it; how often `release` was called so far.
    fn record(&self, head: &Head, stage: Stage, file: Option<String>) -> (usize, Option<Fault>, usize) {
        let mut state = self.shared.lock();
        // The page to sign in is no part of the hub: a fault that sends a client there ends there.
        let mut faults = state.faults.iter_mut().filter(|_| head.target != SIGN_IN);
        let fault = faults.find_map(|fault| fault.strikes(stage, file.as_deref()).then(|| fault.clone()));
        state.log.push(Request {
            method: head.method.clone(),
            target: head.target.clone(),
            stage,
            file,
            storage: self.storage,
            authorized: head.header("authorization").is_some(),
            range: head.header("range").map(str::to_owned),
            status: None,
            sent: 0,
        });
        self.shared.changed.notify_all();
        (state.log.len() - 1, fault, state.releases)
    }

    fn right_answer(&self, head: &Head, body: &[u8]) -> Response {
        let state = self.shared.lock();
        let site = Site {
            repositories: &state.repositories,
            url: &format!("http://{}", self.shared.hub),
            storage_url: &format!("http://{}", self.shared.storage),
            tokens: &state.tokens,
            page_size: state.page_size,
        };
        if self.storage { site.storage(head) } else { site.hub(head, body) }
    }

    /// Sends the answer as the fault lets it be; `false` when the connection is to be closed.
    fn answer(&mut self, head: &Head, body: &[u8], (index, releases): (usize, usize), fault: Option<&Fault>) -> io::Result<bool> {
        let right = self.right_answer(head, body);
        let delivery = match fault {
            None => Delivery::whole(right),
            Some(fault) => fault.strike(right, &head.target, &format!("http://{}{SIGN_IN}", self.shared.hub)),
        };
        let body = match &delivery.response.body[..] {
            _ if head.method == "HEAD" => &[],
            body => body,
        };
        if let Some(sent) = delivery.interrupted {
            let sent = usize::min(sent, body.len());
            if delivery.says_anything {
                self.send_head(&delivery.response, index)?;
                self.send(&body[..sent], index)?;
            }
            if !(delivery.stalls && self.wait_for_release(releases)) {
                return Ok(false);
            }
            if !delivery.says_anything {
                self.send_head(&delivery.response, index)?;
            }
            self.send(&body[sent..], index)?;
        } else {
            self.send_head(&delivery.response, index)?;
            self.send(body, index)?;
        }
        Ok(true)
    }

    fn send_head(&mut self, response: &Response, index: usize) -> io::Result<()> {
        self.note(index, |request| request.status = Some(response.status));
        self.stream.write_all(response.head().as_bytes())
    }

    fn send(&mut self, bytes: &[u8], index: usize) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            self.stream.write_all(piece)?;
            self.note(index, |request| request.sent += piece.len());
        }
        Ok(())
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = self.shared.lock().log.get_mut(index) {
            change(request);
        }
        self.shared.changed.notify_all();
    }

    /// Sleeps until `release` is called (`true`) or the hub stops; `releases` counts the calls before the request, so that
    /// none in between is missed.
    fn wait_for_release(&self, releases: usize) -> bool {
        let state = self.shared.lock();
        let waiting = |state: &mut State| state.releases == releases && !state.stopping;
        let state = self.shared.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        !state.stopping
    }
}

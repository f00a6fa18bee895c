//! The resources that the sessions of one relay thread share; each step gets them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::buffer::{Pool, Scratch};
use super::poller::Poller;
use super::{ServiceContext, Upstream, lookup};
use crate::config::Over;
use crate::helper::{
    BindClient, BindRequest, FetchClient, GateClient, Kind, KnownNames, LaunchClient,
    LaunchRequest, NameClient, NotBound, Refused, TokenClient, TokenQuestion,
};
use crate::ipc::durations::Durations;
use crate::ipc::handoff::Connection;
use crate::ipc::scoreboard::{Scoreboard, ServiceRow};
use crate::ipc::shares::{Key, Moment};

#[derive(Debug)]
pub(crate) struct Resources {
    /// The services, by index.
    pub services: Arc<[ServiceContext]>,
    /// Where is counted.
    pub scoreboard: Scoreboard,
    /// Which worker this is.
    pub worker: usize,
    /// Where sockets are registered.
    pub poller: Arc<Poller>,
    /// The connection to the resolver; `None` while there is no resolver.
    pub names: Option<NameClient>,
    /// Questions under way: the client's number to the session's key.
    pub questions: HashMap<u64, u64>,
    /// The connection to the process that starts programs; `None` while there is none.
    pub launcher: Option<LaunchClient>,
    /// Programs that are being started: the client's number to the session's key.
    pub launches: HashMap<u64, u64>,
    /// The connection to the process that binds to clients' addresses; `None` while there is none.
    pub binder: Option<BindClient>,
    /// Sockets that are being made: the client's number to the session's key.
    pub bindings: HashMap<u64, u64>,
    /// The connection to the fetcher; `None` while there is none.
    pub fetcher: Option<FetchClient>,
    /// Requests under way: the client's number to the session's key.
    pub requests: HashMap<u64, u64>,
    /// The connection to the gatekeeper; `None` while there is none.
    pub gatekeeper: Option<GateClient>,
    /// Clients that are being judged: the client's number to the session's key.
    pub judgements: HashMap<u64, u64>,
    /// The connection to the keeper; `None` while there is none.
    pub keeper: Option<TokenClient>,
    /// Tokens that are asked for: the client's number to the session's key.
    pub tokens: HashMap<u64, u64>,
    /// Sessions that have a request, for a resolver, a fetcher, a gatekeeper or a keeper that is to come.
    pub awaiting: Vec<u64>,
    /// Helpers that did not answer a session in time.
    pub silent: Vec<Kind>,
    /// Fresh addresses of each service's names, once they were resolved again: of `connect`, of `redirect`.
    resolved: Vec<[Option<Arc<[Upstream]>>; 2]>,
    /// The thread's own memory.
    pub scratch: Scratch,
    /// The sessions' memory.
    pub pool: Pool,
    /// Sockets to close when the event batch is done.
    pub closing: Vec<OwnedFd>,
    /// The time of this turn.
    pub now: Instant,
}

impl Resources {
    /// Gathers them for a new thread.
    pub(crate) fn new(
        services: Arc<[ServiceContext]>,
        scoreboard: Scoreboard,
        worker: usize,
        poller: Arc<Poller>,
    ) -> Self {
        Self {
            resolved: services.iter().map(|_| [None, None]).collect(),
            services,
            scoreboard,
            worker,
            poller,
            names: None,
            questions: HashMap::new(),
            launcher: None,
            launches: HashMap::new(),
            binder: None,
            bindings: HashMap::new(),
            fetcher: None,
            requests: HashMap::new(),
            gatekeeper: None,
            judgements: HashMap::new(),
            keeper: None,
            tokens: HashMap::new(),
            awaiting: Vec::new(),
            silent: Vec::new(),
            scratch: Scratch::new(),
            pool: Pool::default(),
            closing: Vec::new(),
            now: Instant::now(),
        }
    }

    /// A helper has not answered a session in time.
    pub(crate) fn is_silent(&mut self, kind: Kind) {
        if !self.silent.contains(&kind) {
            self.silent.push(kind);
        }
    }

    /// Gives back memory that only many sessions need.
    pub(crate) fn shrink(&mut self) {
        self.pool.shrink();
        self.scratch.shrink();
        self.questions.shrink_to_fit();
        self.launches.shrink_to_fit();
        self.bindings.shrink_to_fit();
        self.requests.shrink_to_fit();
        self.judgements.shrink_to_fit();
        self.tokens.shrink_to_fit();
        self.awaiting.shrink_to_fit();
        self.closing.shrink_to_fit();
    }

    /// One more connection of a service is open here.
    pub(crate) fn opened(&self, service: usize) {
        self.scoreboard
            .worker(self.worker)
            .active()
            .fetch_add(1, Relaxed);
        self.row(service).active().fetch_add(1, Relaxed);
    }

    /// One less.
    pub(crate) fn closed(&self, service: usize) {
        self.row(service).active().fetch_sub(1, Relaxed);
        self.scoreboard
            .worker(self.worker)
            .active()
            .fetch_sub(1, Relaxed);
    }

    /// What a connection is counted by for its client's address: the master has counted it.
    pub(crate) fn key(&self, connection: &Connection) -> Option<Key> {
        let service = &self.services.get(connection.service)?.config;
        service.quota.per_address?;
        if service.balancers.have(connection.peer) {
            return None;
        }
        let shares = self.scoreboard.shares()?;
        let peer = connection.peer?;
        Some(shares.key(&service.name, peer.ip()))
    }

    /// Judges a client that a balancer has named, as the master does with the others; what it is counted by from now on.
    ///
    /// # Errors
    /// It is refused, and that is counted.
    pub(crate) fn enter(&self, service: usize, client: IpAddr) -> Result<Option<Key>, Over> {
        let (config, row) = (&self.services[service].config, self.row(service));
        let Some(shares) = self.scoreboard.shares() else {
            return Ok(None);
        };
        let key = shares.key(&config.name, client);
        let mut counted = None;
        if let Some(most) = config.quota.per_address {
            // Entered first: another thread may be about the same.
            shares.enter(self.worker, key);
            if shares.open(key) > most.get().into() {
                shares.leave(self.worker, key);
                row.over_address().fetch_add(1, Relaxed);
                return Err(Over::Address(most));
            }
            counted = Some(key);
        }
        match config.quota.rate {
            Some(pace) if !shares.paces_out(key, pace, Moment::now()) => {
                self.leave(counted);
                row.over_rate().fetch_add(1, Relaxed);
                Err(Over::Rate(pace))
            }
            _ => Ok(counted),
        }
    }

    /// It does not count for that any more.
    pub(crate) fn leave(&self, key: Option<Key>) {
        if let (Some(key), Some(shares)) = (key, self.scoreboard.shares()) {
            shares.leave(self.worker, key);
        }
    }

    /// This worker's counters for a service.
    pub(crate) fn row(&self, service: usize) -> ServiceRow<'_> {
        self.scoreboard.service(self.worker, service)
    }

    /// How long things took for a service in this worker.
    pub(crate) fn durations(&self, service: usize) -> Durations<'_> {
        self.scoreboard.durations(self.worker, service)
    }

    /// The addresses of a service's names, if they were resolved again; those of `redirect`, if `redirected`.
    pub(super) fn fresh(&self, service: usize, redirected: bool) -> Option<&[Upstream]> {
        self.resolved[service][usize::from(redirected)].as_deref()
    }

    /// Keeps them for the sessions to come.
    pub(super) fn keep_fresh(&mut self, service: usize, redirected: bool, found: &[Upstream]) {
        self.resolved[service][usize::from(redirected)] = Some(found.into());
    }

    /// Takes note that names have other addresses: what services connect to by them.
    pub(crate) fn learn(&mut self, changed: &KnownNames) {
        let services = Arc::clone(&self.services);
        for (index, service) in services.iter().enumerate() {
            let config = &service.config;
            let both = [
                (&config.connect, &service.upstreams),
                (&config.redirect, &service.redirects),
            ];
            for (redirected, (entries, loaded)) in [false, true].into_iter().zip(both) {
                let before = self.fresh(index, redirected).unwrap_or(loaded);
                if !config.delay
                    && let Some(now) = lookup::renewed(entries, changed, before)
                {
                    self.keep_fresh(index, redirected, &now);
                }
            }
        }
    }

    /// Connections open in all workers.
    pub(crate) fn active(&self) -> u64 {
        (0..self.scoreboard.workers())
            .map(|worker| self.scoreboard.worker(worker).active().load(Relaxed))
            .sum()
    }

    /// Connections open in this worker.
    pub(crate) fn active_here(&self) -> u64 {
        self.scoreboard.worker(self.worker).active().load(Relaxed)
    }

    /// Asks for a name on behalf of a session of that service. Returns the question's id; `None`: there is no resolver
    /// just now, and the session is stepped when there is one.
    ///
    /// # Errors
    /// The resolver takes no more.
    pub(crate) fn ask(
        &mut self,
        key: u64,
        service: usize,
        host: &str,
        port: u16,
    ) -> io::Result<Option<u64>> {
        let names = self.names.as_mut();
        let asked = names.map(|names| names.ask(service, host, port));
        let id = self.or_wait(key, asked.transpose())?;
        self.questions.extend(id.map(|id| (id, key)));
        Ok(id)
    }

    /// Asks for the program of a session's service. Returns the question's id.
    ///
    /// # Errors
    /// It cannot be asked for just now.
    pub(crate) fn launch(&mut self, key: u64, request: LaunchRequest) -> Result<u64, Refused> {
        let launcher = self.launcher.as_mut().ok_or_else(Refused::by_death)?;
        let id = launcher.ask(request)?;
        self.launches.insert(id, key);
        Ok(id)
    }

    /// Asks for a socket with the address of a session's client. Returns the question's id.
    ///
    /// # Errors
    /// It cannot be asked for just now.
    pub(crate) fn bind(&mut self, key: u64, request: BindRequest) -> Result<u64, NotBound> {
        let binder = self.binder.as_mut().ok_or(NotBound::Gone)?;
        let id = binder.ask(request)?;
        self.bindings.insert(id, key);
        Ok(id)
    }

    /// Has a body posted to a URL on behalf of a session. Returns the request's id; `None`: there is no fetcher
    /// just now, and the session is stepped when there is one.
    ///
    /// # Errors
    /// The fetcher takes no more.
    pub(crate) fn fetch(
        &mut self,
        key: u64,
        url: &str,
        body: &[u8],
        patience: Duration,
    ) -> io::Result<Option<u64>> {
        let asked = self
            .fetcher
            .as_mut()
            .map(|fetcher| fetcher.ask(url, body, patience));
        let id = self.or_wait(key, asked.transpose())?;
        self.requests.extend(id.map(|id| (id, key)));
        Ok(id)
    }

    /// Asks whether a session's client may connect to the service of that name. Returns the question's id; `None`:
    /// there is no gatekeeper just now, and the session is stepped when there is one.
    ///
    /// # Errors
    /// The gatekeeper takes no more.
    pub(crate) fn judge(
        &mut self,
        key: u64,
        service: &str,
        client: IpAddr,
        server: SocketAddr,
    ) -> io::Result<Option<u64>> {
        let asked = self
            .gatekeeper
            .as_mut()
            .map(|gatekeeper| gatekeeper.ask(service, client, server));
        let id = self.or_wait(key, asked.transpose())?;
        self.judgements.extend(id.map(|id| (id, key)));
        Ok(id)
    }

    /// Asks for a token on behalf of a session. Returns the question's id; `None`: there is no keeper just now, and the
    /// session is stepped when there is one.
    ///
    /// # Errors
    /// The keeper takes no more; `InvalidInput`: no account has such a name or password.
    pub(crate) fn token(&mut self, key: u64, question: &TokenQuestion) -> io::Result<Option<u64>> {
        let asked = self.keeper.as_mut().map(|keeper| keeper.ask(question));
        let id = self.or_wait(key, asked.transpose())?;
        self.tokens.extend(id.map(|id| (id, key)));
        Ok(id)
    }

    /// Has a session wait for a helper that is not there, or has just gone.
    fn or_wait(&mut self, key: u64, asked: io::Result<Option<u64>>) -> io::Result<Option<u64>> {
        match asked {
            Ok(Some(id)) => Ok(Some(id)),
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Err(error)
            }
            Ok(None) | Err(_) => {
                if !self.awaiting.contains(&key) {
                    self.awaiting.push(key);
                }
                Ok(None)
            }
        }
    }
}

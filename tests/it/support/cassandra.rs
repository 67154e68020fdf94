//! Cassandra: the node that `infra/test.sh` starts for all tests, and nodes that one test starts, stops and kills.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::value::{CqlDate, CqlTimestamp, MaybeUnset};
use tempfile::TempDir;
use tier::clock::{Random, Stopwatch};
use tier::model::days_of_date;

use super::events::Row;
use super::server::program;

/// A node is up in 4 seconds, two in 8, if nothing else keeps the machine busy.
const STARTS_WITHIN_MS: u64 = 120_000;

const INSERTS_IN_FLIGHT: usize = 64;

/// The first user of a node that asks for a password, and the password.
pub const USER: &str = "cassandra";

/// The tests' node; a test that needs it fails without it.
pub fn contact_point() -> String {
    std::env::var("TIER_CASSANDRA").expect("no Cassandra to test against: run the tests with infra/test.sh")
}

/// A keyspace that nothing else uses.
pub struct Keyspace {
    pub name: String,
    pub session: Session,
}

impl Keyspace {
    /// On the tests' node.
    pub async fn fresh() -> Self {
        let session = SessionBuilder::new().known_node(contact_point()).build().await.unwrap();
        Self::create(session, 1).await
    }

    /// With `copies` of every row, each on a node of its own.
    pub async fn create(session: Session, copies: usize) -> Self {
        let name = format!("test_{}", Random::System.id());
        let keyspace = Keyspace { name, session };
        let replication = format!("{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}");
        keyspace.execute(&format!("CREATE KEYSPACE {} WITH replication = {replication}", keyspace.name)).await;
        keyspace
    }

    /// Runs a statement that answers no rows. Tables must be named with their keyspace.
    pub async fn execute(&self, statement: &str) {
        let done = self.session.query_unpaged(statement, ()).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// The table of `infra/cassandra.sh start` with a primary key of the test's own, as `((tenant_id, day), event_id)`;
    /// its rows live that long, or for ever with 0.
    pub async fn create_events(&self, table: &str, key: &str, ttl_seconds: u32) {
        self.execute(&format!(
            "CREATE TABLE {}.{table} (tenant_id text, day date, event_id text, event_type text, ts timestamp, \
             amount double, payload text, PRIMARY KEY {key}) WITH default_time_to_live = {ttl_seconds}",
            self.name
        ))
        .await;
    }

    /// Inserts events, with the table's time to live or their own. What is `None` is left out, and the time is cut to
    /// milliseconds.
    pub async fn insert(&self, table: &str, rows: &[Row], ttl_seconds: Option<i32>) {
        let statement = format!(
            "INSERT INTO {}.{table} (tenant_id, day, event_id, event_type, ts, amount, payload) \
             VALUES (?, ?, ?, ?, ?, ?, ?) USING TTL ?",
            self.name
        );
        let mut insert = self.session.prepare(statement).await.unwrap();
        insert.set_is_idempotent(true);
        let insert = &insert;
        let put = |row: &Row| {
            let row = row.clone();
            async move {
                let values = (
                    row.tenant_id,
                    cql_date(days_of_date(row.date)),
                    row.event_id,
                    row.event_type,
                    CqlTimestamp(row.ts.div_euclid(1000)),
                    MaybeUnset::from_option(row.amount),
                    MaybeUnset::from_option(row.payload),
                    MaybeUnset::from_option(ttl_seconds),
                );
                self.session.execute_unpaged(insert, values).await.unwrap();
            }
        };
        futures::stream::iter(rows).for_each_concurrent(INSERTS_IN_FLIGHT, put).await;
    }
}

/// Days since the epoch as Cassandra counts them: from 2³¹ days before it.
fn cql_date(days: i32) -> CqlDate {
    CqlDate((1_u32 << 31).wrapping_add_signed(days))
}

/// A node of one test, alone or in a ring, killed with it. It can be stopped and started again on its folder and port.
pub struct Node {
    child: Child,
    folder: TempDir,
    address: &'static str,
    port: u16,
    /// The addresses of its ring, its own among them.
    ring: &'static [&'static str],
    asks_for_password: bool,
}

impl Node {
    pub async fn start() -> Self {
        Self::start_alone(false).await
    }

    /// A node that knows nobody but [`USER`].
    pub async fn start_with_password() -> Self {
        Self::start_alone(true).await
    }

    async fn start_alone(asks_for_password: bool) -> Self {
        let ring = &["127.0.0.1"];
        let mut node = Self::spawn(ring[0], free_port(ring), ring, asks_for_password);
        node.wait_until_ready().await;
        node
    }

    /// Two nodes that know each other: a keyspace with two copies has one on each.
    pub async fn start_two() -> [Self; 2] {
        let ring = &["127.0.0.1", "127.0.0.2"];
        let port = free_port(ring);
        // Together: each is a seed and waits a little for the other.
        let mut nodes = ring.map(|address| Self::spawn(address, port, ring, false));
        for node in &mut nodes {
            node.wait_until_ready().await;
        }
        nodes
    }

    pub fn contact_point(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// A session that knows this node, and by it the others.
    pub async fn session(&self) -> Session {
        self.try_session().await.unwrap_or_else(|error| panic!("{}: {error}\n{}", self.contact_point(), self.log()))
    }

    /// Keeps its connections and does not answer (SIGSTOP), until [`Node::resume`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it without warning (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator would (SIGTERM); takes some seconds.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Node::kill`] or [`Node::stop`], with what it had.
    pub async fn start_again(&mut self) {
        self.child = run(&self.folder, self.address, self.port, self.ring, self.asks_for_password);
        self.wait_until_ready().await;
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn spawn(address: &'static str, port: u16, ring: &'static [&'static str], asks_for_password: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = run(&folder, address, port, ring, asks_for_password);
        Node { child, folder, address, port, ring, asks_for_password }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn try_session(&self) -> Result<Session, NewSessionError> {
        let mut builder = SessionBuilder::new().known_node(self.contact_point());
        if self.asks_for_password {
            builder = builder.user(USER, USER);
        }
        builder.build().await
    }

    /// Waits until a session can be opened and the node knows its whole ring. That it listens says less.
    async fn wait_until_ready(&mut self) {
        let started = Stopwatch::start();
        loop {
            let problem = match self.try_session().await {
                Ok(session) => match session.get_cluster_state().get_nodes_info().len() {
                    known if known == self.ring.len() => return,
                    known => format!("it knows {known} of {} nodes", self.ring.len()),
                },
                Err(error) => error.to_string(),
            };
            let status = self.child.try_wait().unwrap();
            let is_late = started.elapsed_ms() > STARTS_WITHIN_MS;
            assert!(
                status.is_none() && !is_late,
                "Cassandra on {} is not ready: {problem}, {status:?}\n{}",
                self.contact_point(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &TempDir, address: &str, port: u16, ring: &[&str], asks_for_password: bool) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut server = program("TIER_TEST_CASSANDRA_SERVER");
    server.arg("server");
    if asks_for_password {
        server.arg("--auth");
    }
    server.arg(folder.path()).args([address, &port.to_string()]).args(ring);
    server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    server.spawn().unwrap_or_else(|error| panic!("{server:?}: {error}"))
}

/// A port that is free on these addresses together with the next one, by which nodes talk to each other. It lies below
/// the range that outgoing connections take theirs from: it takes seconds until a node listens.
fn free_port(addresses: &[&str]) -> u16 {
    let is_free = |port: u16| addresses.iter().all(|address| TcpListener::bind((*address, port)).is_ok());
    (0..100)
        .map(|_| 10_000 + 2 * (Random::System.fraction() * 10_000.0) as u16)
        .find(|port| is_free(*port) && is_free(port + 1))
        .expect("two free ports in a row between 10000 and 30000")
}

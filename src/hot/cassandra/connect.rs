//! The session with the cluster.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::Consistency as Level;

use super::super::{CassandraSettings, Consistency};
use super::client::Client;
use super::errors::Place;
use super::table::nearest;
use crate::error::{Error, Result};

/// One node may take this long to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// All contact points together: a dead cluster is known after this.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Beside the first: a third answer would cost the cluster more than it gains.
const SPECULATIVE_REQUESTS: usize = 1;

pub async fn connect(settings: &CassandraSettings) -> Result<Client> {
    let place = Place::new(settings);
    let session = match tokio::time::timeout(OPEN_TIMEOUT, builder(settings)?.build()).await {
        Ok(opened) => opened.map_err(|error| place.does_not_open(&error))?,
        Err(_) => return Err(place.takes_too_long()),
    };
    check_datacenter(&session, settings)?;
    Ok(Client::new(session, place, settings.timeout))
}

fn builder(settings: &CassandraSettings) -> Result<SessionBuilder> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.contact_points)
        .keyspaces_to_fetch([&settings.keyspace])
        .connection_timeout(CONNECT_TIMEOUT)
        .hostname_resolution_timeout(Some(CONNECT_TIMEOUT))
        .default_execution_profile_handle(profile(settings));
    if let Some(login) = &settings.login {
        builder = builder.user(&login.user, &login.password);
    }
    if let Some(tls) = &settings.tls {
        builder = builder.tls_context(Some(super::tls::config(tls)?));
    }
    Ok(builder)
}

fn profile(settings: &CassandraSettings) -> ExecutionProfileHandle {
    let mut nodes = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &settings.datacenter {
        nodes = nodes.prefer_datacenter(datacenter.clone()).permit_dc_failover(true);
    }
    let again = settings.speculate_after.map(|retry_interval| {
        Arc::new(SimpleSpeculativeExecutionPolicy { max_retry_count: SPECULATIVE_REQUESTS, retry_interval }) as _
    });
    ExecutionProfile::builder()
        .load_balancing_policy(nodes.build())
        .consistency(level(settings.consistency))
        .request_timeout(Some(settings.timeout))
        .retry_policy(Arc::new(super::retry::Rules))
        .speculative_execution_policy(again)
        .build()
        .into_handle()
}

pub fn level(consistency: Consistency) -> Level {
    match consistency {
        Consistency::One => Level::One,
        Consistency::LocalOne => Level::LocalOne,
        Consistency::Two => Level::Two,
        Consistency::Quorum => Level::Quorum,
        Consistency::LocalQuorum => Level::LocalQuorum,
        Consistency::All => Level::All,
    }
}

/// A datacenter that is misspelled would only make every request slower.
fn check_datacenter(session: &Session, settings: &CassandraSettings) -> Result<()> {
    let Some(wanted) = &settings.datacenter else { return Ok(()) };
    let state = session.get_cluster_state();
    let known: Vec<&str> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    if known.is_empty() || known.contains(&wanted.as_str()) {
        return Ok(());
    }
    let error = Error::usage(format!("the cluster has no datacenter `{wanted}`"));
    Err(error.hint(nearest(wanted, known)))
}

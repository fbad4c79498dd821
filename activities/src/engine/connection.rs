//! Connects to a Temporal server, retrying for as long as it takes.

use super::dev_server::DevServer;
use super::{CALL_TIMEOUT, RETRY_INTERVAL, timed};
use domain::OrgId;
use std::net::IpAddr;
use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::Code;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression, NamespacedClient,
    RetryOptions, Url,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;

/// Number of failed attempts before a warning. A server that starts at the same time needs a few seconds.
pub(super) const FAILURES_BEFORE_WARNING: u32 = 8;

/// The Temporal server and who runs it. A warning is logged if an external one does not respond.
#[derive(Clone)]
pub(super) enum Server {
    /// An external server, which should already run.
    External(Box<ConnectionOptions>),
    /// This process, which may still be downloading or starting it.
    Own(DevServer),
}

impl Server {
    /// Returns the host and port of the server.
    pub fn address(&self) -> String {
        match self {
            Self::External(connection) => host_and_port(&connection.target),
            Self::Own(dev_server) => dev_server.addresses().map_or_else(
                || "127.0.0.1".to_owned(),
                |addresses| addresses.temporal.to_string(),
            ),
        }
    }

    /// Returns the options of the connection; `None` while a dev server has no address.
    fn connection(&self) -> Option<ConnectionOptions> {
        match self {
            Self::External(connection) => Some(ConnectionOptions::clone(connection)),
            Self::Own(dev_server) => {
                let url = format!("http://{}", dev_server.addresses()?.temporal);
                Some(ConnectionOptions::new(url.parse::<Url>().ok()?).build())
            }
        }
    }
}

/// Returns the namespace of an installation on its own dev server. No other server has it, so a call that reaches
/// another server on the same port is refused there and cannot take over another installation's work.
pub fn namespace_of(installation: OrgId) -> String {
    let id: String = installation.to_string().chars().take(8).collect();
    format!("settle-{id}")
}

pub(super) async fn connect(identity: &str, server: &Server, options: ClientOptions) -> Client {
    let mut failures = 0_u32;
    loop {
        if let Some(mut connection) = server.connection() {
            identity.clone_into(&mut connection.identity);
            if is_on_this_machine(&connection.target) {
                // Compression would cost CPU time on both sides and save nothing.
                connection.grpc_compression = GrpcCompression::None;
            }
            connection.retry_options = RetryOptions::no_retries();
            let reason = match connect_once(connection, &options, server).await {
                Ok(client) => return client,
                Err(reason) => reason,
            };
            failures = failures.saturating_add(1);
            if failures == FAILURES_BEFORE_WARNING && matches!(server, Server::External(_)) {
                tracing::warn!(
                    address = server.address(),
                    reason,
                    "no Temporal server answers at this address, which TEMPORAL_ADDRESS or Temporal's profile file \
                     names; retrying; notifications are accepted meanwhile"
                );
            }
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Connects once. The error is the reason for the failure.
async fn connect_once(
    connection: ConnectionOptions,
    options: &ClientOptions,
    server: &Server,
) -> Result<Client, String> {
    // Without the timeout, `connect` would wait forever for a server that accepts the connection and sends nothing.
    let connected = tokio::time::timeout(CALL_TIMEOUT, Connection::connect(connection)).await;
    let connected =
        connected.map_err(|_| "it accepts connections and does not answer".to_owned())?;
    let connected = connected.map_err(|error| cause(&error))?;
    let client = Client::new(connected, options.clone()).map_err(|error| error.to_string())?;
    if let Server::Own(dev_server) = server {
        find(dev_server, &client).await?;
    }
    Ok(client)
}

/// Checks that the server that responds is the one that this process starts: no other server has the namespace.
async fn find(dev_server: &DevServer, client: &Client) -> Result<(), String> {
    let Some(addresses) = dev_server.addresses() else {
        return Err("it has no address yet".to_owned());
    };
    let request = DescribeNamespaceRequest {
        namespace: client.namespace(),
        ..Default::default()
    };
    match client
        .connection()
        .workflow_service()
        .describe_namespace(timed(request))
        .await
    {
        Ok(_) if dev_server.note_found(addresses.temporal) => Ok(()),
        Ok(_) => Err("it moved to another port".to_owned()),
        Err(status) if status.code() == Code::NotFound => {
            Err("another Temporal server answers there".to_owned())
        }
        Err(status) => Err(status.message().to_owned()),
    }
}

fn is_on_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns the innermost cause of a failure, which is the part that an operator can act on.
fn cause(error: &ClientConnectError) -> String {
    if let ClientConnectError::SystemInfoCallError(status) = error {
        return format!(
            "something answers that is no Temporal server ({})",
            status.message()
        );
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_on_this_machine() {
        let is_here = |url: &str| is_on_this_machine(&url.parse().expect("a URL"));
        for here in [
            "http://localhost:7233",
            "http://127.0.0.1:7233",
            "http://127.8.9.1:7233",
            "http://[::1]:7233",
        ] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1:7233",
            "https://localhost.example.com:7233",
            "http://[2001:db8::1]:7233",
        ] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}

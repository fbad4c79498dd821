//! Tests which servers are reached, with a fake server that speaks the beginning of the protocol and then refuses every
//! user; and what transactions send, with one that accepts every user.

use super::PostgresConnection;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::{Connection, QueryResult};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// An `ErrorResponse` with the message `reached`.
const REFUSAL: &[u8] = b"E\0\0\0\x23SFATAL\0VFATAL\0C28000\0Mreached\0\0";

/// The way in which a fake server treats connections.
#[derive(Clone)]
enum Manner {
    Silent,
    Plain,
    Tls(Arc<ServerConfig>),
}

/// Starts a server; returns its port.
fn server(manner: Manner) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            match &manner {
                Manner::Silent => silent.push(stream),
                Manner::Plain => drop(negotiate(&mut stream, b"N").and_then(|()| refuse(stream))),
                Manner::Tls(config) => drop(negotiate(&mut stream, b"S").and_then(|()| {
                    refuse(StreamOwned::new(
                        ServerConnection::new(config.clone()).unwrap(),
                        stream,
                    ))
                })),
            }
        }
    });
    port
}

/// Reads the client's `SSLRequest` and answers it: `S` accepts, `N` refuses.
fn negotiate(stream: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 8])?;
    stream.write_all(answer)
}

/// Reads the startup message and refuses the user.
fn refuse(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    stream.read_exact(&mut vec![0; length - 4])?;
    stream.write_all(REFUSAL)?;
    stream.flush()
}

/// A PEM file in the folder for temporary files, removed on drop.
struct PemFile(PathBuf);

impl PemFile {
    fn new(name: &str, pem: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("settle-postgres-{}-{name}.pem", std::process::id()));
        std::fs::write(&path, pem).unwrap();
        Self(path)
    }

    fn url_path(&self) -> String {
        self.0.display().to_string().replace('/', "%2F")
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Returns a certificate authority in PEM, and the settings of a server with a certificate that it issued for
/// `localhost`.
fn issued_certificate() -> (String, ServerConfig) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = pem(authority.self_signed(&authority_key).unwrap().der());
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    (pem, serving(certificate.der(), &key))
}

/// Returns a certificate that is its own authority, as by `openssl req -x509`, and the settings of a server that uses
/// it.
fn self_signed_certificate() -> (String, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (pem(certificate.der()), serving(certificate.der(), &key))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn serving(certificate: &CertificateDer<'_>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.clone().into_owned()];
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// Returns whether a connection to this URL got as far as the refusal of the user; if not, why.
fn reached(url: &str) -> Result<(), String> {
    let Err(error) = PostgresConnection::establish(url) else {
        panic!("{url}: the server accepted the user")
    };
    let reason = error.to_string();
    if reason.contains("reached") {
        Ok(())
    } else {
        Err(reason)
    }
}

#[test]
fn a_server_is_trusted_as_far_as_the_url_requires() {
    let ((authority, theirs), (own, alone), (foreign, _)) = (
        issued_certificate(),
        self_signed_certificate(),
        issued_certificate(),
    );
    let file = [
        PemFile::new("authority", &authority),
        PemFile::new("own", &own),
        PemFile::new("foreign", &foreign),
    ];
    let [authority, own, foreign] = file.each_ref().map(PemFile::url_path);
    let (theirs, alone) = (
        server(Manner::Tls(Arc::new(theirs))),
        server(Manner::Tls(Arc::new(alone))),
    );
    for (host, query, is_reached) in [
        (format!("127.0.0.1:{theirs}"), String::new(), true),
        (
            format!("127.0.0.1:{theirs}"),
            "sslmode=require".to_owned(),
            true,
        ),
        (
            format!("127.0.0.1:{theirs}"),
            format!("sslmode=require&sslrootcert={authority}"),
            true,
        ),
        (
            format!("127.0.0.1:{theirs}"),
            format!("sslmode=require&sslrootcert={foreign}"),
            false,
        ),
        (
            format!("127.0.0.1:{theirs}"),
            format!("sslmode=verify-ca&sslrootcert={authority}"),
            true,
        ),
        (
            format!("127.0.0.1:{theirs}"),
            format!("sslmode=verify-ca&sslrootcert={foreign}"),
            false,
        ),
        (
            format!("127.0.0.1:{theirs}"),
            format!("sslmode=verify-full&sslrootcert={authority}"),
            false,
        ),
        (
            format!("localhost:{theirs}"),
            format!("sslmode=verify-full&sslrootcert={authority}"),
            true,
        ),
        (
            format!("localhost:{theirs}"),
            "sslmode=verify-full".to_owned(),
            false,
        ),
        (
            format!("localhost:{theirs}"),
            "sslmode=verify-ca".to_owned(),
            false,
        ),
        (
            format!("localhost:{theirs}"),
            "sslrootcert=system".to_owned(),
            false,
        ),
        (
            format!("localhost:{alone}"),
            format!("sslmode=verify-full&sslrootcert={own}"),
            true,
        ),
        (
            format!("127.0.0.1:{alone}"),
            format!("sslmode=verify-full&sslrootcert={own}"),
            false,
        ),
        (
            format!("localhost:{alone}"),
            format!("sslmode=verify-ca&sslrootcert={authority}"),
            false,
        ),
    ] {
        let reached = reached(&format!("postgres://u@{host}/db?{query}"));
        assert_eq!(reached.is_ok(), is_reached, "{host} {query}: {reached:?}");
    }
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let port = server(Manner::Plain);
    assert_eq!(
        reached(&format!("postgres://u@127.0.0.1:{port}/db")),
        Ok(())
    );
    for query in [
        "sslmode=require",
        "sslmode=verify-full",
        "sslrootcert=system",
    ] {
        assert!(
            reached(&format!("postgres://u@127.0.0.1:{port}/db?{query}")).is_err(),
            "{query}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for name in ["sslrootcert", "sslcert"] {
        let url = format!(
            "postgres://u@127.0.0.1:1/db?sslmode=require&{name}=/none.pem&sslkey=/none.key"
        );
        let reason = reached(&url).unwrap_err();
        assert!(reason.contains("/none."), "{reason}");
    }
}

#[test]
fn the_next_host_is_tried_after_a_closed_port_and_a_silent_one() {
    let (silent, port) = (server(Manner::Silent), server(Manner::Plain));
    let hosts = format!("127.0.0.1:1,127.0.0.1:{silent},127.0.0.1:{port}");
    assert_eq!(
        reached(&format!("postgres://u@{hosts}/db?connect_timeout=1")),
        Ok(())
    );
    assert_eq!(
        reached(&format!(
            "postgres://u@127.0.0.1:{silent}/db?connect_timeout=1"
        )),
        Err("the server does not answer".to_owned())
    );
}

/// Returns an `ErrorResponse` with this SQLSTATE, after which the session continues.
fn refusal(code: &str) -> Vec<u8> {
    [b"E\0\0\0\x1cSERROR\0VERROR\0C", code.as_bytes(), b"\0M\0\0"].concat()
}

#[tokio::test]
async fn a_connection_may_be_dropped_in_an_async_context() {
    let runtime = tokio::task::spawn_blocking(super::OwnRuntime::new)
        .await
        .unwrap()
        .unwrap();
    drop(runtime);
}

/// Returns a `ParameterStatus`: `default_transaction_read_only` now has this value.
fn parameter_status(value: &str) -> Vec<u8> {
    let text = format!("default_transaction_read_only\0{value}\0");
    let length = u32::try_from(text.len() + 4).unwrap().to_be_bytes();
    [&b"S"[..], &length[..], text.as_bytes()].concat()
}

/// `CommandComplete`: the server ran a request.
const DONE: &[u8] = b"C\0\0\0\x08SET\0";
/// `ReadyForQuery`: the server waits for a request.
const READY: &[u8] = b"Z\0\0\0\x05I";

/// Returns a connection to a server that runs nothing, and the requests that the server received. It refuses `WRONG`
/// with the SQLSTATE that follows, and answers `REPORT` with a [`parameter_status`] of the value that follows.
fn connection() -> (PostgresConnection, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, received) = (
        listener.local_addr().unwrap().port(),
        Arc::new(Mutex::new(Vec::new())),
    );
    let requests = Arc::clone(&received);
    std::thread::spawn(move || serve(listener.accept()?.0, &requests));
    let connection = PostgresConnection::establish(&format!(
        "postgres://u@127.0.0.1:{port}/db?sslmode=disable&target_session_attrs=any"
    ))
    .unwrap();
    received.lock().unwrap().clear();
    (connection, received)
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let rest = |length: [u8; 4]| {
        vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - length.len()]
    };
    stream.read_exact(&mut rest(length))?;
    stream.write_all(b"R\0\0\0\x08\0\0\0\0")?;
    stream.write_all(READY)?;
    loop {
        stream.read_exact(&mut [0; 1])?;
        stream.read_exact(&mut length)?;
        let mut request = rest(length);
        stream.read_exact(&mut request)?;
        let request = String::from_utf8(request)
            .unwrap()
            .trim_end_matches('\0')
            .to_owned();
        let answer = match (
            request.strip_prefix("WRONG "),
            request.strip_prefix("REPORT "),
        ) {
            (Some(code), _) => refusal(code),
            (None, Some(value)) => [&parameter_status(value)[..], DONE].concat(),
            (None, None) => DONE.to_vec(),
        };
        requests.lock().unwrap().push(request);
        stream.write_all(&answer)?;
        stream.write_all(READY)?;
    }
}

fn begin(connection: &mut PostgresConnection) -> QueryResult<()> {
    connection.defer_next();
    AnsiTransactionManager::begin_transaction(connection)
}

#[test]
fn a_commit_of_an_aborted_transaction_is_an_error() {
    let (mut connection, received) = connection();
    begin(&mut connection).unwrap();
    connection.batch_execute("WRONG 42601").unwrap_err();
    AnsiTransactionManager::commit_transaction(&mut connection).unwrap_err();
    assert!(connection.is_undone());
    connection.batch_execute("WRONG 42601").unwrap_err();
    begin(&mut connection).unwrap();
    connection.batch_execute("RIGHT").unwrap();
    AnsiTransactionManager::commit_transaction(&mut connection).unwrap();
    assert!(
        received
            .lock()
            .unwrap()
            .ends_with(&["BEGIN", "RIGHT", "COMMIT"].map(str::to_owned))
    );
}

#[test]
fn an_error_that_another_session_may_avoid_ends_the_session() {
    let table = [
        // Failed connection; missing right to connect; session ended by an operator.
        ("08006", true),
        ("28000", true),
        ("28P01", true),
        ("57P01", true),
        ("57P03", true),
        // Read-only server; missing right; prepared statement missing, duplicate or with other types; another search
        // path.
        ("25006", true),
        ("42501", true),
        ("26000", true),
        ("42P05", true),
        ("0A000", true),
        ("3F000", true),
        ("42P01", true),
        ("42703", true),
        ("42883", true),
        // Missing transaction; internal error of the server.
        ("25P01", true),
        ("XX000", true),
        // Value, constraint, conflict, syntax, disk or memory, lock, time-out: any session gets the same error.
        ("22021", false),
        ("22P05", false),
        ("22001", false),
        ("22003", false),
        ("23502", false),
        ("23503", false),
        ("23505", false),
        ("23514", false),
        ("40001", false),
        ("40P01", false),
        ("42601", false),
        ("53100", false),
        ("53200", false),
        ("55P03", false),
        ("57014", false),
    ];
    for (code, is_over) in table {
        let (mut connection, _) = connection();
        connection
            .batch_execute(&format!("WRONG {code}"))
            .unwrap_err();
        assert_eq!(connection.is_over(), is_over, "{code}");
    }
}

#[test]
fn a_session_is_over_while_its_server_accepts_no_writes() {
    let (mut connection, _) = connection();
    for (value, is_over) in [("off", false), ("on", true), ("off", false)] {
        connection
            .batch_execute(&format!("REPORT {value}"))
            .unwrap();
        assert_eq!(connection.is_over(), is_over, "{value}");
    }
}

#[test]
fn a_rollback_sends_no_deferred_request() {
    let (mut connection, received) = connection();
    let later = |connection: &mut PostgresConnection| {
        connection.defer_next();
        connection.batch_execute("LATER").unwrap();
    };
    begin(&mut connection).unwrap();
    later(&mut connection);
    AnsiTransactionManager::rollback_transaction(&mut connection).unwrap();
    assert_eq!(
        *received.lock().unwrap(),
        [""; 0],
        "the server knows nothing of the transaction"
    );
    begin(&mut connection).unwrap();
    connection.batch_execute("FIRST").unwrap();
    begin(&mut connection).unwrap();
    later(&mut connection);
    AnsiTransactionManager::rollback_transaction(&mut connection).unwrap();
    later(&mut connection);
    AnsiTransactionManager::rollback_transaction(&mut connection).unwrap();
    assert_eq!(*received.lock().unwrap(), ["BEGIN", "FIRST", "ROLLBACK"]);
}

#[test]
fn a_connection_runs_on_the_thread_that_uses_it() {
    let this = std::thread::current().id();
    let runtime = super::OwnRuntime::new().unwrap();
    // The task that drives a connection is spawned.
    let spawned = async {
        tokio::spawn(async { std::thread::current().id() })
            .await
            .unwrap()
    };
    assert_eq!(runtime.block_on(spawned), this);
}

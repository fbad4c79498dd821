//! A pooler in transaction mode before PostgreSQL, as PgBouncer is one: its clients share one session of the server, and
//! each has it for a transaction at a time.

use anyhow::Context;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The session of the server.
struct Shared {
    session: TcpStream,
    /// What the server sent until it was ready for the first statement; each client gets it.
    greeting: Vec<u8>,
}

/// Starts a pooler, which ends with the process, before the server of this URL; returns a URL that leads through it.
///
/// # Errors
/// When the URL names no port, or there is no port for the pooler.
pub fn before_url(url: &str) -> anyhow::Result<String> {
    let mut url = url::Url::parse(url)?;
    let server = (
        url.host_str().context("a host")?.to_owned(),
        url.port().context("a port")?,
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let shared = Arc::new(Mutex::new(None));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (shared, server) = (Arc::clone(&shared), server.clone());
            // A client that ends its connection ends the thread with an error.
            thread::spawn(move || drop(serve(client, &server, &shared)));
        }
    });
    let changed = url.set_host(Some("127.0.0.1")).is_ok() && url.set_port(Some(port)).is_ok();
    anyhow::ensure!(changed, "{url} takes no other host");
    url.set_query(Some("sslmode=disable"));
    Ok(url.into())
}

/// Serves a client: it has the session from its first message until no transaction is open any more.
fn serve(
    mut client: TcpStream,
    server: &(String, u16),
    shared: &Mutex<Option<Shared>>,
) -> anyhow::Result<()> {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let startup = with_length(&mut client, Vec::new())?;
    let mut session = lock();
    let greeting = match &*session {
        Some(shared) => shared.greeting.clone(),
        None => session.insert(begin(server, &startup)?).greeting.clone(),
    };
    drop(session);
    client.write_all(&greeting)?;
    loop {
        let mut message = message(&mut client)?;
        let mut session = lock();
        let session = &mut session.as_mut().context("a session")?.session;
        loop {
            session.write_all(&message)?;
            let is_answered = matches!(message.first(), Some(b'Q' | b'S'));
            if is_answered && answer(session, &mut client)? == b'I' {
                break;
            }
            message = self::message(&mut client)?;
        }
    }
}

/// Begins the session of the server with the startup message of the first client.
fn begin(server: &(String, u16), startup: &[u8]) -> anyhow::Result<Shared> {
    let mut session = TcpStream::connect((server.0.as_str(), server.1))?;
    session.write_all(startup)?;
    let mut greeting = Vec::new();
    answer(&mut session, &mut greeting)?;
    Ok(Shared { session, greeting })
}

/// Passes the server's messages on until it is ready again; returns the state of the transaction, `I` if there is none.
fn answer(session: &mut TcpStream, client: &mut impl Write) -> anyhow::Result<u8> {
    loop {
        let message = message(session)?;
        client.write_all(&message)?;
        if let [b'Z', .., state] = message[..] {
            return Ok(state);
        }
    }
}

fn message(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut kind = vec![0];
    stream.read_exact(&mut kind)?;
    with_length(stream, kind)
}

/// Returns what follows `read`: a length that counts itself, and the rest.
fn with_length(stream: &mut TcpStream, mut read: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut rest =
        vec![0; usize::try_from(u32::from_be_bytes(length))?.saturating_sub(length.len())];
    stream.read_exact(&mut rest)?;
    read.extend(length);
    read.extend(rest);
    Ok(read)
}

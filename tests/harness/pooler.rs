//! A pooler in transaction mode in front of PostgreSQL, like PgBouncer: its clients share one server session, and each
//! gets it for one transaction at a time.

use anyhow::Context;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The shared server session.
struct Shared {
    session: TcpStream,
    /// Bytes that the server sent before it was ready for the first statement; each client receives them.
    greeting: Vec<u8>,
}

/// Starts a pooler for the server of this URL, which runs until the process ends; returns the URL by way of the pooler.
///
/// # Errors
/// When the URL has no port, or the pooler cannot listen.
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
            // A client that disconnects ends its thread with an error.
            thread::spawn(move || drop(serve(client, &server, &shared)));
        }
    });
    let changed = url.set_host(Some("127.0.0.1")).is_ok() && url.set_port(Some(port)).is_ok();
    anyhow::ensure!(changed, "{url} takes no other host");
    url.set_query(Some("sslmode=disable"));
    Ok(url.into())
}

/// Serves a client, which holds the session from its first message until no transaction is open.
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

/// Begins the server session with the first client's startup message.
fn begin(server: &(String, u16), startup: &[u8]) -> anyhow::Result<Shared> {
    let mut session = TcpStream::connect((server.0.as_str(), server.1))?;
    session.write_all(startup)?;
    let mut greeting = Vec::new();
    answer(&mut session, &mut greeting)?;
    Ok(Shared { session, greeting })
}

/// Forwards the server's messages until it is ready again; returns the transaction status, `I` outside a transaction.
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

/// Reads the rest of a message, whose first four bytes are its length including themselves, and returns it appended to
/// `read`.
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

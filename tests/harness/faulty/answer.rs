//! Reads and writes on one connection. A wait is a read with a time limit, so that it ends when the client closes.

use super::{Fault, Received, Shared};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Time between two bytes of a slow answer.
const SECOND: Duration = Duration::from_secs(1);
/// Number of bytes per write. The send buffer has this size too, so that nearly all written bytes have been received.
const PIECE_BYTES: usize = 16 * 1024;
const BIG_BYTES: usize = 10_000_000;
const BOMB_BYTES: usize = 1_000_000;
/// The head of a gzip file without a name or time.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// One connection and the state of its endpoint.
pub struct Connection<'a> {
    /// The TCP socket under the stream, with or without TLS.
    pub socket: &'a TcpStream,
    /// The endpoint's received requests and scripted faults.
    pub shared: &'a Shared,
}

/// Reads requests and answers them until the connection ends.
pub fn serve(mut stream: impl Read + Write, connection: &Connection<'_>) {
    while let Some(received) = read_request(&mut stream) {
        let fault = {
            let mut seen = connection.shared.seen();
            let scripted = || seen.next.pop_front().unwrap_or(Fault::Status(200));
            let fault = Fault::at(&received.path).unwrap_or_else(scripted);
            seen.requests.push(received);
            fault
        };
        if answer(&mut stream, connection, &fault).is_none() {
            return;
        }
    }
}

/// Answers one request; returns `None` when the connection has ended.
fn answer(
    stream: &mut (impl Read + Write),
    connection: &Connection<'_>,
    fault: &Fault,
) -> Option<()> {
    let send_text = |stream: &mut _, text: String| send(stream, connection, text.as_bytes());
    match fault {
        Fault::Never => wait_while_open(stream, connection, None),
        Fault::Drip => drip(stream, connection, &head(200, "content-length: 0\r\n")),
        Fault::DripBody => {
            send_text(stream, head(200, "content-length: 1000\r\n"))?;
            drip(stream, connection, &"x".repeat(1000))
        }
        Fault::Reset => {
            SockRef::from(connection.socket)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket that can be reset");
            None
        }
        Fault::Drop => None,
        Fault::Status(status) => send_text(stream, head(*status, "content-length: 0\r\n")),
        Fault::Redirect(status, place) => send_text(
            stream,
            head(
                *status,
                &format!("location: {place}\r\ncontent-length: 0\r\n"),
            ),
        ),
        Fault::Big => {
            send_text(
                stream,
                head(200, &format!("content-length: {BIG_BYTES}\r\n")),
            )?;
            (0..BIG_BYTES / PIECE_BYTES + 1)
                .try_for_each(|_| send(stream, connection, &[b'x'; PIECE_BYTES]))
        }
        Fault::Bomb => {
            send_text(
                stream,
                head(
                    200,
                    &format!("content-encoding: gzip\r\ncontent-length: {BOMB_BYTES}\r\n"),
                ),
            )?;
            bomb()
                .chunks(PIECE_BYTES)
                .try_for_each(|piece| send(stream, connection, piece))
        }
        Fault::EndlessHead => {
            send_text(stream, "HTTP/1.1 200 OK\r\n".to_owned())?;
            (0..).try_for_each(|place| {
                send_text(stream, format!("x-{place}: {}\r\n", "v".repeat(1000)))
            })
        }
    }
}

fn head(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} Scripted\r\ncontent-type: text/plain\r\n{headers}\r\n")
}

fn send(stream: &mut impl Write, connection: &Connection<'_>, bytes: &[u8]) -> Option<()> {
    // The system may refuse a small buffer; a larger one works too.
    let _ = SockRef::from(connection.socket).set_send_buffer_size(PIECE_BYTES);
    stream.write_all(bytes).and_then(|()| stream.flush()).ok()?;
    connection.shared.seen().sent_bytes += bytes.len();
    Some(())
}

fn drip(stream: &mut (impl Read + Write), connection: &Connection<'_>, text: &str) -> Option<()> {
    text.bytes().try_for_each(|byte| {
        send(stream, connection, &[byte])?;
        wait_while_open(stream, connection, Some(SECOND))
    })
}

/// Waits for `time` or until the client closes; `Some` if the connection is still open.
fn wait_while_open(
    stream: &mut impl Read,
    connection: &Connection<'_>,
    time: Option<Duration>,
) -> Option<()> {
    connection
        .socket
        .set_read_timeout(time)
        .expect("a time limit");
    let read = stream.read(&mut [0]);
    connection
        .socket
        .set_read_timeout(None)
        .expect("no time limit");
    let is_there = read
        .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    is_there.then_some(())
}

/// Reads one request with its body; returns `None` when the client has closed the connection.
fn read_request(stream: &mut impl Read) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.extend(byte);
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(Received {
        path,
        headers,
        body,
    })
}

/// Returns compressed zeros (RFC 1951 3.2.6): one literal, then a back-reference of length 258 and distance 1, 13 bits
/// each, repeated.
fn bomb() -> Vec<u8> {
    let mut bits = vec![true, true, false]; // The last block, with fixed codes.
    bits.extend([false, false, true, true, false, false, false, false]);
    let again = [
        true, true, false, false, false, true, false, true, false, false, false, false, false,
    ];
    while bits.len() / 8 + GZIP.len() + again.len() < BOMB_BYTES {
        bits.extend(again);
    }
    bits.extend([false; 7]); // Its end.
    let byte = |bits: &[bool]| {
        bits.iter()
            .rev()
            .fold(0, |byte, bit| byte << 1 | u8::from(*bit))
    };
    let mut bytes: Vec<u8> = GZIP.into_iter().chain(bits.chunks(8).map(byte)).collect();
    // The checksum at the end is wrong: no client may read to the end.
    bytes.resize(BOMB_BYTES, 0);
    bytes
}

//! The connection to an SMTP server until [`lettre`] takes over, with the TLS mode of the URL.
//!
//! Data before TLS is unauthenticated. Each reply there must end the received data: a further byte, which would
//! otherwise be taken for the reply to a command under TLS, closes the connection. Replies have a maximum length
//! throughout, since `lettre` reads a line to its end before it checks its length.

use lettre::transport::smtp::client::AsyncTokioStream;
use lettre::transport::smtp::extension::ClientId;
use protocols::http::Failure;
use protocols::smtp::{Command, Security};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of a line of a reply, and of a whole reply, in bytes. RFC 5321 (4.5.3.1.5) allows 512 for a line.
const MAX_LINE_BYTES: usize = 1000;
const MAX_REPLY_BYTES: usize = 16 * 1024;
/// Number of bytes to read at once before TLS.
const CHUNK_BYTES: usize = 1024;
/// Replaces the greeting that was read before TLS, since a server sends none after STARTTLS.
const READ_ALREADY: &[u8] = b"220 ready\r\n";

/// A server, with its checked addresses.
pub struct Server<'a> {
    /// Host name of the server, as in its certificate.
    pub host: &'a str,
    pub addresses: &'a [SocketAddr],
}

/// Why an email got no 2xx response: the server's response to a command, or the lack of one.
pub(super) enum Refusal {
    Answer {
        command: Command,
        code: u16,
        text: String,
    },
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A reply has a line of more than [`MAX_LINE_BYTES`], or more than [`MAX_REPLY_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reply is too long")]
pub struct TooLong;

/// Connects to the first address that accepts a connection, and protects the connection.
///
/// # Errors
/// No connection, or no protected one, can be established.
pub async fn connect(
    server: &Server<'_>,
    security: Security,
    name: &ClientId,
    tls: &Arc<ClientConfig>,
) -> Result<Box<dyn AsyncTokioStream>, Refusal> {
    let mut stream = reach(server.addresses).await?;
    let peer = stream.peer_addr().map_err(|_| Failure::Connect)?;
    if security == Security::Plain {
        return Ok(Box::new(Bounded::new(stream, peer, b"")));
    }
    let greeting: &'static [u8] = if security == Security::StartTls {
        start_tls(&mut stream, name).await?;
        READ_ALREADY
    } else {
        b""
    };
    let host = ServerName::try_from(server.host.to_owned()).map_err(|_| Failure::Tls)?;
    let protected = TlsConnector::from(tls.clone()).connect(host, stream).await;
    Ok(Box::new(Bounded::new(
        protected.map_err(|_| Failure::Tls)?,
        peer,
        greeting,
    )))
}

async fn reach(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Connect;
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) => failure = Failure::Connect,
            Err(_) => failure = Failure::Timeout,
        }
    }
    Err(failure)
}

/// Performs STARTTLS (RFC 3207) up to the point where the handshake begins.
async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    name: &ClientId,
) -> Result<(), Refusal> {
    accepted(stream, b"").await?;
    let features = accepted(stream, format!("EHLO {name}\r\n").as_bytes()).await?;
    let mut features = features.lines().filter_map(|line| line.get(4..));
    if !features.any(|feature| feature.eq_ignore_ascii_case("STARTTLS")) {
        return Err(Failure::Tls.into());
    }
    accepted(stream, b"STARTTLS\r\n").await?;
    Ok(())
}

/// Sends a command before TLS. Returns the reply, which must be positive and end the received data.
async fn accepted<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    command: &[u8],
) -> Result<String, Refusal> {
    stream
        .write_all(command)
        .await
        .map_err(|_| Failure::Reset)?;
    let (mut reply, mut bound, mut chunk) = (Vec::new(), Bound::default(), [0; CHUNK_BYTES]);
    let length = loop {
        let read = stream.read(&mut chunk).await.map_err(|_| Failure::Reset)?;
        let new = chunk
            .get(..read)
            .filter(|new| !new.is_empty())
            .ok_or(Failure::Reset)?;
        bound.count(new).map_err(|TooLong| Failure::Reply)?;
        reply.extend_from_slice(new);
        if let Some(length) = length(&reply) {
            break length;
        }
    };
    if length < reply.len() {
        return Err(Failure::Injected.into());
    }
    let text = String::from_utf8_lossy(&reply).into_owned();
    match text.get(..3).and_then(|code| code.parse().ok()) {
        Some(200..=299) => Ok(text),
        Some(code) => {
            let text = text
                .lines()
                .filter_map(|line| line.get(4..))
                .collect::<Vec<_>>()
                .join("\n");
            Err(Refusal::Answer {
                command: Command::Connect,
                code,
                text,
            })
        }
        None => Err(Failure::Reset.into()),
    }
}

/// Returns the length of the reply at the beginning of `bytes`, once it is complete: its last line has no `-` after the
/// code.
fn length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for line in bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
    {
        length += line.len();
        if line.get(3) != Some(&b'-') {
            return Some(length);
        }
    }
    None
}

/// The received lengths of a reply, which have limits.
#[derive(Debug, Default)]
struct Bound {
    line: usize,
    reply: usize,
}

impl Bound {
    fn count(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.reply += bytes.len();
        for byte in bytes {
            self.line = if *byte == b'\n' { 0 } else { self.line + 1 };
            if self.line > MAX_LINE_BYTES {
                return Err(TooLong);
            }
        }
        if self.reply > MAX_REPLY_BYTES {
            Err(TooLong)
        } else {
            Ok(())
        }
    }
}

/// A connection that closes after a reply that is too long. Each write begins a new reply.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    peer: SocketAddr,
    /// Bytes that are read before all others.
    first: &'static [u8],
    bound: Bound,
}

impl<S> Bounded<S> {
    fn new(stream: S, peer: SocketAddr, first: &'static [u8]) -> Self {
        Self {
            stream,
            peer,
            first,
            bound: Bound::default(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream
    for Bounded<S>
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let first = self.first;
            let (now, later) = first.split_at(first.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.first = later;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.bound.count(new).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bound = Bound::default();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncBufReadExt, BufReader, duplex};

    #[tokio::test]
    async fn a_line_without_an_end_costs_a_kibibyte() {
        let lines = "250-x\r\n".repeat(MAX_REPLY_BYTES);
        for (text, most) in [
            ("a".repeat(1_000_000), CHUNK_BYTES),
            (lines, MAX_REPLY_BYTES + READ_ALREADY.len()),
        ] {
            let (client, mut server) = duplex(CHUNK_BYTES);
            let sent = tokio::spawn(async move { server.write_all(text.as_bytes()).await });
            let mut stream = Bounded::new(client, (Ipv4Addr::LOCALHOST, 25).into(), READ_ALREADY);
            let mut reader = BufReader::new(&mut stream);
            let (mut line, mut length) = (String::new(), 0);
            let error = loop {
                line.clear();
                match reader.read_line(&mut line).await {
                    Ok(read) => length += read,
                    Err(error) => break error,
                }
            };
            let inner = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<TooLong>());
            assert!(
                inner.is_some() && line.len() <= CHUNK_BYTES && length <= most,
                "{length} {}",
                line.len()
            );
            drop(stream);
            assert!(
                sent.await.expect("a task").is_err(),
                "the rest is never read"
            );
            let (mut client, mut server) = duplex(1_000_000);
            server.write_all(&[b'a'; 100_000]).await.expect("written");
            assert!(matches!(
                accepted(&mut client, b"").await,
                Err(Refusal::Failure(Failure::Reply))
            ));
        }
    }

    #[test]
    fn a_reply_ends_with_the_line_that_has_no_hyphen() {
        for (bytes, expected) in [
            ("", None),
            ("220 go", None),
            ("220 go\r\n", Some(8)),
            ("250-a\r\n250 b\r\n250 c\r\n", Some(14)),
            ("250-a\r\n250-b\r\n", None),
            ("220\r\nx", Some(5)),
        ] {
            assert_eq!(length(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}

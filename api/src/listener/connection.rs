//! A connection: HTTP/1.1 only, until the client ends it, it is closed for another one, or the process stops.

use super::body::{Received, ResponseBody};
use super::limits::{BUFFER_BYTES, HEAD_BYTES, HEALTH};
use super::open::Slot;
use super::table::Phase;
use crate::error::Error;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Version, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tower::ServiceExt as _;

pub struct Opened {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub slot: Arc<Slot>,
    /// Completes when the connection must be closed immediately.
    pub closed: oneshot::Receiver<()>,
    /// Becomes true when the connection must end after its current request.
    pub stopped: watch::Receiver<bool>,
}

impl Opened {
    /// Responds to the connection's requests until it ends.
    pub async fn serve(self, router: Router) {
        let Self {
            stream,
            peer,
            slot,
            mut closed,
            mut stopped,
        } = self;
        let io = TokioIo::new(Watched {
            stream,
            slot: slot.clone(),
        });
        let service =
            service_fn(move |request| answer(router.clone(), slot.clone(), request, peer));
        let mut connection = pin!(http().serve_connection(io, service));
        tokio::select! {
            // The sender is never used, only dropped.
            _ = &mut closed => return,
            // An error is the client's: it has disconnected, or does not speak HTTP/1.1.
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|is_stopped| *is_stopped) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = &mut closed => {}
            _ = connection => {}
        }
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // The table has its own time limits: hyper's would end an idle connection as early as one that is sending a head.
    http.header_read_timeout(None)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES);
    http
}

async fn answer(
    router: Router,
    slot: Arc<Slot>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut request = request.map(|body| Body::new(Received::new(body, slot.clone())));
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = if !has_one_host(&request) {
        closing(Error::invalid("host", "one `Host` header"))
    } else if slot.is_for_health && !HEALTH.contains(&request.uri().path()) {
        closing(Error::Unavailable(FULL.to_owned()))
    } else {
        router.oneshot(request).await?
    };
    if response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media == "text/event-stream")
    {
        slot.enter(Phase::Stream);
    }
    Ok(response.map(|body| ResponseBody::new(body, slot)))
}

/// Error for a request on a connection that is reserved for health checks. The next connection may not be reserved.
const FULL: &str = "all connections of this address are busy; try again";

/// Returns whether a request has exactly one host (RFC 9112 3.2). A request with HTTP/1.0 may have none.
fn has_one_host<T>(request: &Request<T>) -> bool {
    let count = request.headers().get_all(header::HOST).iter().count();
    count == 1 || (count == 0 && request.version() == Version::HTTP_10)
}

/// Returns an error response that ends the connection.
fn closing(error: Error) -> Response<Body> {
    let mut response = error.into_response();
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A stream that reports to the table when the head of a request begins.
struct Watched {
    stream: TcpStream,
    slot: Arc<Slot>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.slot.pass(Phase::Idle, Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

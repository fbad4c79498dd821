//! Connections that a test can drop in the middle of a request , as a network failure would.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Default)]
pub struct Cutter(Arc<AtomicBool>);

impl Cutter {
    /// Makes every further read and write of the connection fail.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(Error::from(ErrorKind::ConnectionReset))
        } else {
            Ok(())
        }
    }
}

impl Connected<IncomingStream<'_, Wires>> for Cutter {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A listener whose connections can be cut.
pub struct Wires(pub TcpListener);

impl Listener for Wires {
    type Io = Wire;
    type Addr = Cutter;

    async fn accept(&mut self) -> (Wire, Cutter) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        let cutter = Cutter::default();
        (
            Wire {
                stream,
                cutter: cutter.clone(),
            },
            cutter,
        )
    }

    fn local_addr(&self) -> Result<Cutter> {
        let _: SocketAddr = self.0.local_addr()?;
        Ok(Cutter::default())
    }
}

pub struct Wire {
    stream: TcpStream,
    cutter: Cutter,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.cutter.check()?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.cutter.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.cutter.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

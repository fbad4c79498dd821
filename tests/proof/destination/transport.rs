//! Sends a line over TCP, and reads the answering line: a status, a space and a text.

use activities::http::Transport;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocols::http::Failure;
use protocols::wire::{Message, Reply};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The transport for addresses such as `line://bus.internal:9000`.
pub struct Lines;

impl Transport for Lines {
    fn scheme(&self) -> &'static str {
        "line"
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        addresses: &'a [SocketAddr],
    ) -> BoxFuture<'a, Result<Reply, Failure>> {
        async move {
            let stream = TcpStream::connect(addresses).await;
            let mut stream = BufReader::new(stream.map_err(|_| Failure::Connect)?);
            let sent = stream.write_all(&message.payload).await;
            sent.map_err(|_| Failure::Reset)?;
            let mut answer = String::new();
            let read = stream.read_line(&mut answer).await;
            read.map_err(|_| Failure::Reset)?;
            let (status, text) = answer.trim_end().split_once(' ').ok_or(Failure::Reset)?;
            Ok(Reply::Answer {
                status: status.parse().map_err(|_| Failure::Protocol)?,
                text: text.to_owned(),
            })
        }
        .boxed()
    }
}

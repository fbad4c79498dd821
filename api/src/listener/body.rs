//! Bodies of requests and responses, which report their connection's activity to the table.

use super::open::Slot;
use super::table::Phase;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Body of a request. Its bytes are counted.
pub struct Received {
    body: Incoming,
    slot: Arc<Slot>,
}

impl Received {
    /// Returns the body of a request that is beginning.
    pub fn new(body: Incoming, slot: Arc<Slot>) -> Self {
        slot.enter(if body.is_end_stream() {
            Phase::Answer
        } else {
            Phase::Body
        });
        Self { body, slot }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let frame = match frame {
            None => None,
            Some(Err(error)) => Some(Err(error.into())),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Some(self.slot.receive(bytes).map(|()| frame).map_err(Into::into))
            }
        };
        if frame.is_none() || self.body.is_end_stream() {
            self.slot.pass(Phase::Body, Phase::Answer);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.slot.pass(Phase::Body, Phase::Answer);
    }
}

/// Body of a response. The response is complete when this is dropped.
pub struct ResponseBody {
    body: Body,
    slot: Arc<Slot>,
}

impl ResponseBody {
    /// Returns the body of the response to the latest request.
    pub const fn new(body: Body, slot: Arc<Slot>) -> Self {
        Self { body, slot }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.slot.enter(Phase::Idle);
    }
}

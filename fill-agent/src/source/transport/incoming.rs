//! The body of an answer together with its connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use super::pool::Lease;

/// A body that gives its connection back once it was read to its end.
pub(in crate::source) struct Incoming {
    body: hyper::body::Incoming,
    lease: Option<Lease>,
}

impl Incoming {
    pub(super) fn new(body: hyper::body::Incoming, lease: Lease) -> Self {
        Self {
            body,
            lease: Some(lease),
        }
    }

    /// The connection is free for the next request. To be called when the end was seen, or there is no body.
    pub(in crate::source) fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
}

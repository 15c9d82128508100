//! A file on its way to a client, a piece at a time: at most two pieces are in memory, and a thread waits for the disk, not for
//! the client.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use crate::limits::{PIECE_BYTES, STALL_TIME};

/// Bytes `from..to` of a file. `still` is asked after each piece is read and before it is sent; `Err` cuts the connection, so that
/// the client sees an answer that was not finished. `guard` is dropped when the last piece is on its way, or the client is gone.
pub(crate) fn stretch<G: Send + 'static>(
    file: File,
    from: u64,
    to: u64,
    still: impl Fn(&File) -> io::Result<()> + Send + Sync + 'static,
    guard: G,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _guard = guard;
        let (file, still) = (Arc::new(file), Arc::new(still));
        let mut at = from;
        while at < to {
            let length = usize::try_from(to - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let (file, still) = (file.clone(), still.clone());
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, at)?;
                still(&file)?;
                Ok(Bytes::from(piece))
            });
            let piece = read
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)));
            let failed = piece.is_err();
            let sent = tokio::time::timeout(STALL_TIME, sender.send(piece)).await;
            if failed || !matches!(sent, Ok(Ok(()))) {
                return;
            }
            at += length as u64;
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

/// A file of ours, that nobody changes.
pub(crate) fn whole(file: File, length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stretch(file, 0, length, |_| Ok(()), ())
}

//! The side of the daemon that takes the place of another. It touches nothing of the other's before that has said *Go*.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context as _;
use platform::inherited::Inherited;
use platform::messages::Messages;

use super::{OfPredecessor, OfSuccessor, ToParent, VERSION, hear, tell};
use crate::limits::PREDECESSOR_WAIT;
use crate::tls::TicketKey;

/// A daemon that is to take the place of the one at the other end.
#[derive(Debug)]
pub struct Successor {
    channel: Messages,
}

/// What it takes over.
#[derive(Debug)]
pub struct Estate {
    /// All listening sockets.
    pub sockets: Inherited,
    /// Socket and lock of the operator's door.
    pub door: [OwnedFd; 2],
    /// The end that leads to the parent.
    pub parent: Messages,
    /// The keys by which viewers' tickets are read; none from a daemon without TLS, or of an earlier release.
    pub tickets: Vec<TicketKey>,
}

impl Successor {
    /// The channel is this process's standard input, as the parent has made it.
    ///
    /// # Errors
    /// Somebody else has started it.
    pub fn of_standard_input() -> anyhow::Result<Self> {
        let channel = Messages::of_standard_input()
            .context("take-over is for the parent of a daemon to start: `ocactl upgrade`")?;
        Ok(Self { channel })
    }

    /// Another name for it, to tell of a failure.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let channel = self.channel.try_clone()?;
        Ok(Self { channel })
    }

    /// It cannot take over.
    pub fn failed(&self, why: &str) {
        // The parent says how it has ended if the daemon that serves does not hear this.
        let why = why.chars().take(1000).collect();
        let _ = tell(&self.channel, &OfSuccessor::Failed { why }, &[]);
    }

    /// Asks for what it takes over.
    ///
    /// # Errors
    /// The daemon that serves is gone, or speaks otherwise.
    pub fn begin(&self) -> anyhow::Result<Estate> {
        let begin = OfSuccessor::Begin {
            version: VERSION,
            tickets: true,
        };
        tell(&self.channel, &begin, &[])?;
        let (mut sockets, mut tickets) = (Vec::new(), Vec::new());
        loop {
            match self.hear()? {
                (OfPredecessor::Sockets, some) => sockets.extend(some),
                (OfPredecessor::Tickets(keys), _) => tickets = keys,
                (OfPredecessor::Estate, rest) => return estate(sockets, rest, tickets),
                (OfPredecessor::Go, _) => anyhow::bail!("told to go on before there was anything"),
            }
        }
    }

    /// All is in place. Returns when viewers are to be let in.
    ///
    /// # Errors
    /// The daemon that serves goes on.
    pub fn ready(&self) -> anyhow::Result<()> {
        tell(&self.channel, &OfSuccessor::Ready, &[])?;
        match self.hear()? {
            (OfPredecessor::Go, _) => Ok(()),
            (other, _) => anyhow::bail!("{other:?} instead of a word to go on"),
        }
    }

    /// Viewers are let in. Returns when the other tells routers and the control endpoint nothing any more, or is gone, or takes too long.
    ///
    /// # Errors
    /// The parent or the other cannot be told.
    pub fn serving(self, parent: &Messages) -> anyhow::Result<()> {
        let process = std::process::id();
        tell(parent, &ToParent::Serving { process }, &[])?;
        let serving = OfSuccessor::Serving {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process,
        };
        tell(&self.channel, &serving, &[])?;
        self.channel.set_patience(PREDECESSOR_WAIT)?;
        // It says no more: an error or the end are one.
        let _ = self.channel.receive();
        Ok(())
    }

    fn hear(&self) -> anyhow::Result<(OfPredecessor, Vec<OwnedFd>)> {
        hear(&self.channel).context("the daemon that serves goes on without a successor")
    }
}

fn estate(
    sockets: Vec<OwnedFd>,
    rest: Vec<OwnedFd>,
    tickets: Vec<TicketKey>,
) -> anyhow::Result<Estate> {
    let rest: Result<[OwnedFd; 3], _> = rest.try_into();
    let [listener, lock, parent] =
        rest.map_err(|_| anyhow::anyhow!("other descriptors than a door and a parent"))?;
    Ok(Estate {
        sockets: Inherited::of(sockets)?,
        door: [listener, lock],
        parent: parent.try_into()?,
        tickets,
    })
}

/// What a daemon can hand over, beside its door. Only one that has a parent does.
#[derive(Debug)]
pub struct Legacy {
    /// All listening sockets.
    pub sockets: Vec<OwnedFd>,
    /// The end that leads to the parent.
    pub parent: Messages,
}

impl Legacy {
    /// Copies of `sockets`.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn of<S: AsFd>(sockets: impl IntoIterator<Item = S>, parent: Messages) -> io::Result<Self> {
        let copies = sockets
            .into_iter()
            .map(|socket| socket.as_fd().try_clone_to_owned());
        Ok(Self {
            sockets: copies.collect::<io::Result<_>>()?,
            parent,
        })
    }
}

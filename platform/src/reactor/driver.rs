//! The seam between the reactor and a kernel interface: what a backend must do.

use std::io;
use std::time::Duration;

use super::event::{ListenerId, Token};
use super::table::Table;
use super::waker::Waker;

/// One way to wait for sockets. All calls come from the reactor's own thread. A token given to it is open,
/// unless said otherwise.
///
/// It is a trait object: one indirect call beside a system call is not measurable, and it leaves a single
/// place that knows which backends this system has.
pub(super) trait Driver {
    fn waker(&self) -> &Waker;
    /// The listener has been put into the table; accepting begins.
    fn listen(&mut self, table: &mut Table, id: ListenerId) -> io::Result<()>;
    fn pause_accept(&mut self, table: &mut Table, id: ListenerId);
    /// Whether the kernel may still take in connections there.
    fn is_accepting(&self, id: ListenerId) -> bool;
    fn resume_accept(&mut self, table: &mut Table, id: ListenerId);
    /// The socket has been put into the table by somebody other than this backend.
    fn adopt(&mut self, table: &mut Table, token: Token) -> io::Result<()>;
    fn receive(&mut self, table: &mut Table, token: Token);
    fn stop_receive(&mut self, table: &mut Table, token: Token);
    fn wait_writable(&mut self, table: &mut Table, token: Token);
    /// Ends what the kernel does with the socket and closes it.
    fn close(&mut self, table: &mut Table, token: Token);
    /// Buffer `index` may be filled again.
    fn give_back(&mut self, table: &Table, index: u16);
    /// Starts what was asked for, waits at most `timeout` for anything, and puts what came into
    /// `table.events`.
    fn turn(&mut self, table: &mut Table, timeout: Option<Duration>) -> io::Result<()>;
}

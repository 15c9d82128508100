//! A kernel with nothing but kqueue(2) and kevent(2), for tests on Linux: it keeps the table of what was registered by the rules of
//! kern_event.c, and a test says what happens to descriptors.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::slice;
use std::sync::Mutex;

/// sys/event.h, as `libc` has it for FreeBSD.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct kevent {
    pub(crate) ident: usize,
    pub(crate) filter: i16,
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: i64,
    pub(crate) udata: *mut c_void,
    pub(crate) ext: [u64; 4],
}

pub(crate) const EVFILT_READ: i16 = -1;
pub(crate) const EVFILT_WRITE: i16 = -2;
pub(crate) const EVFILT_USER: i16 = -11;
pub(crate) const EV_ADD: u16 = 0x1;
pub(crate) const EV_CLEAR: u16 = 0x20;
pub(crate) const EV_EOF: u16 = 0x8000;
pub(crate) const EV_ERROR: u16 = 0x4000;
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;

/// One registration: what comes back with it, and with which flags it is due.
#[derive(Debug)]
struct Knote {
    udata: usize,
    is_cleared: bool,
    due: Option<u16>,
}

type Knotes = BTreeMap<(usize, i16), Knote>;

/// By the inode of the descriptor, which its duplicates have too.
static KQUEUES: Mutex<BTreeMap<u64, Knotes>> = Mutex::new(BTreeMap::new());

fn with<R>(kqueue: BorrowedFd<'_>, act: impl FnOnce(&mut Knotes) -> R) -> R {
    let inode = inode(kqueue).expect("an open descriptor has an inode");
    let mut kqueues = KQUEUES.lock().expect("no panic holds it");
    act(kqueues.entry(inode).or_default())
}

fn inode(descriptor: BorrowedFd<'_>) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::File::from(descriptor.try_clone_to_owned()?);
    Ok(file.metadata()?.ino())
}

/// What a test does: `filter` of descriptor `ident` has something to tell. Whether anybody had registered it.
pub(crate) fn happen(kqueue: BorrowedFd<'_>, ident: usize, filter: i16, flags: u16) -> bool {
    with(kqueue, |knotes| match knotes.get_mut(&(ident, filter)) {
        Some(knote) => {
            knote.due = Some(flags | knote.due.unwrap_or(0));
            true
        }
        None => false,
    })
}

/// What a test does: the last descriptor of that number is closed, which takes out what was registered for it.
pub(crate) fn closed(kqueue: BorrowedFd<'_>, ident: usize) {
    with(kqueue, |knotes| {
        knotes.retain(|key, _| *key != (ident, EVFILT_READ) && *key != (ident, EVFILT_WRITE));
    });
}

/// kqueue(2).
pub(crate) unsafe fn kqueue() -> c_int {
    // SAFETY: the name is NUL-terminated.
    unsafe { libc::memfd_create(c"kqueue".as_ptr(), 0) }
}

/// kevent(2). Nothing happens while it waits; a wait without an end is a test that would hang.
pub(crate) unsafe fn kevent(
    kqueue: c_int,
    changes: *const kevent,
    changed: c_int,
    events: *mut kevent,
    room: c_int,
    timeout: *const libc::timespec,
) -> c_int {
    // SAFETY: the caller keeps it open.
    let kqueue = unsafe { BorrowedFd::borrow_raw(kqueue) };
    let changes: &[kevent] = match changed {
        0 => &[],
        // SAFETY: as the caller of kevent(2) says.
        _ => unsafe { slice::from_raw_parts(changes, changed as usize) },
    };
    for change in changes {
        if let Err(error) = with(kqueue, |knotes| register(knotes, change)) {
            // SAFETY: takes nothing.
            let place = unsafe { libc::__errno_location() };
            // SAFETY: the thread's own.
            unsafe { *place = error };
            return -1;
        }
    }
    let due = with(kqueue, |knotes| take_due(knotes, room as usize));
    assert!(
        room == 0 || !due.is_empty() || !timeout.is_null(),
        "a wait for what never comes"
    );
    for (at, event) in due.iter().enumerate() {
        // SAFETY: no more are due than there is room for.
        let place = unsafe { events.add(at) };
        // SAFETY: as above, and nobody else's.
        unsafe { *place = *event };
    }
    due.len() as c_int
}

/// `kqueue_register`: a knote that is there takes over `udata`.
fn register(knotes: &mut Knotes, change: &kevent) -> Result<(), c_int> {
    let is_user = change.filter == EVFILT_USER;
    if !is_user && !is_open(change.ident) {
        return Err(libc::EBADF);
    }
    let key = (change.ident, change.filter);
    if change.flags & EV_ADD == 0 && !knotes.contains_key(&key) {
        return Err(libc::ENOENT);
    }
    let knote = knotes.entry(key).or_insert(Knote {
        udata: 0,
        is_cleared: change.flags & EV_CLEAR != 0,
        due: None,
    });
    knote.udata = change.udata as usize;
    if is_user && change.fflags & NOTE_TRIGGER != 0 {
        knote.due = Some(0);
    }
    Ok(())
}

/// `kqueue_scan`: at most `room`; what has `EV_CLEAR` is told once.
fn take_due(knotes: &mut Knotes, room: usize) -> Vec<kevent> {
    let due = knotes.iter_mut().filter(|(_, knote)| knote.due.is_some());
    due.take(room)
        .map(|(&(ident, filter), knote)| {
            let flags = knote.due.unwrap_or(0) | EV_CLEAR;
            if knote.is_cleared {
                knote.due = None;
            }
            kevent {
                ident,
                filter,
                flags,
                fflags: 0,
                data: 0,
                udata: knote.udata as *mut c_void,
                ext: [0; 4],
            }
        })
        .collect()
}

fn is_open(descriptor: usize) -> bool {
    // SAFETY: takes no pointer.
    let flags = unsafe { libc::fcntl(descriptor as c_int, libc::F_GETFD) };
    flags >= 0
}

impl super::Poller {
    /// For [`happen`] and [`closed`].
    pub(super) fn queue(&self) -> BorrowedFd<'_> {
        // SAFETY: the poller owns it and outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.kqueue.as_raw_fd()) }
    }
}

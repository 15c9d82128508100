//! Linux: io_uring, and epoll where that is switched off.

use std::io;

use crate::reactor::driver::Driver;
use crate::reactor::readiness::ReadinessDriver;
use crate::reactor::table::Table;
use crate::reactor::{Backend, ReactorLimits};

pub(crate) const BACKENDS: &[Backend] = &[Backend::Epoll];

pub(crate) fn open(
    backend: Backend,
    limits: &ReactorLimits,
    _table: &Table,
) -> io::Result<Box<dyn Driver>> {
    match backend {
        Backend::Epoll => Ok(Box::new(ReadinessDriver::new(limits)?)),
        Backend::Uring | Backend::Kqueue => Err(io::ErrorKind::Unsupported.into()),
    }
}

//! Linux: io_uring, and epoll where that is switched off.

use std::io;

use crate::reactor::driver::Driver;
use crate::reactor::readiness::ReadinessDriver;
use crate::reactor::table::Table;
use crate::reactor::uring::UringDriver;
use crate::reactor::{Backend, ReactorLimits};

pub(crate) const BACKENDS: &[Backend] = &[Backend::Uring, Backend::Epoll];

pub(crate) fn open(
    backend: Backend,
    limits: &ReactorLimits,
    table: &Table,
) -> io::Result<Box<dyn Driver>> {
    match backend {
        Backend::Epoll => Ok(Box::new(ReadinessDriver::new(limits)?)),
        Backend::Uring => Ok(Box::new(UringDriver::new(limits, &table.memory)?)),
        Backend::Kqueue => Err(io::ErrorKind::Unsupported.into()),
    }
}

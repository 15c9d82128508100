//! FreeBSD: kqueue.

use std::io;

use crate::reactor::driver::Driver;
use crate::reactor::readiness::ReadinessDriver;
use crate::reactor::table::Table;
use crate::reactor::{Backend, ReactorLimits};

pub(crate) const BACKENDS: &[Backend] = &[Backend::Kqueue];

pub(crate) fn open(
    backend: Backend,
    limits: &ReactorLimits,
    _: &Table,
) -> io::Result<Box<dyn Driver>> {
    match backend {
        Backend::Kqueue => Ok(Box::new(ReadinessDriver::new(limits)?)),
        Backend::Uring | Backend::Epoll => Err(io::ErrorKind::Unsupported.into()),
    }
}

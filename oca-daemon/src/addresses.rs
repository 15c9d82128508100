//! Connections by address, over all workers: one viewer, or one NAT, must not take the places of all others.
//!
//! A table that never grows, without a lock: an address counts in one cell of each row, chosen by a keyed hash, and as many
//! connections are its own as its smallest cell says. Addresses that share a cell in every row count together, so a count may
//! be too high by a few, never too low.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::limits::{ADDRESS_CELLS, ADDRESS_ROWS};

/// How many connections each address has.
#[derive(Debug)]
pub struct Addresses {
    most: u32,
    rows: [Row; ADDRESS_ROWS],
}

#[derive(Debug)]
struct Row {
    keys: RandomState,
    cells: Box<[AtomicU32]>,
}

/// The cells in which a connection counts; give it back to [`Addresses::leave`] when the connection ends.
#[derive(Debug)]
pub struct Stay([u32; ADDRESS_ROWS]);

impl Addresses {
    /// At most `most` connections for each address.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            rows: std::array::from_fn(|_| Row {
                keys: RandomState::new(),
                cells: (0..ADDRESS_CELLS).map(|_| AtomicU32::new(0)).collect(),
            }),
        }
    }

    /// Counts one more connection of `address`, unless it has as many as it may.
    pub fn enter(&self, address: IpAddr) -> Option<Stay> {
        let site = site(address);
        let stay = Stay(std::array::from_fn(|row| {
            (self.rows[row].keys.hash_one(site) % ADDRESS_CELLS as u64) as u32
        }));
        let before = self.cells(&stay).map(|cell| cell.fetch_add(1, Relaxed));
        if before.min().is_some_and(|before| before >= self.most) {
            self.leave(stay);
            return None;
        }
        Some(stay)
    }

    /// The connection has ended.
    pub fn leave(&self, stay: Stay) {
        for cell in self.cells(&stay) {
            cell.fetch_sub(1, Relaxed);
        }
    }

    fn cells(&self, stay: &Stay) -> impl Iterator<Item = &AtomicU32> {
        let cells = self.rows.iter().zip(stay.0);
        cells.map(|(row, at)| &row.cells[at as usize])
    }
}

/// What counts as one address: in IPv6 the /64, which is what one subscriber has at least (RFC 6177).
fn site(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        // No IPv4 address has a bit up here, and the unspecified network has no viewers.
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_others_have_theirs() {
        let addresses = Addresses::new(2);
        let one = addresses.enter(address("192.0.2.1"));
        let two = addresses.enter(address("::ffff:192.0.2.1"));
        assert!(one.is_some() && two.is_some(), "mapped is the same");
        assert!(addresses.enter(address("192.0.2.1")).is_none());
        assert!(addresses.enter(address("192.0.2.2")).is_some());
        addresses.leave(one.unwrap());
        assert!(addresses.enter(address("192.0.2.1")).is_some());
        assert!(addresses.enter(address("192.0.2.1")).is_none());
    }

    #[test]
    fn a_subscriber_of_ipv6_is_its_64() {
        let addresses = Addresses::new(2);
        for last in 1..=2 {
            assert!(
                addresses
                    .enter(address(&format!("2001:db8::{last}")))
                    .is_some()
            );
        }
        assert!(addresses.enter(address("2001:db8::ffff:3")).is_none());
        assert!(addresses.enter(address("2001:db8:0:1::1")).is_some());
    }

    /// As many addresses as cells: hardly any counts too high.
    #[test]
    fn a_full_house_does_not_turn_strangers_away() {
        let addresses = Addresses::new(8);
        let turned_away = (0..ADDRESS_CELLS as u32)
            .map(|number| addresses.enter(IpAddr::from(number.to_be_bytes())))
            .filter(Option::is_none);
        assert_eq!(turned_away.count(), 0);
    }
}

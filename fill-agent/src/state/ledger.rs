//! What was done on the civil day, against the limits of a day.

use serde::{Deserialize, Serialize};

use super::{Cost, Kept};

/// Amounts of one civil day in the window's zone. Written before the deed, so a crash counts too much rather than too little.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The day, as in `2026-03-29`; empty before the first.
    pub day: String,
    /// Bytes that were evicted.
    pub evicted_bytes: u64,
    /// Bytes of urgent objects that were fetched outside the window.
    pub urgent_bytes: u64,
}

impl Kept for Ledger {
    const FILE: &'static str = "ledger.json";
    const COST: Cost = Cost::Filling(
        "forgets what was evicted and fetched as urgent today, so today's limits begin anew",
    );
}

impl Ledger {
    /// Begins anew with a new day. A clock that goes back a day begins nothing: the amounts of the later day stay.
    pub fn turn_to(&mut self, day: &str) {
        if self.day.as_str() < day {
            *self = Self {
                day: day.to_owned(),
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_budget_even_if_the_clock_goes_back() {
        let mut ledger = Ledger::default();
        ledger.turn_to("2026-03-29");
        ledger.evicted_bytes = 7;
        ledger.turn_to("2026-03-28");
        ledger.turn_to("2026-03-29");
        assert_eq!(ledger.evicted_bytes, 7);
        ledger.turn_to("2026-03-30");
        assert_eq!(ledger.evicted_bytes, 0);
    }
}

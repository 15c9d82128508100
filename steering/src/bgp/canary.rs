//! Whether a service address answers those who ask it from outside: three misses in a row say no, three answers in a row yes again.

use super::limits::{CANARY_FALL, CANARY_RISE};

/// What the questions have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Canary {
    is_lost: bool,
    /// In a row, of the other kind than is believed.
    contrary: u32,
}

impl Canary {
    /// Takes the end of one question.
    pub fn note(&mut self, is_answered: bool) {
        if is_answered != self.is_lost {
            self.contrary = 0;
            return;
        }
        self.contrary += 1;
        let needed = if self.is_lost {
            CANARY_RISE
        } else {
            CANARY_FALL
        };
        if self.contrary >= needed {
            *self = Self {
                is_lost: !self.is_lost,
                contrary: 0,
            };
        }
    }

    /// Whether the address does not answer.
    #[must_use]
    pub fn is_lost(self) -> bool {
        self.is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_change_it() {
        let mut canary = Canary::default();
        let mut after = |answers: &str| {
            let mut is_lost = String::new();
            for answer in answers.chars() {
                canary.note(answer == '+');
                is_lost.push(if canary.is_lost() { 'x' } else { '.' });
            }
            is_lost
        };
        assert_eq!(after("--+--+---"), "........x");
        assert_eq!(after("++-++-+++"), "xxxxxxxx.");
    }
}

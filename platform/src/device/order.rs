//! Whose read is next. Pure: no lock, no clock, no I/O.
//!
//! ```text
//! class       Viewer ▶ FillSource ▶ Repair     the better class first; one read of LOWER_CLASS_EVERY goes to a worse one that waits
//! requester   a ▶ b ▶ c ▶ a ▶ ...              within a class each requester in its turn, however many reads it has waiting
//! read        oldest first                     within a requester
//! ```
//! An entry may have become void while it waited (its read was begun for somebody else): it is passed over when its turn comes.

use std::collections::{HashMap, VecDeque};

use super::limits::LOWER_CLASS_EVERY;
use super::mailbox::Class;

pub(super) struct Order<T> {
    classes: [Turns<T>; Class::ALL.len()],
    /// Reads of other classes that were begun while this class waited.
    passed_over: [u32; Class::ALL.len()],
    length: usize,
}

/// The requesters of one class.
struct Turns<T> {
    waiting: HashMap<u64, VecDeque<T>>,
    /// Each requester of `waiting` once.
    next: VecDeque<u64>,
}

impl<T> Order<T> {
    pub(super) fn new() -> Self {
        Self {
            classes: std::array::from_fn(|_| Turns {
                waiting: HashMap::new(),
                next: VecDeque::new(),
            }),
            passed_over: [0; Class::ALL.len()],
            length: 0,
        }
    }

    pub(super) fn push(&mut self, class: Class, requester: u64, entry: T) {
        self.classes[class as usize].push(requester, entry);
        self.length += 1;
    }

    /// The next entry that is not void.
    pub(super) fn pop(&mut self, is_live: impl Fn(&T) -> bool) -> Option<T> {
        let due = |class: &usize| self.passed_over[*class] + 1 >= LOWER_CLASS_EVERY;
        let due = (1..self.classes.len()).rev().find(due);
        for class in due.into_iter().chain(0..self.classes.len()) {
            if let Some(entry) = self.pop_of(class, &is_live) {
                self.note(class);
                return Some(entry);
            }
        }
        None
    }

    fn pop_of(&mut self, class: usize, is_live: impl Fn(&T) -> bool) -> Option<T> {
        while let Some(entry) = self.classes[class].pop() {
            self.length -= 1;
            if is_live(&entry) {
                return Some(entry);
            }
        }
        None
    }

    fn note(&mut self, begun: usize) {
        for (class, passed_over) in self.passed_over.iter_mut().enumerate() {
            let waits = class != begun && !self.classes[class].next.is_empty();
            *passed_over = if waits { *passed_over + 1 } else { 0 };
        }
    }

    /// Entries, void ones among them.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Forgets void entries.
    pub(super) fn retain(&mut self, is_live: impl Fn(&T) -> bool) {
        self.length = 0;
        for class in &mut self.classes {
            class.waiting.retain(|_, entries| {
                entries.retain(&is_live);
                self.length += entries.len();
                !entries.is_empty()
            });
            class
                .next
                .retain(|requester| class.waiting.contains_key(requester));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}

impl<T> Turns<T> {
    fn push(&mut self, requester: u64, entry: T) {
        let entries = self.waiting.entry(requester).or_default();
        if entries.is_empty() {
            self.next.push_back(requester);
        }
        entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<T> {
        let requester = self.next.pop_front()?;
        let entries = self.waiting.get_mut(&requester)?;
        let entry = entries.pop_front();
        if entries.is_empty() {
            self.waiting.remove(&requester);
        } else {
            self.next.push_back(requester);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY: usize = LOWER_CLASS_EVERY as usize;

    fn drain(order: &mut Order<u32>) -> Vec<u32> {
        std::iter::from_fn(|| order.pop(|_| true)).collect()
    }

    #[test]
    fn requesters_take_turns_and_each_keeps_its_order() {
        let mut order = Order::new();
        (0..4).for_each(|read| order.push(Class::Viewer, 1, read));
        order.push(Class::Viewer, 2, 20);
        order.push(Class::Viewer, 3, 30);
        order.push(Class::Viewer, 2, 21);
        assert_eq!(drain(&mut order), [0, 20, 30, 1, 21, 2, 3]);
    }

    #[test]
    fn a_worse_class_waits_but_not_for_ever() {
        let mut order = Order::new();
        order.push(Class::Repair, 1, 1_000);
        order.push(Class::FillSource, 1, 2_000);
        (0..100).for_each(|read| order.push(Class::Viewer, 1, read));
        let drained = drain(&mut order);
        let place = |read: u32| drained.iter().position(|it| *it == read).unwrap();
        assert_eq!(place(1_000), EVERY - 1);
        assert_eq!(place(2_000), EVERY);
    }

    #[test]
    fn viewers_keep_all_but_the_guaranteed_shares() {
        let mut order = Order::new();
        for read in 0..10_000 {
            Class::ALL
                .iter()
                .for_each(|class| order.push(*class, 1, (*class, read)));
        }
        let begun: Vec<_> = (0..1_000).map(|_| order.pop(|_| true).unwrap().0).collect();
        let share = |class| begun.iter().filter(|it| **it == class).count();
        assert!(share(Class::Viewer) >= 1_000 - 2 * (1_000 / EVERY) - 2);
        for class in [Class::FillSource, Class::Repair] {
            assert!(share(class) >= 1_000 / EVERY - 2, "{}", share(class));
        }
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Push(u8, u64),
        Pop,
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            3 => (0..3u8, 0..5u64).prop_map(|(class, requester)| Deed::Push(class, requester)),
            2 => Just(Deed::Pop),
        ];
        prop::collection::vec(deed, 0..300)
    }

    proptest! {
        /// Nothing is lost, nothing comes twice, a requester's reads stay in order, and between two reads of one requester no
        /// other requester of its class that waited all the while is left out.
        #[test]
        fn every_entry_comes_once_and_in_turn(deeds in deeds(), void in 2..9usize) {
            let mut order = Order::new();
            let live = |entry: &(Class, u64, usize)| !entry.2.is_multiple_of(void);
            let (mut pushed, mut popped) = (Vec::new(), Vec::new());
            for (number, deed) in deeds.into_iter().enumerate() {
                match deed {
                    Deed::Push(class, requester) => {
                        let class = Class::ALL[class as usize];
                        order.push(class, requester, (class, requester, number));
                        pushed.push((class, requester, number));
                    }
                    Deed::Pop => popped.extend(order.pop(live)),
                }
            }
            order.retain(live);
            let left = pushed.iter().filter(|it| live(it)).count() - popped.len();
            prop_assert_eq!(order.len(), left);
            popped.extend(std::iter::from_fn(|| order.pop(live)));
            let mut expected: Vec<_> = pushed.into_iter().filter(live).collect();
            for (at, read) in popped.iter().enumerate() {
                let later = &popped[at + 1..];
                let same = |it: &&(Class, u64, usize)| (it.0, it.1) == (read.0, read.1);
                prop_assert!(later.iter().filter(same).all(|it| it.2 > read.2));
            }
            popped.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(popped, expected);
        }

        /// However many reads one requester has waiting, another one's first read is at most one turn away.
        #[test]
        fn a_crowd_delays_another_by_one_turn(crowd in 1..500u32, requesters in 1..20u64) {
            let mut order = Order::new();
            for read in 0..crowd {
                (0..requesters).for_each(|requester| order.push(Class::Viewer, requester, read));
            }
            order.push(Class::Viewer, 99, u32::MAX);
            let place = std::iter::from_fn(|| order.pop(|_| true)).position(|read| read == u32::MAX);
            prop_assert_eq!(place, Some(requesters as usize));
        }
    }
}

//! What decides how an exchange goes.

/// Where the choices come from.
pub(crate) trait Tape {
    /// A number up to `most`: how much of something happens.
    fn draw(&mut self, most: usize) -> usize;

    /// Whether the peer goes away now.
    fn leaves(&mut self) -> bool {
        false
    }

    /// Whether a device cannot give what was read.
    fn fails(&mut self) -> bool {
        false
    }
}

/// Everything at once, as on a good day.
pub(crate) struct Greedy;

impl Tape for Greedy {
    fn draw(&mut self, most: usize) -> usize {
        most
    }
}

/// Bytes that say how it goes, again and again.
pub(crate) struct Written<'a> {
    bytes: &'a [u8],
    at: usize,
    mood: Mood,
}

/// What may happen beside what always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fair,
    PeerLeaves,
    DeviceFails,
}

impl<'a> Written<'a> {
    pub(crate) fn new(bytes: &'a [u8], mood: Mood) -> Self {
        Self { bytes, at: 0, mood }
    }
}

impl Written<'_> {
    fn next(&mut self) -> usize {
        self.at += 1;
        let byte = self.bytes.get(self.at % self.bytes.len().max(1));
        byte.map_or(0, |byte| usize::from(*byte))
    }
}

impl Tape for Written<'_> {
    fn draw(&mut self, most: usize) -> usize {
        let byte = self.next();
        // Often all or almost nothing, as sockets do.
        match byte % 4 {
            0 => most,
            1 => most.min(1 + byte / 4 % 7),
            _ => most * byte / 256,
        }
    }

    fn leaves(&mut self) -> bool {
        self.mood == Mood::PeerLeaves && self.next() == 255
    }

    fn fails(&mut self) -> bool {
        self.mood == Mood::DeviceFails && self.next().is_multiple_of(4)
    }
}

/// So much and no more.
pub(crate) struct Little(pub(crate) usize);

impl Tape for Little {
    fn draw(&mut self, most: usize) -> usize {
        most.min(self.0)
    }
}

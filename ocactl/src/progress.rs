//! How far a long command is: a bar on a terminal, nothing elsewhere. What is said meanwhile does not break the bar.

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts bytes, or things of which it is not known how many there are.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For so many bytes to read in all.
    pub(crate) fn new(bytes: u64) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let style = ProgressStyle::with_template(
            "{bar:30} {percent:>3} %  {binary_bytes_per_sec}  {eta} left  {wide_msg}",
        );
        bar.set_style(style.expect("the template is a constant"));
        Self { bar }
    }

    /// So many bytes are to be read, as it turns out.
    pub(crate) fn expect(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    /// For things of a kind, until there are no more.
    pub(crate) fn of(things: &str) -> Self {
        let progress = Self::new(0);
        progress.bar.unset_length();
        let style = ProgressStyle::with_template("{spinner} {pos} {msg}");
        progress
            .bar
            .set_style(style.expect("the template is a constant"));
        progress.bar.set_message(things.to_owned());
        progress
    }

    /// Begins with something.
    pub(crate) fn name(&self, step: &str, file: &Path) {
        let name = file.file_name().unwrap_or_default().display();
        self.bar.set_message(format!("{step} {name}"));
    }

    /// So much is done.
    pub(crate) fn jump_to(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Says something on standard error.
    pub(crate) fn say(&self, words: &str) {
        self.bar.suspend(|| eprintln!("ocactl: {words}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

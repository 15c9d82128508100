//! The ustar format of POSIX.1-1988 (pax(1), "ustar Interchange Format"), as far as small texts need it.

use std::io::{self, Write};

use super::Member;

const BLOCK: usize = 512;

/// The folder that all lies in.
const FOLDER: &str = "oca-support/";

/// Writes all members; returns the length of it all.
pub(super) fn write(to: impl Write, members: &[Member], now: u64) -> io::Result<u64> {
    let mut to = io::BufWriter::new(to);
    let mut written = 0;
    for member in members {
        let body = member.text.as_bytes();
        to.write_all(&header(&member.name, body.len(), now))?;
        to.write_all(body)?;
        let padding = body.len().next_multiple_of(BLOCK) - body.len();
        to.write_all(&[0; BLOCK][..padding])?;
        written += BLOCK + body.len() + padding;
    }
    to.write_all(&[0; 2 * BLOCK])?;
    to.flush()?;
    Ok((written + 2 * BLOCK) as u64)
}

fn header(name: &str, length: usize, now: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, &format!("{FOLDER}{name}"));
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{length:011o}"));
    put(136, &format!("{now:011o}"));
    // The sum is made with blanks in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

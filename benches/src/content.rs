//! Files that every server serves: bytes that no compression or deduplication can shorten, in memory and written back.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::load::{Object, Random};

/// How many files there are, and how long each is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) files: u32,
    pub(crate) bytes: u64,
}

/// Writes `shape.files` files into `folder`, and waits until the disk has them: writing back must not run beside a measurement.
pub(crate) fn make(folder: &Path, shape: Shape) -> Result<Vec<Object>> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    (0..shape.files)
        .map(|number| {
            let name = format!("{number:03}.mp4");
            let path = folder.join(&name);
            write(&path, u64::from(number) + 1, shape.bytes)
                .with_context(|| path.display().to_string())?;
            Ok(Object {
                path: format!("/{name}"),
                file: Some(path),
                size: shape.bytes,
            })
        })
        .collect()
}

fn write(path: &Path, seed: u64, bytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut random = Random::new(seed);
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes());
        }
        let length = left.min(block.len() as u64) as usize;
        file.write_all(&block[..length])?;
        left -= length as u64;
    }
    file.sync_all()?;
    Ok(())
}

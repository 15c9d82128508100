//! What is watched: titles in a few renditions, the first one the most popular.
//!
//! The bytes of a rendition have no bit rate of their own: a segment is as many bytes as its play-out takes at the rate of the
//! run, so the same titles serve all of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::content;
use crate::load::{Object, Random, Range};

/// Bit rates of the renditions, in quarters of the best one's.
const QUARTERS: [u64; RENDITIONS] = [1, 2, 4];
pub(super) const RENDITIONS: usize = 3;
pub(super) const BEST: usize = RENDITIONS - 1;

/// The rate of a rendition against the best one's.
pub(super) fn relative_rate(rendition: usize) -> f64 {
    QUARTERS[rendition] as f64 / QUARTERS[BEST] as f64
}

pub(super) struct Titles {
    titles: Vec<[Object; RENDITIONS]>,
    /// How likely it is that a viewer wants this title or one before it.
    cumulative: Vec<f64>,
}

impl Titles {
    /// Writes `count` titles; the best rendition of each has `best_bytes`. The n-th title is wanted 1/n times as often as the first:
    /// Zipf's law with the exponent 1.
    pub(super) fn make(folder: &Path, count: u32, best_bytes: u64) -> Result<Self> {
        let mut renditions = Vec::new();
        for quarters in QUARTERS {
            let name = format!("{quarters}of{}", QUARTERS[BEST]);
            let shape = content::Shape {
                files: count,
                bytes: best_bytes * quarters / QUARTERS[BEST],
            };
            let objects = content::make(&folder.join(&name), shape)?;
            renditions.push(objects.into_iter().map(move |object| Object {
                path: format!("/{name}{}", object.path),
                ..object
            }));
        }
        let mut titles = Vec::new();
        while let Some(title) = renditions.iter_mut().map(Iterator::next).collect() {
            let title: Vec<Object> = title;
            titles.extend(<[Object; RENDITIONS]>::try_from(title).ok());
        }
        Ok(Self::of(titles))
    }

    pub(super) fn of(titles: Vec<[Object; RENDITIONS]>) -> Self {
        let weights = (1..=titles.len()).map(|rank| 1.0 / rank as f64);
        let whole: f64 = weights.clone().sum();
        let cumulative = weights.scan(0.0, |sum, weight| {
            *sum += weight / whole;
            Some(*sum)
        });
        Self {
            cumulative: cumulative.collect(),
            titles,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.titles.len()
    }

    /// All renditions of the `count` most popular titles.
    pub(super) fn most_popular(&self, count: usize) -> Vec<Object> {
        self.titles.iter().take(count).flatten().cloned().collect()
    }

    /// Which title a viewer turns to.
    pub(super) fn choose(&self, random: &mut Random) -> usize {
        let place = random.share();
        let after = self.cumulative.partition_point(|&sum| sum <= place);
        after.min(self.titles.len() - 1)
    }

    /// How many whole segments every title has.
    ///
    /// Errors: a title that is shorter than one.
    pub(super) fn segments(&self, best_segment_bytes: u64) -> Result<u64> {
        let shortest = self.titles.iter().map(|title| title[BEST].size).min();
        let segments = shortest.unwrap_or(0) / best_segment_bytes;
        ensure!(
            segments > 0,
            "titles are shorter than a segment of {best_segment_bytes} bytes"
        );
        Ok(segments)
    }

    pub(super) fn segment(
        &self,
        title: usize,
        rendition: usize,
        number: u64,
        best_segment_bytes: u64,
    ) -> Range<'_> {
        let length = best_segment_bytes * QUARTERS[rendition] / QUARTERS[BEST];
        Range {
            object: &self.titles[title][rendition],
            offset: number * length,
            length,
        }
    }
}

/// Bytes of a segment of the best rendition.
pub(super) fn segment_bytes(bits_per_second: u64, segment: Duration) -> u64 {
    (bits_per_second as f64 / 8.0 * segment.as_secs_f64()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(count: usize) -> Titles {
        let object = |size| Object {
            path: "/x".into(),
            file: None,
            size,
        };
        Titles::of(vec![[object(250), object(500), object(1000)]; count])
    }

    #[test]
    fn the_nth_title_is_wanted_one_nth_as_often() {
        let titles = titles(4);
        let mut random = Random::new(7);
        let mut wanted = [0_u32; 4];
        for _ in 0..25_000 {
            wanted[titles.choose(&mut random)] += 1;
        }
        for (rank, times) in wanted.iter().enumerate() {
            let expected = 12_000 / (rank as u32 + 1);
            assert!(times.abs_diff(expected) < 400, "{wanted:?}");
        }
    }

    #[test]
    fn every_segment_of_every_rendition_lies_within_its_file() {
        let titles = titles(1);
        assert_eq!(titles.segments(300).unwrap(), 3);
        assert!(titles.segments(1001).is_err());
        for rendition in 0..RENDITIONS {
            let last = titles.segment(0, rendition, 2, 300);
            assert_eq!(last.length as f64, 300.0 * relative_rate(rendition));
            assert!(last.offset + last.length <= last.object.size);
        }
    }

    #[test]
    fn a_segment_is_as_long_as_its_play_out_takes() {
        assert_eq!(segment_bytes(5_000_000, Duration::from_secs(4)), 2_500_000);
    }

    #[test]
    fn titles_are_written_in_all_renditions() {
        let folder = tempfile::tempdir().unwrap();
        let titles = Titles::make(folder.path(), 2, 4096).unwrap();
        assert_eq!(titles.count(), 2);
        for object in titles.most_popular(2) {
            let file = folder.path().join(&object.path[1..]);
            assert_eq!(file.metadata().unwrap().len(), object.size);
        }
    }
}

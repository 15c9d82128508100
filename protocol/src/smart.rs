//! What a disk says of its own wear, as `smartctl --json --all` of smartmontools 7.0 and newer prints it: NVMe, SATA and SAS.
//!
//! Only what a disk has lost, or what its maker says is used up, is a warning. Counts that every old disk has (reallocated sectors,
//! grown defects) are one when the disk itself finds them too many. Fields that are missing or odd are not known, and nothing else.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// From this part of the rated endurance on, in percent, a disk is to be replaced before long: at one percent in ten days, as disks wear
/// that are rewritten every week, 100 days are left.
pub const USED_PERCENT: u64 = 90;

/// Characters of a disk's, or an attribute's, name; ATA and SCSI give a model 40 and less.
const NAME_CHARS: usize = 80;

/// Rows of the table of attributes (ATA/ATAPI-5, table 52: 30 of 12 bytes each).
const ATTRIBUTES: usize = 30;

/// One disk, at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// As the kernel calls it: `sda`, `nvme0` or `nvme0n1`.
    pub name: String,
    /// As its maker calls it; may be empty.
    pub model: String,
    /// When it was asked, in seconds since 1970.
    pub as_of: u64,
    /// How much of its rated endurance is used; may be more than 100.
    pub used_percent: Option<u64>,
    /// What is wrong with it, each in a few words; none if nothing is.
    pub warnings: Vec<String>,
}

/// Not such a document.
#[derive(Debug, thiserror::Error)]
pub enum NotSmart {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// `device.name` or `local_time.time_t` is missing: smartctl could not open a disk, or it is of something else.
    #[error("no {0} in it: not what smartctl --json --all prints of a disk")]
    Missing(&'static str),
}

impl Disk {
    /// Reads what smartctl has printed.
    ///
    /// # Errors
    /// [`NotSmart`]; nothing in a document can panic.
    pub fn read(json: &[u8]) -> Result<Self, NotSmart> {
        let document = Document(serde_json::from_slice(json)?);
        let path = document.text("/device/name").unwrap_or_default();
        let name = path.rsplit('/').next().map(printable);
        let name = name.filter(|name| !name.is_empty());
        let as_of = document.number("/local_time/time_t");
        Ok(Self {
            name: name.ok_or(NotSmart::Missing("device.name"))?,
            model: printable(document.text("/model_name").unwrap_or_default()),
            as_of: as_of.ok_or(NotSmart::Missing("local_time.time_t"))?,
            used_percent: document.used_percent(),
            warnings: document.warnings(),
        })
    }

    /// Whether it is the disk `name` of the kernel: an NVMe disk is asked under the name of its controller.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.name.as_str());
        let is_namespace = |rest: &str| {
            let number = rest.strip_prefix('n').unwrap_or_default();
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        };
        let is_controller = self.name.starts_with("nvme");
        rest.is_some_and(|rest| rest.is_empty() || is_controller && is_namespace(rest))
    }
}

struct Document(Value);

impl Document {
    fn text(&self, at: &str) -> Option<&str> {
        self.0.pointer(at)?.as_str()
    }

    fn number(&self, at: &str) -> Option<u64> {
        number(self.0.pointer(at)?)
    }

    /// In the words of NVMe, of smartctl 7.4 for all kinds, and of SAS.
    fn used_percent(&self) -> Option<u64> {
        let places = [
            "/nvme_smart_health_information_log/percentage_used",
            "/endurance_used/current_percent",
            "/scsi_percentage_used_endurance_indicator",
        ];
        places.iter().find_map(|at| self.number(at))
    }

    fn warnings(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.0.pointer("/smart_status/passed") == Some(&Value::Bool(false)) {
            said.push("its self-assessment has failed: replace it".to_owned());
        }
        if let Some(used) = self.used_percent().filter(|used| *used >= USED_PERCENT) {
            said.push(format!("{used} % of its rated endurance is used"));
        }
        self.add_nvme(&mut said);
        self.add_ata(&mut said);
        said
    }

    /// NVM Express Base Specification 1.4, figure 194.
    fn add_nvme(&self, said: &mut Vec<String>) {
        const BITS: [&str; 5] = [
            "its spare blocks are used up",
            "it is too hot or too cold",
            "it is not reliable any more",
            "it takes no writes any more",
            "its memory is not kept when power fails",
        ];
        let warning = self.number("/nvme_smart_health_information_log/critical_warning");
        let is_set = |bit: usize| warning.is_some_and(|warning| (warning >> bit) & 1 == 1);
        let set = BITS.iter().enumerate().filter(|(bit, _)| is_set(*bit));
        said.extend(set.map(|(_, words)| (*words).to_owned()));
        let lost = self.number("/nvme_smart_health_information_log/media_errors");
        said.extend(
            lost.filter(|lost| *lost > 0)
                .map(|lost| format!("{lost} times it could not give what was written to it")),
        );
    }

    /// Attributes that count data that is lost, and those that the disk finds worse than its maker allows.
    fn add_ata(&self, said: &mut Vec<String>) {
        let table = self.0.pointer("/ata_smart_attributes/table");
        let rows = table.and_then(Value::as_array).into_iter().flatten();
        for row in rows.take(ATTRIBUTES) {
            let name = row.get("name").and_then(Value::as_str).unwrap_or("?");
            let name = printable(name);
            let lost = match row.get("id").and_then(Value::as_u64) {
                Some(187) => "reads that it could not correct",
                Some(197) => "sectors that it cannot read",
                Some(198) => "sectors that it found unreadable by itself",
                _ => "",
            };
            let count = row.pointer("/raw/value").and_then(number).unwrap_or(0);
            if !lost.is_empty() && count > 0 {
                said.push(format!("{count} {lost}"));
            }
            if row.get("when_failed").and_then(Value::as_str) == Some("now") {
                said.push(format!("{name} is worse than its maker allows"));
            }
        }
    }
}

/// What a disk calls something, fit for a line: a log or a terminal shows it.
fn printable(name: &str) -> String {
    let characters = name.chars().filter(|it| !it.is_control());
    characters.take(NAME_CHARS).collect()
}

/// Counters of 128 bits may come as a number that is none of 64 bits.
fn number(value: &Value) -> Option<u64> {
    let large = || value.as_f64().filter(|it| *it >= 0.0).map(|it| it as u64);
    value.as_u64().or_else(large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(more: &str) -> Disk {
        let text = format!(
            "{{\"json_format_version\": [1, 0], \"device\": {{\"name\": \"/dev/nvme0\", \"type\": \"nvme\"}}, \
             \"model_name\": \"MODEL\", \"local_time\": {{\"time_t\": 1790000000}}, {more}}}"
        );
        Disk::read(text.as_bytes()).unwrap()
    }

    fn nvme(warning: u64, used: u64, errors: &str) -> Disk {
        read(&format!(
            "\"smart_status\": {{\"passed\": {}, \"nvme\": {{\"value\": {warning}}}}}, \
             \"nvme_smart_health_information_log\": {{\"critical_warning\": {warning}, \"temperature\": 35, \
             \"available_spare\": 99, \"available_spare_threshold\": 10, \"percentage_used\": {used}, \"media_errors\": {errors}}}",
            warning == 0
        ))
    }

    #[test]
    fn nvme_disks_tell_of_wear_spare_and_loss() {
        let well = nvme(0, 3, "0");
        assert_eq!(
            (well.name.as_str(), well.as_of, well.used_percent),
            ("nvme0", 1_790_000_000, Some(3))
        );
        assert!(well.warnings.is_empty() && nvme(0, 89, "0").warnings.is_empty());
        let worn = nvme(0, 90, "0").warnings;
        assert_eq!(worn, ["90 % of its rated endurance is used"]);
        let lost = nvme(0, 3, "7").warnings;
        assert_eq!(lost, ["7 times it could not give what was written to it"]);
        assert_eq!(nvme(0, 3, "1e30").warnings.len(), 1, "more than 64 bits");
        assert_eq!(
            nvme(0b1001, 120, "0").warnings,
            [
                "its self-assessment has failed: replace it",
                "120 % of its rated endurance is used",
                "its spare blocks are used up",
                "it takes no writes any more",
            ]
        );
    }

    #[test]
    fn sata_disks_tell_of_what_they_cannot_read() {
        let row = |id: u64, name: &str, failed: &str, raw: u64| {
            format!(
                "{{\"id\": {id}, \"name\": \"{name}\", \"value\": 100, \"worst\": 100, \"thresh\": 10, \"when_failed\": \"{failed}\", \
                 \"raw\": {{\"value\": {raw}, \"string\": \"{raw}\"}}}}"
            )
        };
        let rows = |rows: &[String]| {
            let rows = rows.join(", ");
            read(&format!(
                "\"ata_smart_attributes\": {{\"revision\": 10, \"table\": [{rows}]}}"
            ))
            .warnings
        };
        let old = [
            row(1, "Raw_Read_Error_Rate", "", 199_781_349),
            row(5, "Reallocated_Sector_Ct", "", 8),
            row(197, "Current_Pending_Sector", "", 0),
        ];
        assert!(rows(&old).is_empty(), "as every old disk");
        let ill = [
            row(5, "Reallocated_Sector_Ct", "now", 4000),
            row(197, "Current_Pending_Sector", "", 16),
            row(198, "Offline_Uncorrectable", "past", 2),
        ];
        assert_eq!(
            rows(&ill),
            [
                "Reallocated_Sector_Ct is worse than its maker allows",
                "16 sectors that it cannot read",
                "2 sectors that it found unreadable by itself",
            ]
        );
    }

    #[test]
    fn sas_disks_tell_by_their_self_assessment_and_endurance() {
        let well = read("\"smart_status\": {\"passed\": true}, \"scsi_grown_defect_list\": 56");
        assert!(well.warnings.is_empty());
        let worn = read(
            "\"smart_status\": {\"passed\": false}, \"scsi_percentage_used_endurance_indicator\": 97",
        );
        assert_eq!(worn.warnings.len(), 2);
        assert_eq!(
            read("\"endurance_used\": {\"current_percent\": 12}").used_percent,
            Some(12)
        );
    }

    #[test]
    fn what_a_disk_calls_itself_is_one_short_line() {
        let name = format!("x\\u001b[2J\\n{}", "y".repeat(100));
        let row = format!("{{\"name\": \"{name}\", \"when_failed\": \"now\"}}");
        let rows = vec![row; 100].join(", ");
        let disk = Disk::read(
            format!(
                "{{\"device\": {{\"name\": \"/dev/{name}\"}}, \"model_name\": \"{name}\", \"local_time\": {{\"time_t\": 1}}, \
                 \"ata_smart_attributes\": {{\"table\": [{rows}]}}}}"
            )
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(disk.warnings.len(), 30);
        let words = [&disk.name, &disk.model, &disk.warnings[0]];
        assert!(
            words
                .iter()
                .all(|it| it.starts_with("x[2Jyy") && it.len() < 140)
        );
    }

    #[test]
    fn a_disk_is_found_under_the_name_of_its_controller() {
        let of = |name: &str| Disk {
            name: name.into(),
            ..nvme(0, 0, "0")
        };
        let table = [
            ("nvme1", "nvme1n1", true),
            ("nvme1", "nvme1n12", true),
            ("nvme1", "nvme11n1", false),
            ("nvme1", "nvme1", true),
            ("nvme1n1", "nvme1n1", true),
            ("nvme1n1", "nvme1n12", false),
            ("sda", "sda", true),
            ("sda", "sdan1", false),
            ("sda", "sdab", false),
        ];
        for (asked, kernel, same) in table {
            assert_eq!(of(asked).is(kernel), same, "{asked} {kernel}");
        }
    }

    #[test]
    fn what_is_no_answer_of_a_disk_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "{\"device\": {\"name\": 7}, \"local_time\": {\"time_t\": 1}}",
            "{\"device\": {\"name\": \"/dev/sda\"}}",
            "{\"device\": {\"name\": \"/dev/\"}, \"local_time\": {\"time_t\": 1}}",
            "{\"smartctl\": {\"exit_status\": 2, \"messages\": [{\"string\": \"Permission denied\"}]}}",
        ] {
            assert!(Disk::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(
            read("\"ata_smart_attributes\": {\"table\": [3, {}, {\"id\": \"x\"}]}")
                .warnings
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..300_usize, with in any::<u8>()) {
            let _ = Disk::read(&bytes);
            let mut text = serde_json::to_vec(&nvme(0, 3, "0")).unwrap();
            if let Some(byte) = text.get_mut(at) {
                *byte = with;
            }
            let _ = Disk::read(&text);
        }
    }
}

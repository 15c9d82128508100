//! A [`Record`] in, a line of JSON out. The names are documented in docs/operate.md.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::record::{End, Record};
use crate::cmcd::Cmcd;
use crate::limits::{LOG_AGENT_BYTES, LOG_METHOD_BYTES, LOG_PATH_BYTES, LOG_RANGE_BYTES};
use crate::text::Text;
use crate::tls::Agreed;

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    pub(super) fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// What the clock on the wall showed at `then`, or will show.
    fn wall_at(&self, then: Instant) -> SystemTime {
        self.wall - self.steady.saturating_duration_since(then)
            + then.saturating_duration_since(self.steady)
    }
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "rfc_3339")]
    time: SystemTime,
    client: IpAddr,
    connection: String,
    method: &'a Text<LOG_METHOD_BYTES>,
    path: &'a Text<LOG_PATH_BYTES>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    range: &'a Text<LOG_RANGE_BYTES>,
    status: u16,
    end: End,
    bytes: u64,
    memory_bytes: u64,
    device_bytes: u64,
    duration_s: f64,
    first_byte_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paced_bps: Option<u64>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    user_agent: &'a Text<LOG_AGENT_BYTES>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Secured>,
    #[serde(skip_serializing_if = "Cmcd::is_empty")]
    cmcd: &'a Cmcd,
}

/// How the connection was secured.
#[derive(Serialize)]
struct Secured {
    version: &'static str,
    suite: &'static str,
    resumed: bool,
    path: &'static str,
}

impl Secured {
    fn of(agreed: Agreed) -> Self {
        Self {
            version: agreed.suite.version(),
            suite: agreed.suite.name(),
            resumed: agreed.is_resumed,
            path: agreed.path.label(),
        }
    }
}

/// Adds the line of `record` to `lines`.
pub(super) fn write(lines: &mut Vec<u8>, record: &Record, clocks: Clocks) {
    let answered = &record.answered;
    let line = Line {
        time: clocks.wall_at(answered.started),
        client: record.viewer.address,
        connection: format!("{}-{}", record.viewer.worker, record.viewer.connection),
        method: &record.method,
        path: &record.path,
        range: &record.range,
        status: answered.status,
        end: answered.end,
        bytes: answered.body_bytes,
        memory_bytes: record.memory_bytes,
        device_bytes: answered.body_bytes - record.memory_bytes,
        duration_s: seconds(answered.duration),
        first_byte_s: record.first_byte.map(seconds),
        paced_bps: record.pace.map(|rate| rate.bits_per_second()),
        user_agent: &record.user_agent,
        tls: record.viewer.tls.map(Secured::of),
        cmcd: &record.cmcd,
    };
    let length = lines.len();
    match serde_json::to_writer(&mut *lines, &line) {
        Ok(()) => lines.push(b'\n'),
        // Nothing in it can fail; half a line would spoil the next one.
        Err(_) => lines.truncate(length),
    }
}

/// To the microsecond: what lies below is noise.
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

fn rfc_3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = Timestamp::try_from(*time).unwrap_or_default();
    serializer.collect_str(&format_args!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Answered, Viewer};
    use super::*;
    use crate::pacing::Rate;
    use crate::request::{Parsed, parse};

    fn viewer() -> Viewer {
        Viewer {
            worker: 1,
            connection: 48_213,
            address: [203, 0, 113, 0].into(),
            tls: None,
        }
    }

    fn shown(record: &Record, clocks: Clocks) -> String {
        let mut lines = b"before\n".to_vec();
        write(&mut lines, record, clocks);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn everything_that_is_known_stands_in_one_line() {
        let steady = Instant::now();
        let clocks = Clocks {
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(1_784_628_000_999),
            steady,
        };
        let head = b"GET /film/seg-1.m4s?CMCD=br%3D3200%2Csid%3D%22a%22 HTTP/1.1\r\nHost: a\r\n\
                     Range: bytes=0-9\r\nUser-Agent: curl/8\r\n\r\n";
        let Parsed::Complete(request, _) = parse(head) else {
            panic!("a request")
        };
        let mut record = Record::default();
        let mut cmcd = Cmcd::default();
        assert!(cmcd.read_field(b"br=3200,sid=\"a\""));
        record.of_request(viewer(), &request, cmcd);
        record.answered = Answered {
            started: steady - Duration::from_millis(1500),
            duration: Duration::from_micros(1_250_001),
            status: 206,
            body_bytes: 10,
            end: End::Complete,
        };
        record.first_byte = Some(Duration::from_micros(312));
        record.memory_bytes = 4;
        record.pace = Rate::from_bits_per_second(4_800_000);
        assert_eq!(
            shown(&record, clocks),
            "before\n{\"time\":\"2026-07-21T09:59:59.499Z\",\"client\":\"203.0.113.0\",\"connection\":\"1-48213\",\
             \"method\":\"GET\",\"path\":\"/film/seg-1.m4s\",\"range\":\"bytes=0-9\",\"status\":206,\
             \"end\":\"complete\",\"bytes\":10,\"memory_bytes\":4,\"device_bytes\":6,\"duration_s\":1.250001,\
             \"first_byte_s\":0.000312,\"paced_bps\":4800000,\"user_agent\":\"curl/8\",\
             \"cmcd\":{\"br\":3200,\"sid\":\"a\"}}\n"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_or_null() {
        let mut record = Record::default();
        record.of_input(viewer(), b"\x16\x03\x01");
        let line = shown(&record, Clocks::now());
        let rest = line.split_once("\"client\":").unwrap().1;
        assert_eq!(
            rest,
            "\"203.0.113.0\",\"connection\":\"1-48213\",\"method\":\"\u{fffd}\u{fffd}\u{fffd}\",\"path\":\"\",\"status\":0,\
             \"end\":\"peer\",\"bytes\":0,\"memory_bytes\":0,\"device_bytes\":0,\"duration_s\":0.0,\"first_byte_s\":null}\n"
        );
    }
}

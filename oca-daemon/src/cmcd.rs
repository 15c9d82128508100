//! Common Media Client Data (CTA-5004, version 1): what a player says of itself with a request, in the query (`CMCD=...`) or in four
//! fields of the head. Bytes in, [`Cmcd`] out. Pure, allocates nothing; for the log and for pacing, never for the look-up.
//!
//! The grammar is that of a dictionary of RFC 8941 without parameters: `br=3200,bs,sid="6e2f"`. A key that is not known is no error
//! (section 2: later versions and custom keys). A value that is not what its key wants is left out.

use serde::Serialize;

use crate::limits::{CMCD_ID_BYTES, HEAD_BYTES};
use crate::request::{Beside, decode_value};
use crate::text::Text;

/// What a player said. The names are those of the standard.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cmcd {
    /// Bitrate of the object, kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub br: Option<u32>,
    /// Length of the buffer, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bl: Option<u32>,
    /// The buffer was starved since the last request.
    #[serde(skip_serializing_if = "is_false")]
    pub bs: bool,
    /// What is played.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub cid: Text<CMCD_ID_BYTES>,
    /// Duration of the object, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d: Option<u32>,
    /// Time until the object is needed, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dl: Option<u32>,
    /// Throughput that the player measured, kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtp: Option<u32>,
    /// Kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ot: Option<&'static str>,
    /// Speed of playing: 1 is real time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pr: Option<f32>,
    /// Throughput that the player asks to be held to, kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtp: Option<u32>,
    /// Streaming format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sf: Option<&'static str>,
    /// The session.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub sid: Text<CMCD_ID_BYTES>,
    /// Live or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub st: Option<&'static str>,
    /// The object is needed at once: start, seek, or an empty buffer.
    #[serde(skip_serializing_if = "is_false")]
    pub su: bool,
    /// The highest bitrate that could be played, kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tb: Option<u32>,
    /// Version of the standard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v: Option<u32>,
}

/// Manifest, audio, video, both, init segment, caption, timed text, key, other.
const OBJECT_TYPES: [&str; 9] = ["m", "a", "v", "av", "i", "c", "tt", "k", "o"];
/// DASH, HLS, Smooth Streaming, other.
const FORMATS: [&str; 4] = ["d", "h", "s", "o"];
/// Video on demand, live.
const STREAM_TYPES: [&str; 2] = ["v", "l"];

impl Cmcd {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads what a request says, in whichever way. Returns whether all of it could be read.
    pub fn read(&mut self, request: &Beside<'_>, scratch: &mut [u8; HEAD_BYTES]) -> bool {
        let query = self.read_query(request.query, scratch);
        let fields = request.cmcd.iter().map(|field| self.read_field(field));
        fields.fold(query, |all, read| all & read)
    }

    /// Reads `CMCD=` of a query, which is percent-encoded, if it is there. Returns whether all of it could be read.
    pub fn read_query(&mut self, query: &[u8], scratch: &mut [u8; HEAD_BYTES]) -> bool {
        let mut parameters = query.split(|byte| *byte == b'&');
        let Some(value) = parameters.find_map(|parameter| parameter.strip_prefix(b"CMCD=")) else {
            return true;
        };
        decode_value(value, scratch).is_some_and(|text| self.read_field(text))
    }

    /// Reads a field of a head. Returns whether all of it could be read.
    pub fn read_field(&mut self, text: &[u8]) -> bool {
        let mut rest = text;
        let mut all = true;
        while !rest.is_empty() {
            let (member, after) = split_member(rest);
            all &= self.take(member.trim_ascii());
            rest = after;
        }
        all
    }

    /// Takes one `key=value`, or a key alone. Returns whether it could be read, or is none of ours.
    fn take(&mut self, member: &[u8]) -> bool {
        let equals = member.iter().position(|byte| *byte == b'=');
        let (key, value) = match equals {
            Some(at) => (&member[..at], &member[at + 1..]),
            None => return self.take_flag(member),
        };
        match key {
            b"br" => set(&mut self.br, integer(value)),
            b"bl" => set(&mut self.bl, integer(value)),
            b"cid" => string(value, &mut self.cid),
            b"d" => set(&mut self.d, integer(value)),
            b"dl" => set(&mut self.dl, integer(value)),
            b"mtp" => set(&mut self.mtp, integer(value)),
            b"ot" => set(&mut self.ot, one_of(value, &OBJECT_TYPES)),
            b"pr" => set(&mut self.pr, decimal(value)),
            b"rtp" => set(&mut self.rtp, integer(value)),
            b"sf" => set(&mut self.sf, one_of(value, &FORMATS)),
            b"sid" => string(value, &mut self.sid),
            b"st" => set(&mut self.st, one_of(value, &STREAM_TYPES)),
            b"tb" => set(&mut self.tb, integer(value)),
            b"v" => set(&mut self.v, integer(value)),
            // What will be asked for next is for prefetching, and is not kept.
            b"nor" | b"nrr" => string(value, &mut Text::<0>::default()),
            // True is said by the key alone (section 2); some say it all the same.
            b"bs" | b"su" => match value {
                b"true" => self.take_flag(key),
                _ => value == b"false",
            },
            _ => true,
        }
    }

    fn take_flag(&mut self, key: &[u8]) -> bool {
        match key {
            b"bs" => self.bs = true,
            b"su" => self.su = true,
            b"br" | b"bl" | b"cid" | b"d" | b"dl" | b"mtp" | b"nor" | b"nrr" | b"ot" | b"pr"
            | b"rtp" | b"sf" | b"sid" | b"st" | b"tb" | b"v" => return false,
            _ => {}
        }
        true
    }
}

/// The first member and what follows its comma. A comma inside of quotation marks separates nothing.
fn split_member(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, &[])
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_right = value.is_some();
    *place = value.or(place.take());
    is_right
}

fn integer(value: &[u8]) -> Option<u32> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// Digits, and a point among them: no sign, no exponent, so that it is a number like 1.25 and never a strange one.
fn decimal(value: &[u8]) -> Option<f32> {
    const LONGEST: usize = 8;
    let digits = value
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let text = std::str::from_utf8(value).ok()?;
    text.parse()
        .ok()
        .filter(|_| digits && value.len() <= LONGEST)
}

fn one_of(value: &[u8], known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .copied()
        .find(|known| known.as_bytes() == value)
}

/// A string in quotation marks, with `\` before a quotation mark or another `\` inside (RFC 8941 section 3.3.3).
fn string<const N: usize>(value: &[u8], text: &mut Text<N>) -> bool {
    let Some([inside @ .., b'"']) = value.strip_prefix(b"\"") else {
        return false;
    };
    text.set(b"");
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => bytes.next(),
            b'"' => None,
            byte => Some(byte),
        };
        match byte {
            Some(byte) => text.push(*byte),
            None => {
                text.set(b"");
                return false;
            }
        }
    }
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What must hold of any bytes: the query reads as the field does, and what is read can be logged and is bounded. Run by the tests and
/// by the fuzzer.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) {
    let mut scratch = [0; HEAD_BYTES];
    let (mut field, mut query) = (Cmcd::default(), Cmcd::default());
    query.read_query(bytes, &mut scratch);
    query = Cmcd::default();
    let all = field.read_field(bytes);
    let encoded: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let also = query.read_query(format!("a=b&CMCD={encoded}").as_bytes(), &mut scratch);
    // A query has no room for a NUL, nor for more than a head.
    if !bytes.contains(&0) && bytes.len() <= HEAD_BYTES {
        assert_eq!((&field, all), (&query, also));
    }
    let line = serde_json::to_string(&field).expect("it can be written");
    assert!(
        line.len() < 2048 && !line.contains(char::is_control),
        "{line}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read of a field, as it is logged, and whether all of it could be read.
    fn read(text: &[u8]) -> (String, bool) {
        let mut cmcd = Cmcd::default();
        let all = cmcd.read_field(text);
        (serde_json::to_string(&cmcd).unwrap(), all)
    }

    #[test]
    fn members_are_read_and_what_is_wrong_is_left_out() {
        let long = format!("sid=\"{}\"", "x".repeat(70));
        let cut = format!("{{\"sid\":\"{}…\"}}", "x".repeat(64));
        for (text, expected, all) in [
            ("", "{}", true),
            (
                "br=3200,bs,d=4004,mtp=25400,ot=v,tb=6000",
                r#"{"br":3200,"bs":true,"d":4004,"mtp":25400,"ot":"v","tb":6000}"#,
                true,
            ),
            (
                "bl=21300,dl=18500,nor=\"..%2F300kbps%2Ftrack.m4v\",nrr=\"12323-48763\",su",
                r#"{"bl":21300,"dl":18500,"su":true}"#,
                true,
            ),
            (
                "cid=\"faec5fc2\",pr=1.08,sf=d,sid=\"6e2fb550\",st=v,v=1",
                r#"{"cid":"faec5fc2","pr":1.08,"sf":"d","sid":"6e2fb550","st":"v","v":1}"#,
                true,
            ),
            ("rtp=12000", r#"{"rtp":12000}"#, true),
            (" br=1 ,\trtp=2 ", r#"{"br":1,"rtp":2}"#, true),
            (
                "sid=\"a,br=9,\\\"b\\\\\",br=1",
                r#"{"br":1,"sid":"a,br=9,\"b\\"}"#,
                true,
            ),
            ("com.example-x=5,ltc=3,new", "{}", true),
            ("bs=true,su=false", r#"{"bs":true}"#, true),
            (&long, &cut, true),
            // Wrong in part.
            ("br=fast,rtp=7", r#"{"rtp":7}"#, false),
            ("br=1,br=x", r#"{"br":1}"#, false),
            ("br=4294967296", "{}", false),
            ("br=-1", "{}", false),
            ("br=+1", "{}", false),
            ("br=", "{}", false),
            ("br", "{}", false),
            ("br=(5000;v)", "{}", false),
            ("ot=x", "{}", false),
            ("pr=1e9", "{}", false),
            ("pr=inf", "{}", false),
            ("pr=.", "{}", false),
            ("sid=abc", "{}", false),
            ("sid=\"abc", "{}", false),
            ("sid=\"", "{}", false),
            ("sid=\"a\"b\"", "{}", false),
            ("sid=\"abc\\\"", "{}", false),
            ("bs=1", "{}", false),
        ] {
            assert_eq!(
                read(text.as_bytes()),
                (expected.to_owned(), all),
                "{text:?}"
            );
        }
    }

    fn of_query(query: &[u8]) -> (Cmcd, bool) {
        let mut cmcd = Cmcd::default();
        let all = cmcd.read_query(query, &mut [0; HEAD_BYTES]);
        (cmcd, all)
    }

    #[test]
    fn the_query_is_decoded_and_other_parameters_are_none_of_ours() {
        for (query, br, all) in [
            ("", None, true),
            ("CMCD", None, true),
            ("cmcd=br%3D1", None, true),
            ("XCMCD=br%3D1", None, true),
            ("CMCD=", None, true),
            ("CMCD=br%3D3200%2Cbs", Some(3200), true),
            ("CMCD=br=3200", Some(3200), true),
            ("token=a%zz&CMCD=br%3D7&x=%", Some(7), true),
            ("CMCD=br%3D1&CMCD=br%3D2", Some(1), true),
            ("CMCD=br%3", None, false),
            ("CMCD=br%3D1%00", None, false),
        ] {
            let (cmcd, right) = of_query(query.as_bytes());
            assert_eq!((cmcd.br, right), (br, all), "{query:?}");
        }
    }

    #[test]
    fn a_slash_of_a_query_is_a_slash() {
        let (cmcd, right) = of_query(b"CMCD=cid%3D%22film%2F7%22");
        assert!(right);
        assert_eq!(serde_json::to_string(&cmcd).unwrap(), r#"{"cid":"film/7"}"#);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "((br|bl|bs|cid|d|dl|mtp|nor|nrr|ot|pr|rtp|sf|sid|st|su|tb|v|x-y)=?[\"0-9.a-z/\\\\, ]{0,12},?){0,8}".prop_map(String::into_bytes),
        ]) {
            exercise(&bytes);
        }
    }
}

//! Amounts, names and numbers that are written as one word. What is printed reads back the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use content_store::{DeviceId, ObjectId};
use protocol::manifest::Serial;
use protocol::root::Root;
use protocol::units::{BitRate, ByteSize, Interval, Percent};

libfuzzer_sys::fuzz_target!(|text: &str| {
    same_again::<ByteSize>(text);
    same_again::<BitRate>(text);
    same_again::<Interval>(text);
    same_again::<Percent>(text);
    same_again::<Root>(text);
    same_again::<Serial>(text);
    same_again::<ObjectId>(text);
    same_again::<DeviceId>(text);
});

fn same_again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

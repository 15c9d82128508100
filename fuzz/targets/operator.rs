//! Lines of the operator sockets, both ways, of the daemon and of the fill agent.
#![no_main]

use std::fmt::Debug;

use protocol::{fill, operator};
use serde::Serialize;
use serde::de::DeserializeOwned;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    same_again::<operator::Request>(line);
    same_again::<operator::Response>(line);
    same_again::<fill::Request>(line);
    same_again::<fill::Response>(line);
});

fn same_again<T: DeserializeOwned + Serialize + PartialEq + Debug>(line: &[u8]) {
    if let Ok(message) = operator::decode::<T>(line) {
        let again = operator::encode(&message);
        assert_eq!(again.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(
            operator::decode::<T>(&again).expect("it was encoded"),
            message
        );
    }
}

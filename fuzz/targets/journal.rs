//! Journals of columns that are being written: as they are, and with the checksums put right, which chance would not find.
#![no_main]

use content_store::limits::{CRC_BLOCK_BYTES, GROUP_BYTES};
use content_store::staging::journal::{Journal, JournalHead};

/// Magic and version; the length of the head follows.
const LENGTH_AT: usize = 12;
const HEAD_BYTES: usize = LENGTH_AT + 8;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Journal::decode(bytes);
    if bytes.len() < HEAD_BYTES {
        return;
    }
    let length = usize::from(u16::from_le_bytes([bytes[LENGTH_AT], bytes[LENGTH_AT + 1]]));
    let length = length.clamp(HEAD_BYTES + 4, bytes.len() + 4);
    let (body, records) = bytes.split_at(length - 4);
    let mut whole = body.to_vec();
    whole[LENGTH_AT..HEAD_BYTES].copy_from_slice(&(length as u64).to_le_bytes());
    let crc = crc32fast::hash(&whole);
    whole.extend_from_slice(&crc.to_le_bytes());
    let Ok(journal) = Journal::decode(&whole) else {
        return;
    };
    let _ = journal.head.tree();
    assert_eq!(journal.head.encode(), whole);
    let written = append(&mut whole, &journal.head, crc, records);
    let journal = Journal::decode(&whole).expect("its head was read");
    assert!(journal.written >= written);
});

/// Puts a checksum behind each record that is in order, and gives how many those are.
fn append(whole: &mut Vec<u8>, head: &JournalHead, head_crc: u32, mut records: &[u8]) -> u64 {
    let mut written = 0;
    while written * GROUP_BYTES < head.column_length() {
        let group = (head.column_length() - written * GROUP_BYTES).min(GROUP_BYTES);
        let length = 4 + 4 * group.div_ceil(CRC_BLOCK_BYTES) as usize;
        let Some((record, rest)) = records.split_at_checked(length) else {
            break;
        };
        if record[..4] != (written as u32).to_le_bytes() {
            break;
        }
        let mut crc = crc32fast::Hasher::new_with_initial(head_crc);
        crc.update(record);
        whole.extend_from_slice(record);
        whole.extend_from_slice(&crc.finalize().to_le_bytes());
        (records, written) = (rest, written + 1);
    }
    whole.extend_from_slice(records);
    written
}

//! What fuzz targets do with the rows of keys ([`crate::fuzzing`]).

use bytes::Bytes;

use crate::data::lists::Header;
use crate::data::record::{Head, Kind, Record};
use crate::data::sets::Set;
use crate::data::zsets::SortedSet;
use crate::data::{keys, strings};

/// The row of a key, and what stands in it for its type: read whole or refused, in one form.
pub fn record(data: &[u8]) {
    let row = Bytes::copy_from_slice(data);
    let (record, head) = (Record::decode(&row), Head::read(&row));
    assert_eq!(record.is_ok(), head.is_ok());
    let Ok(record) = record else { return };
    assert_eq!(record.encode(), row);
    match record.kind {
        Kind::String => {
            if let Ok((id, length)) = strings::blob_header(&record) {
                assert_eq!(strings::blob_body(&id, length), record.body);
            }
        }
        Kind::List => drop(Header::of(&record)),
        Kind::Set => {
            if let Ok(set) = Set::read(record.clone()) {
                assert_eq!(set.record(), record);
            }
        }
        Kind::SortedSet => {
            if let Ok(set) = SortedSet::read(record.clone()) {
                assert_eq!(set.record(), record);
            }
        }
        Kind::Hash => {}
    }
}

/// Keys of rows that hold more than a name.
pub fn keys(data: &[u8]) {
    let _ = keys::split_deadline_key(data);
    let _ = Set::split(data);
}

//! What a client may hand to RESTORE: it is read or refused, and what was read is read again the same
//! when it is written.

#![no_main]

use agq::data::dump::{decode, encode, seal};
use libfuzzer_sys::fuzz_target;

// As it comes, and with the checksum that a client can compute as well.
fuzz_target!(|data: &[u8]| {
    let _ = decode(&data.to_vec().into());
    if let Ok(value) = decode(&seal(data.to_vec()).into()) {
        let again = decode(&encode(&value).into()).expect("our own payload is valid");
        assert_eq!(again, value);
    }
});

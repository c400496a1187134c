//! The bytes of the job system's rows: numbers of variable length, strings with their length in front, and a reader
//! that takes nothing for granted: unknown bits, short rows and bytes left over are `Corrupt`.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::jobs::job::Digest;
use crate::storage::{Error, Result, Table};

/// Builds a row.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A row that begins with the version of its format.
    pub(crate) fn new(version: u8) -> Writer {
        let mut out = Vec::with_capacity(160);
        out.push(version);
        Writer(out)
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number in groups of seven bits, the lowest first.
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn strings<S: AsRef<str>>(&mut self, values: &[S]) {
        self.number(values.len() as u64);
        for value in values {
            self.bytes(value.as_ref().as_bytes());
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into()
    }

    /// The digest of what was written, in place of the row.
    pub(crate) fn digest(self) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(&Sha256::digest(&self.0)[..size_of::<Digest>()]);
        digest
    }
}

/// Reads a row.
pub(crate) struct Reader<'a> {
    table: Table,
    row: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A row that must be of `version`.
    pub(crate) fn new(table: Table, row: &'a Bytes, version: u8) -> Result<Reader<'a>> {
        let mut reader = Reader { table, row, at: 0 };
        match reader.byte()? {
            found if found == version => Ok(reader),
            found => Err(reader.corrupt(&format!("its version is {found}, known is {version}"))),
        }
    }

    /// An error that says where in which row something was wrong.
    pub(crate) fn corrupt(&self, why: &str) -> Error {
        Error::corrupt(self.table, format!("a row of {} bytes, at byte {}: {why}", self.row.len(), self.at))
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        let byte = *self.row.get(self.at).ok_or_else(|| self.corrupt("it ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn digest(&mut self) -> Result<Digest> {
        let mut digest = Digest::default();
        for byte in &mut digest {
            *byte = self.byte()?;
        }
        Ok(digest)
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || shift > 0 && byte == 0 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.corrupt("a number is not in its shortest form"))
    }

    /// A number that must fit into 32 bits.
    pub(crate) fn small(&mut self) -> Result<u32> {
        let value = self.number()?;
        u32::try_from(value).map_err(|_| self.corrupt("a number is over 2^32"))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.number()?;
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let end = end.filter(|end| *end <= self.row.len()).ok_or_else(|| self.corrupt("a string is cut short"))?;
        let bytes = self.row.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|_| self.corrupt("a string is not UTF-8"))
    }

    pub(crate) fn strings(&mut self) -> Result<Vec<String>> {
        let count = self.number()?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.string()?);
        }
        Ok(values)
    }

    pub(crate) fn finish(self) -> Result<()> {
        if self.at == self.row.len() { Ok(()) } else { Err(self.corrupt("bytes are left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(row: &Bytes) -> Reader<'_> {
        Reader::new(Table::Jobs, row, 1).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers: Vec<u64>, text: Vec<u8>) {
            let mut writer = Writer::new(1);
            numbers.iter().for_each(|number| writer.number(*number));
            writer.bytes(&text);
            let row = writer.finish();
            let mut reader = reader(&row);
            for number in numbers {
                prop_assert_eq!(reader.number().unwrap(), number);
            }
            prop_assert_eq!(&reader.bytes().unwrap()[..], &text[..]);
            reader.finish().unwrap();
        }
    }

    #[test]
    fn what_is_not_exact_is_corrupt() {
        assert!(Reader::new(Table::Jobs, &Bytes::from_static(&[2]), 1).is_err());
        let long = Bytes::from_static(&[1, 0x80, 0]);
        assert!(reader(&long).number().is_err(), "not the shortest form");
        let over = Bytes::from_static(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]);
        assert!(reader(&over).number().is_err(), "over 64 bits");
        let cut = Bytes::from_static(&[1, 5, b'a']);
        assert!(reader(&cut).bytes().is_err());
        let more = Bytes::from_static(&[1, 0]);
        assert!(reader(&more).finish().is_err());
    }
}

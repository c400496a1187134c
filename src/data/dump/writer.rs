//! Values as they are written: the plain form of each type, nothing packed or compressed.

use crate::data::dump::Value;
use crate::data::dump::reader::{HASH, LIST, SET, STRING, ZSET_2};

/// The type and the value.
pub(super) fn value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::String(bytes) => {
            out.reserve_exact(bytes.len() + 32);
            out.push(STRING);
            put_string(&mut out, bytes);
        }
        Value::List(elements) => {
            put_head(&mut out, LIST, elements.len());
            elements.iter().for_each(|element| put_string(&mut out, element));
        }
        Value::Set(members) => {
            put_head(&mut out, SET, members.len());
            members.iter().for_each(|member| put_string(&mut out, member));
        }
        Value::Hash(entries) => {
            put_head(&mut out, HASH, entries.len());
            for (field, value) in entries {
                put_string(&mut out, field);
                put_string(&mut out, value);
            }
        }
        Value::SortedSet(scored) => {
            put_head(&mut out, ZSET_2, scored.len());
            for (score, member) in scored {
                put_string(&mut out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
    }
    out
}

fn put_head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    put_length(out, count as u64);
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A length in 1, 2, 5 or 9 bytes, the highest byte first.
fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        _ => match u32::try_from(length) {
            Ok(length) => {
                out.push(0x80);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
}

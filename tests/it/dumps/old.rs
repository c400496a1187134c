//! Payloads as Redis 7.0 and older versions write them, the forms that 7.0 only reads included. What these builders
//! make is itself checked: a real Redis has to read it.

use agq::data::dump::seal;

/// Elements of many lengths and kinds: every head that ziplists and listpacks know.
pub(super) fn elements() -> Vec<Vec<u8>> {
    let mut elements: Vec<Vec<u8>> = Vec::new();
    let edges = [0, 1, 12, 13, 127, 128, 4095, 4096, 32_767, 32_768, 8_388_607, 8_388_608];
    let more = [i64::from(i32::MAX), 1 << 31, i64::MAX];
    for edge in edges.into_iter().chain(more) {
        elements.push(edge.to_string().into_bytes());
        elements.push((-edge - 1).to_string().into_bytes());
    }
    for length in [0, 1, 11, 63, 64, 200, 253, 254, 300, 4095, 4096, 16_383, 16_384] {
        // Each one different at its front.
        elements.push(format!("{length}:").bytes().chain(b"x".repeat(length)).collect());
    }
    elements.extend([b"01".to_vec(), b"-".to_vec(), b"\0\xff\n".to_vec(), b"9223372036854775808".to_vec()]);
    elements
}

pub(super) fn length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        _ => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// A payload: the type, and strings one after the other behind their count, if it has one.
pub(super) fn payload(kind: u8, count: Option<usize>, strings: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![kind];
    if let Some(count) = count {
        length(&mut out, count);
    }
    strings.iter().for_each(|bytes| string(&mut out, bytes));
    seal(out)
}

fn integer(element: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(element).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == element).then_some(number)
}

fn fits(number: i64, bits: u32) -> bool {
    (-(1_i64 << (bits - 1))..1_i64 << (bits - 1)).contains(&number)
}

fn ziplist_entry(element: &[u8]) -> Vec<u8> {
    let Some(number) = integer(element) else {
        let mut entry = match element.len() {
            0..64 => vec![element.len() as u8],
            64..16_384 => (element.len() as u16 | 0x4000).to_be_bytes().to_vec(),
            _ => [&[0x80][..], &(element.len() as u32).to_be_bytes()].concat(),
        };
        entry.extend_from_slice(element);
        return entry;
    };
    let bytes = number.to_le_bytes();
    match number {
        0..=12 => vec![0xf1 + number as u8],
        _ if fits(number, 8) => vec![0xfe, bytes[0]],
        _ if fits(number, 16) => [&[0xc0], &bytes[..2]].concat(),
        _ if fits(number, 24) => [&[0xf0], &bytes[..3]].concat(),
        _ if fits(number, 32) => [&[0xd0], &bytes[..4]].concat(),
        _ => [&[0xe0], &bytes[..]].concat(),
    }
}

/// As Redis up to 6.2 packs small lists, hashes and sorted sets.
pub(super) fn ziplist(elements: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut last, mut before) = (Vec::new(), 10, 0_usize);
    for element in elements {
        last = 10 + body.len();
        let start = body.len();
        match before {
            0..254 => body.push(before as u8),
            _ => {
                body.push(0xfe);
                body.extend_from_slice(&(before as u32).to_le_bytes());
            }
        }
        body.extend(ziplist_entry(element));
        before = body.len() - start;
    }
    let bytes = (10 + body.len() + 1) as u32;
    let count = elements.len() as u16;
    [&bytes.to_le_bytes()[..], &(last as u32).to_le_bytes(), &count.to_le_bytes(), &body, &[0xff]].concat()
}

fn listpack_entry(element: &[u8]) -> Vec<u8> {
    let Some(number) = integer(element) else {
        let mut entry = match element.len() {
            0..64 => vec![0x80 | element.len() as u8],
            64..4096 => (element.len() as u16 | 0xe000).to_be_bytes().to_vec(),
            _ => [&[0xf0][..], &(element.len() as u32).to_le_bytes()].concat(),
        };
        entry.extend_from_slice(element);
        return entry;
    };
    let bytes = number.to_le_bytes();
    match number {
        0..=127 => vec![number as u8],
        _ if fits(number, 13) => ((number as u16 & 0x1fff) | 0xc000).to_be_bytes().to_vec(),
        _ if fits(number, 16) => [&[0xf1], &bytes[..2]].concat(),
        _ if fits(number, 24) => [&[0xf2], &bytes[..3]].concat(),
        _ if fits(number, 32) => [&[0xf3], &bytes[..4]].concat(),
        _ => [&[0xf4], &bytes[..]].concat(),
    }
}

/// As Redis 7.0 packs small lists, hashes and sorted sets.
pub(super) fn listpack(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for element in elements {
        let entry = listpack_entry(element);
        let size = entry.len();
        body.extend(entry);
        // Seven bits a byte, the highest first; all but the first have their highest bit set.
        let groups = [128, 16_383, 2_097_151].iter().take_while(|bound| size >= **bound).count();
        body.extend((0..=groups).rev().map(|group| {
            let bits = (size >> (7 * group)) as u8 & 0x7f;
            if group == groups { bits } else { bits | 0x80 }
        }));
    }
    let bytes = (6 + body.len() + 1) as u32;
    [&bytes.to_le_bytes()[..], &(elements.len() as u16).to_le_bytes(), &body, &[0xff]].concat()
}

/// As Redis packs sets of integers of up to `size` bytes.
pub(super) fn intset(size: u32, members: &[i64]) -> Vec<u8> {
    let mut out = [size.to_le_bytes(), (members.len() as u32).to_le_bytes()].concat();
    members.iter().for_each(|member| out.extend_from_slice(&member.to_le_bytes()[..size as usize]));
    out
}

/// As Redis before 2.6 packed small hashes.
pub(super) fn zipmap(elements: &[Vec<u8>]) -> Vec<u8> {
    let put_length = |out: &mut Vec<u8>, length: usize| match length {
        0..254 => out.push(length as u8),
        _ => {
            out.push(254);
            out.extend_from_slice(&(length as u32).to_le_bytes());
        }
    };
    let mut out = vec![(elements.len() / 2).min(254) as u8];
    for (place, element) in elements.iter().enumerate() {
        put_length(&mut out, element.len());
        if place % 2 == 1 {
            // Three bytes that nobody uses.
            out.push(3);
        }
        out.extend_from_slice(element);
        if place % 2 == 1 {
            out.extend_from_slice(b"???");
        }
    }
    out.push(0xff);
    out
}

/// Fields and values, no field twice.
fn entries() -> Vec<Vec<u8>> {
    let elements = elements();
    let values = elements.iter().rev();
    elements.iter().zip(values).flat_map(|(field, value)| [field.clone(), value.clone()]).collect()
}

/// Members and scores, in their order: Redis takes that of a packed sorted set as it finds it.
fn scored() -> Vec<Vec<u8>> {
    let scores = ["-inf", "-4096", "-1", "0", "1", "3.1415926535897931", "1e+300", "inf"];
    let mut members = elements();
    members.sort();
    let each = members.len().div_ceil(scores.len());
    let scores = scores.iter().flat_map(|score| std::iter::repeat_n(score.as_bytes().to_vec(), each));
    members.into_iter().zip(scores).flat_map(|(member, score)| [member, score]).collect()
}

/// One payload of each form, with its name.
pub(super) fn all() -> Vec<(String, Vec<u8>)> {
    let elements = elements();
    let count = elements.len();
    let mut found = vec![
        ("list", payload(1, Some(count), &elements)),
        ("set", payload(2, Some(count), &elements)),
        ("hash", payload(4, Some(count), &entries())),
        ("zipmap", payload(9, None, &[zipmap(&entries())])),
        ("list as ziplist", payload(10, None, &[ziplist(&elements)])),
        ("zset as ziplist", payload(12, None, &[ziplist(&scored())])),
        ("hash as ziplist", payload(13, None, &[ziplist(&entries())])),
        ("quicklist", payload(14, Some(3), &[ziplist(&elements), ziplist(&[]), ziplist(&elements[..3])])),
        ("hash as listpack", payload(16, None, &[listpack(&entries())])),
        ("zset as listpack", payload(17, None, &[listpack(&scored())])),
        ("quicklist 2", quicklist_2(&elements)),
        ("zset with text", zset_with_text()),
        ("zset with numbers", zset_with_numbers()),
        ("digits", seal(vec![0, 0xc0, 0x80])),
        ("more digits", seal(vec![0, 0xc1, 0x00, 0x80])),
        ("most digits", seal(vec![0, 0xc2, 0xff, 0xff, 0xff, 0x7f])),
        ("compressed", seal(vec![0, 0xc3, 6, 0x41, 0x0a, 1, b'a', b'b', 0xe0, 255, 1])),
        ("long length", seal([&[0, 0x81, 0, 0, 0, 0, 0, 0, 0, 2][..], b"ab"].concat())),
    ];
    for (name, size) in [("intset 2", 2), ("intset 4", 4), ("intset 8", 8)] {
        let edge = 1_i64 << (8 * size - 2);
        found.push((name, payload(11, None, &[intset(size, &[-edge, -1, 0, 1, edge])])));
    }
    found.into_iter().map(|(name, payload)| (name.to_owned(), payload)).collect()
}

fn quicklist_2(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![18, 3];
    for (container, node) in [(2, listpack(elements)), (1, b"alone".to_vec()), (2, listpack(&elements[..3]))] {
        out.push(container);
        string(&mut out, &node);
    }
    seal(out)
}

fn zset_with_text() -> Vec<u8> {
    let mut out = vec![3, 5];
    for (member, score) in [("a", "1"), ("b", "-2.5"), ("c", "3.1415926535897931")] {
        string(&mut out, member.as_bytes());
        out.push(score.len() as u8);
        out.extend_from_slice(score.as_bytes());
    }
    for (member, code) in [("d", 254), ("e", 255)] {
        string(&mut out, member.as_bytes());
        out.push(code);
    }
    seal(out)
}

fn zset_with_numbers() -> Vec<u8> {
    let mut out = vec![5, 4];
    for (member, score) in [("a", 1.0), ("b", -2.5e-300), ("c", f64::INFINITY), ("d", f64::NEG_INFINITY)] {
        string(&mut out, member.as_bytes());
        out.extend_from_slice(&f64::to_le_bytes(score));
    }
    seal(out)
}

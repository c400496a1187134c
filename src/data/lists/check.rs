//! What holds of a list: both edges are elements, and every index between them has an element or a hole.

use std::ops::{Bound, ControlFlow};

use crate::data::Record;
use crate::data::check::{Checked, rows_under};
use crate::data::lists::{Header, index_of};
use crate::storage::{Result, Rows, Table};

/// Checks a list against its record.
pub(in crate::data) fn check(checked: &mut Checked<'_>, record: &Record) -> Result<()> {
    let header = Header::of(record)?;
    if header.body() != record.body {
        checked.wrong(Table::Keys, format_args!("its record is not in its shortest form: {header:?}"));
    }
    check_elements(checked, &header)?;
    check_holes(checked, &header)?;
    header.ranks().check(checked, None)
}

fn check_elements(checked: &mut Checked<'_>, header: &Header) -> Result<()> {
    let rows = checked.rows;
    // Where an element is to stand, if there is no hole.
    let (mut count, mut next) = (0, header.head);
    rows_under(rows, Table::Lists, &header.id.to_be_bytes(), &mut |key, _| {
        let index = index_of(&[&[0; 8], key].concat())?;
        count += 1;
        if !(header.head..header.tail).contains(&index) {
            let (head, tail) = (header.head, header.tail);
            checked.wrong(Table::Lists, format_args!("has an element at {index}, outside of {head} to {tail}"));
            return Ok(());
        }
        let missing = index.abs_diff(next);
        if missing > 0 {
            let holes = holes_between(rows, header, (next, index))?;
            if next == header.head {
                checked.wrong(Table::Lists, format_args!("has no element at its head {next}"));
            } else if holes != missing {
                let what = format_args!("lacks {missing} elements before {index}, with {holes} holes there");
                checked.wrong(Table::Lists, what);
            }
        }
        next = index.saturating_add(1);
        Ok(())
    })?;
    if next != header.tail {
        checked.wrong(Table::Lists, format_args!("has no element before its tail {}", header.tail));
    }
    checked.expect_count(Table::Lists, count, header.length);
    Ok(())
}

/// Holes from an index up to, not including, another.
fn holes_between(rows: &dyn Rows, header: &Header, (from, to): (i64, i64)) -> Result<u64> {
    let (from, to, mut count) = (header.row(from), header.row(to), 0);
    rows.scan(Table::Holes, Bound::Included(&from), Bound::Excluded(&to), false, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

fn check_holes(checked: &mut Checked<'_>, header: &Header) -> Result<()> {
    let (mut count, mut inside) = (0, 0);
    rows_under(checked.rows, Table::Holes, &header.id.to_be_bytes(), &mut |key, value| {
        let index = index_of(&[&[0; 8], key].concat())?;
        count += 1;
        inside += u64::from((header.head..header.tail).contains(&index));
        if !value.is_empty() {
            checked.wrong(Table::Holes, format_args!("has {} bytes at the hole {index}, none expected", value.len()));
        }
        Ok(())
    })?;
    checked.expect_count(Table::Holes, count, header.holes);
    if inside != header.gaps() {
        let gaps = header.gaps();
        checked.wrong(Table::Holes, format_args!("has {inside} holes between its ends, its record leaves {gaps}"));
    }
    Ok(())
}

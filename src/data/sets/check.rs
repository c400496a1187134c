//! What holds of a set: every member stands at its place, and the record counts them.

use crate::data::Record;
use crate::data::check::{Checked, rows_under};
use crate::data::sets::{Set, place_of};
use crate::storage::{Result, Table};

/// Checks a set against its record.
pub(in crate::data) fn check(checked: &mut Checked<'_>, record: &Record) -> Result<()> {
    let set = Set::read(record.clone())?;
    let mut count = 0;
    rows_under(checked.rows, Table::Sets, &set.id, &mut |key, value| {
        let key = [&set.id[..], key].concat();
        let (place, member) = Set::split(&key)?;
        count += 1;
        let (member, expected) = (member.escape_ascii(), place_of(member));
        if place != expected {
            checked.wrong(Table::Sets, format_args!("has the member '{member}' at {place}, its place is {expected}"));
        }
        if !value.is_empty() {
            let bytes = value.len();
            checked.wrong(Table::Sets, format_args!("has {bytes} bytes with the member '{member}', none expected"));
        }
        Ok(())
    })?;
    checked.expect_count(Table::Sets, count, set.len);
    Ok(())
}

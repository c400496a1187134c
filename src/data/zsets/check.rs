//! What holds of a sorted set: the rows by score and those by member are each other's mirror image, and the index of
//! ranks counts them.

use crate::data::Record;
use crate::data::check::{Checked, rows_under};
use crate::data::zsets::{SortedSet, ordered_bits, score_of_row};
use crate::storage::{Error, Result, Table};

/// Checks a sorted set against its record.
pub(in crate::data) fn check(checked: &mut Checked<'_>, record: &Record) -> Result<()> {
    let set = SortedSet::read(record.clone())?;
    if set.record().body != record.body || set.len == 0 {
        checked.wrong(Table::Keys, format_args!("its record is not in its shortest form: {set:?}"));
    }
    let members = check_members(checked, &set)?;
    let scores = check_scores(checked, &set)?;
    checked.expect_count(Table::ZMembers, members, set.len);
    checked.expect_count(Table::ZScores, scores, set.len);
    let until = (!set.until.is_empty()).then_some(&set.until[..]);
    set.ranks().check(checked, until)
}

/// Every member has a score that is a number, and stands there in the order of scores.
fn check_members(checked: &mut Checked<'_>, set: &SortedSet) -> Result<u64> {
    let (rows, mut count) = (checked.rows, 0);
    rows_under(rows, Table::ZMembers, &set.id, &mut |member, row| {
        let score = score_of_row(row)?;
        count += 1;
        if score.is_nan() || row != ordered_bits(score).to_be_bytes() {
            let member = member.escape_ascii();
            checked.wrong(Table::ZMembers, format_args!("has the score {score} of '{member}' as {row:02x?}"));
        } else if rows.get(Table::ZScores, &set.score_key(score, member))?.is_none() {
            let member = member.escape_ascii();
            checked.wrong(Table::ZScores, format_args!("lacks '{member}' at its score {score}"));
        }
        Ok(())
    })?;
    Ok(count)
}

/// Every row in the order of scores is that of a member with that score.
fn check_scores(checked: &mut Checked<'_>, set: &SortedSet) -> Result<u64> {
    let (rows, mut count) = (checked.rows, 0);
    rows_under(rows, Table::ZScores, &set.id, &mut |key, value| {
        let (bits, member) = key.split_first_chunk::<8>().ok_or_else(|| {
            Error::corrupt(Table::ZScores, format!("a key of {} bytes has no score", set.id.len() + key.len()))
        })?;
        count += 1;
        let of_member = rows.get(Table::ZMembers, &set.member_key(member))?;
        if of_member.as_deref() != Some(&bits[..]) || !value.is_empty() {
            let member = member.escape_ascii();
            let what = format_args!("has '{member}' at {bits:02x?} with {value:02x?}, its score is {of_member:02x?}");
            checked.wrong(Table::ZScores, what);
        }
        Ok(())
    })?;
    Ok(count)
}

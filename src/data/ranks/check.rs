//! What holds of an index of ranks: every bucket says how many elements and buckets lie in it.

use std::ops::{Bound, ControlFlow};

use crate::data::check::{Checked, rows_under};
use crate::data::ranks::{Bucket, Ranks, UNFINISHED};
use crate::storage::{Result, Table};

impl Ranks {
    /// Checks the index of what is checked. `until` is the key up to which an unfinished one is made.
    pub(in crate::data) fn check(&self, checked: &mut Checked<'_>, until: Option<&[u8]>) -> Result<()> {
        if (self.height == UNFINISHED) != until.is_some() {
            checked.wrong(Table::Counts, format_args!("has an index of height {} made up to {until:?}", self.height));
        }
        for level in self.levels() {
            self.check_level(checked, level, until)?;
        }
        let beyond = self.bucket(self.levels().end() + 1, &[]);
        let end = crate::storage::tables::prefix_end(&self.id);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if let Some((key, _)) = checked.rows.first(Table::Counts, Bound::Included(&beyond), end, false)? {
            let what = format_args!("has {} above its index of height {}", key.escape_ascii(), self.height);
            checked.wrong(Table::Counts, what);
        }
        Ok(())
    }

    /// Checks the buckets of a level against what they are divided into.
    fn check_level(&self, checked: &mut Checked<'_>, level: u8, until: Option<&[u8]>) -> Result<()> {
        let rows = checked.rows;
        let (mut buckets, mut before) = (0_u64, None::<Bucket>);
        let prefix = [&self.id[..], &[level]].concat();
        rows_under(rows, Table::Counts, &prefix, &mut |first, row| {
            let bucket = Bucket::read(&[&prefix, first].concat(), row)?;
            if before.is_none() && !first.is_empty() {
                let first = first.escape_ascii();
                checked.wrong(Table::Counts, format_args!("begins level {level} with {first}, not with nothing"));
            }
            buckets += 1;
            if let Some(before) = before.replace(bucket) {
                self.check_bucket(checked, level, &before, Some(first))?;
            }
            Ok(())
        })?;
        match &before {
            Some(last) => self.check_bucket(checked, level, last, until)?,
            None => checked.wrong(Table::Counts, format_args!("has no bucket on level {level}")),
        }
        if level == self.height && buckets > 1 {
            checked.wrong(Table::Counts, format_args!("has {buckets} buckets at the top, level {level}"));
        }
        Ok(())
    }

    /// Checks a bucket against what lies from its first key up to, not including, `end`.
    fn check_bucket(&self, checked: &mut Checked<'_>, level: u8, bucket: &Bucket, end: Option<&[u8]>) -> Result<()> {
        let (mut children, mut elements) = (0_u64, 0);
        let (table, from, to) = if level == 1 {
            (self.table, self.element(&bucket.first), end.map(|end| self.element(end)))
        } else {
            let below = level - 1;
            let to = end.map_or_else(|| self.bucket(level, &[]), |end| self.bucket(below, end));
            (Table::Counts, self.bucket(below, &bucket.first), Some(to))
        };
        let to = to.or_else(|| crate::storage::tables::prefix_end(&self.id));
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut failed = None;
        checked.rows.scan(table, Bound::Included(&from), to, false, &mut |key, row| {
            children += 1;
            match if level == 1 { Ok(1) } else { Bucket::read(key, row).map(|child| child.elements) } {
                Ok(of_child) => elements += of_child,
                Err(error) => failed = Some(error),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let counted = self.counted().contains(&level);
        let most = u64::from(if level == 1 { self.limits.elements } else { self.limits.buckets });
        if u64::from(bucket.children) != children || (counted && bucket.elements != elements) || children > most {
            let what = format_args!(
                "level {level} has {bucket:?}, there are {elements} elements in {children} parts, {most} at most"
            );
            checked.wrong(Table::Counts, what);
        }
        Ok(())
    }
}

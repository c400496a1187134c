//! What fuzz targets do with the rows of the job model ([`crate::fuzzing`]).

use std::fmt::Debug;

use bytes::Bytes;

use crate::jobs::actions::Action;
use crate::jobs::bulk::Bulk;
use crate::jobs::events::Event;
use crate::jobs::job_row;
use crate::jobs::output::{Totals, split_chunk};
use crate::jobs::plan_store::Stored;
use crate::jobs::queue::Queue;
use crate::jobs::repeats::Repeat;
use crate::jobs::schedules::Schedule;
use crate::jobs::tenants::Tenant;
use crate::jobs::webhooks::Webhook;
use crate::jobs::workers::Worker;
use crate::jobs::{Id, rows};
use crate::storage;

/// A row of the job model; the first byte says of which kind. It is read whole or refused, and it has one form: what
/// was read is written as the same bytes.
pub fn job_rows(data: &[u8]) {
    let Some((&kind, row)) = data.split_first() else { return };
    let row = Bytes::copy_from_slice(row);
    match kind {
        b'j' => {
            if let Ok(id) = Id::parse("id", b"job") {
                one_form(&row, |row| job_row::decode(id.clone(), row), job_row::encode);
            }
        }
        b'a' => one_form(&row, Action::decode, Action::encode),
        b'b' => one_form(&row, Bulk::decode, Bulk::encode),
        b'e' => one_form(&row, Event::decode, Event::encode),
        b'o' => one_form(&row, Totals::decode, Totals::encode),
        b'p' => one_form(&row, Stored::decode, |stored| stored.encode().into()),
        b'q' => one_form(&row, Queue::decode, Queue::encode),
        b'r' => one_form(&row, Repeat::decode, Repeat::encode),
        b's' => one_form(&row, Schedule::decode, Schedule::encode),
        b't' => one_form(&row, Tenant::decode, Tenant::encode),
        b'w' => one_form(&row, Worker::decode, Worker::encode),
        b'h' => one_form(&row, Webhook::decode, Webhook::encode),
        _ => {}
    }
}

fn one_form<T: Debug>(row: &Bytes, decode: impl Fn(&Bytes) -> storage::Result<T>, encode: impl Fn(&T) -> Bytes) {
    if let Ok(value) = decode(row) {
        assert_eq!(encode(&value), row, "{value:?}");
    }
}

/// Keys and values of indexes: split or refused.
pub fn job_keys(data: &[u8]) {
    if let Ok((since, id)) = rows::split_pending_value(data) {
        assert_eq!(rows::pending_value(since, &id), data);
    }
    let _ = rows::split_timer_key(data);
    let _ = split_chunk(data);
}

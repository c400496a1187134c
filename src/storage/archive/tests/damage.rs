//! What is damaged in an archive is told from what was still being written.

use super::*;

/// A store with a backup of its first record, and a number of records after it in one piece: the world, the piece's name.
fn archived_world(records: usize) -> (World, String) {
    let mut world = World::new(8, u64::MAX, false);
    let mut db = world.open();
    world.batch(&mut db);
    world.backup(&mut db).unwrap();
    (0..records).for_each(|_| world.batch(&mut db));
    db.close().unwrap();
    let pieces = world.archive.list().unwrap();
    assert_eq!(pieces.len(), 1);
    let piece = pieces[0].clone();
    (world, piece)
}

#[test]
fn damage_in_the_very_last_record_is_refused_and_told() {
    let (world, piece) = archived_world(5);
    let (name, _) = world.made[0].clone();
    let whole = world.archive.contents(&piece).unwrap();
    let last = world.history.len() as u64;
    assert_eq!(archive_ranges(&world.archive).unwrap()[0].behind, Behind::Nothing);
    let (restored, _) = world.restore(&name, Millis::MAX, false).unwrap();
    assert_eq!((restored.seq, restored.unfinished), (last, None));
    // The body of the last record, and its length, in front of the mark.
    let mark = whole.len() - 40;
    for (at, bit) in [(mark - 9, 1), (mark - 40, 0x20)] {
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        world.archive.put(&piece, &bytes);
        let refused = world.restore(&name, Millis::MAX, false).unwrap_err().to_string();
        assert!(refused.contains(&format!("record {last} damaged in")), "{refused}");
        let (restored, state) = world.restore(&name, Millis::MAX, true).unwrap();
        assert_eq!(restored.seq, last - 1);
        assert!(restored.gap.is_some() && state == world.fold(last - 1));
        assert_eq!(archive_ranges(&world.archive).unwrap()[0].behind, Behind::Damaged);
    }
}

#[test]
fn a_record_that_was_being_written_is_left_out_and_told() {
    let (world, piece) = archived_world(5);
    let (name, _) = world.made[0].clone();
    let whole = world.archive.contents(&piece).unwrap();
    let last = world.history.len() as u64;
    // A record half written takes the place of the mark.
    for cut in [41, 48, 60] {
        let mut bytes = whole[..whole.len() - cut].to_vec();
        world.archive.put(&piece, &bytes);
        let (restored, state) = world.restore(&name, Millis::MAX, false).unwrap();
        assert_eq!((restored.seq, restored.gap), (last - 1, None));
        assert!(restored.unfinished.is_some_and(|what| what.contains("still being written")));
        assert!(state == world.fold(last - 1));
        bytes.extend([7; 100]);
        world.archive.put(&piece, &bytes);
        let behind = archive_ranges(&world.archive).unwrap()[0].behind;
        assert!(matches!(behind, Behind::Unfinished { bytes } if bytes > 100), "{behind:?}");
    }
    // To a moment that lies before it nothing was left out.
    let earlier = world.history[last as usize - 2].0;
    let (restored, _) = world.restore(&name, Millis(earlier.0.saturating_sub(1)), false).unwrap();
    assert_eq!(restored.unfinished, None);
}

#[test]
fn a_piece_without_its_header_is_told() {
    let (world, piece) = archived_world(5);
    let (name, backup) = world.made[0].clone();
    let mut bytes = world.archive.contents(&piece).unwrap();
    bytes[20] ^= 1;
    world.archive.put(&piece, &bytes);
    let refused = world.restore(&name, Millis::MAX, false).unwrap_err().to_string();
    assert!(refused.contains("the header of") && refused.contains(&piece), "{refused}");
    // The power went while the piece was made: nothing stands in it.
    world.archive.put(&piece, &bytes[..100]);
    let refused = world.restore(&name, Millis::MAX, false).unwrap_err().to_string();
    assert!(refused.contains("no record of the store"), "{refused}");
    assert_eq!(backup.seq, 1);
}

#[test]
fn a_damaged_record_is_refused_and_all_before_it_can_be_restored() {
    let mut world = World::new(8, u64::MAX, false);
    let mut db = world.open();
    world.batch(&mut db);
    world.backup(&mut db).unwrap();
    (0..20).for_each(|_| world.batch(&mut db));
    db.close().unwrap();
    let piece = world.archive.list().unwrap().remove(0);
    let mut bytes = world.archive.contents(&piece).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.archive.put(&piece, &bytes);
    let (name, backup) = world.made[0].clone();
    let refused = world.restore(&name, Millis::MAX, false).unwrap_err().to_string();
    assert!(refused.contains("damaged in") && refused.contains("latest moment"), "{refused}");
    let (restored, state) = world.restore(&name, Millis::MAX, true).unwrap();
    assert!(restored.seq > backup.seq && restored.seq < world.history.len() as u64, "{restored:?}");
    assert!(state == world.fold(restored.seq));
    let (again, _) = world.restore(&name, restored.time.min(world.history[restored.seq as usize].0), true).unwrap();
    assert_eq!(again.seq, restored.seq);
}

//! What is to go wrong on a simulated disk.

/// What is to go wrong. An I/O is anything but a read; the first after [`set_faults`](super::SimDisk::set_faults) has
/// number 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// At this I/O everything stops: it may still happen, in part or whole, and everything after it fails. Whether the
    /// power went or the process died is said by what comes next, [`crash`](super::SimDisk::crash) or
    /// [`kill`](super::SimDisk::kill).
    pub power_off_at: Option<u64>,
    /// Operations that fail with EIO.
    pub failing: Vec<Failing>,
    /// Bytes that may be allocated in all, in blocks of 4 KiB; a write past them is done as far as it fits, and fails
    /// with ENOSPC.
    pub capacity: Option<u64>,
    /// A sync covers what was written before it began, and others pass meanwhile: those of a [`SimDisk`](super::SimDisk)
    /// that is used by several threads let them go on before they end.
    pub slow_syncs: bool,
}

/// Operations of one kind that fail with EIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Which kind.
    pub operation: Operation,
    /// Of the file of this name only.
    pub file: Option<String>,
    /// So many of them succeed first.
    pub after: u64,
    /// All that follow fail too, not only one.
    pub lasting: bool,
}

/// What may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A read of a file.
    Read,
    /// A write to a file, which is done in part, or not at all.
    Write,
    /// A sync of a file, or of the folder's names. What it did not write is marked clean, as kernels do: a later one
    /// will not write it either.
    Sync,
}

impl Faults {
    /// The power goes, or the process dies, at the I/O of this number.
    #[must_use]
    pub fn stop_at(io: u64) -> Faults {
        Faults { power_off_at: Some(io), ..Faults::default() }
    }

    /// One operation of this kind fails, of any file, when so many have succeeded.
    #[must_use]
    pub fn failing(operation: Operation, after: u64) -> Faults {
        let failing = Failing { operation, file: None, after, lasting: false };
        Faults { failing: vec![failing], ..Faults::default() }
    }

    /// Every operation of this kind on that file fails.
    #[must_use]
    pub fn failing_always(operation: Operation, file: &str) -> Faults {
        let failing = Failing { operation, file: Some(file.to_owned()), after: 0, lasting: true };
        Faults { failing: vec![failing], ..Faults::default() }
    }

    /// True when this operation is to fail; counts it.
    pub(super) fn fails(&mut self, operation: Operation, is_named: impl Fn(&str) -> bool) -> bool {
        let mut fails = false;
        self.failing.retain_mut(|failing| {
            let concerns = failing.operation == operation && failing.file.as_deref().is_none_or(&is_named);
            match failing.after.checked_sub(1) {
                _ if !concerns => true,
                Some(left) => {
                    failing.after = left;
                    true
                }
                None => {
                    fails = true;
                    failing.lasting
                }
            }
        });
        fails
    }
}

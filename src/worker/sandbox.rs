//! What bounds the programs of a job. The process bounds itself and then becomes the program: the worker starts a
//! helper, `agq` again, which calls [`Sandbox::enter`]. So there is nothing to do between fork and exec, which only
//! unsafe code could.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The helper's command. It is not shown.
pub const HELPER: &str = "sandboxed";

/// Something that a program may not use more of than so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Seconds of processor time of a process.
    Cpu,
    /// Bytes of a process's address space.
    Memory,
    /// Bytes of a file that it writes.
    FileSize,
    /// Files that it has open.
    OpenFiles,
    /// Processes of the worker's user, its own included.
    Processes,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Limit; 5] = [Limit::Cpu, Limit::Memory, Limit::FileSize, Limit::OpenFiles, Limit::Processes];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Limit::Cpu => "cpu",
            Limit::Memory => "memory",
            Limit::FileSize => "file-size",
            Limit::OpenFiles => "open-files",
            Limit::Processes => "processes",
        }
    }
}

/// What bounds the programs of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Programs gain no rights by what they execute.
    pub no_new_privs: bool,
    /// Each job gets a folder of its own for temporary files, which goes with it.
    pub private_tmp: bool,
    /// How much of what they may use.
    pub limits: BTreeMap<Limit, u64>,
}

impl fmt::Display for Sandbox {
    /// As the helper is told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = self.no_new_privs.then(|| "no-new-privs".to_owned());
        let limits = self.limits.iter().map(|(limit, most)| format!("{}={most}", limit.name()));
        f.write_str(&flag.into_iter().chain(limits).collect::<Vec<_>>().join(","))
    }
}

impl Sandbox {
    /// Checks that this system can do all of it.
    ///
    /// # Errors
    /// What it cannot do, in words.
    pub fn check(&self) -> Result<(), String> {
        if !self.needs_helper() {
            return Ok(());
        }
        if !cfg!(target_os = "linux") {
            return Err(format!("the sandbox options '{self}' are for Linux: leave them out on this system"));
        }
        match std::fs::metadata(helper_path()) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the sandbox needs {}, which cannot be read: {error}", helper_path().display())),
        }
    }

    fn needs_helper(&self) -> bool {
        self.no_new_privs || !self.limits.is_empty()
    }

    /// The program to start instead of a task's own, and what stands in front of that; `None`: nothing is needed.
    pub(super) fn helper(&self) -> Option<(String, Vec<String>)> {
        let front = || [HELPER, "--sandbox", &self.to_string(), "--"].map(str::to_owned).to_vec();
        self.needs_helper().then(|| (helper_path().display().to_string(), front()))
    }

    /// The folder for a job's temporary files, if it gets one.
    pub(super) fn temp_dir(&self) -> io::Result<Option<TempDir>> {
        self.private_tmp.then(|| TempDir::new(&std::env::temp_dir())).transpose()
    }

    /// Bounds this process, and becomes the program. Returns only when it cannot.
    ///
    /// # Errors
    /// `Ok` with why the program cannot be started; `Err` when the process cannot be bounded.
    pub fn enter(&self, program: &OsStr, args: &[std::ffi::OsString]) -> io::Result<io::Error> {
        // Made first: with little memory left there may be none for it.
        let mut command = Command::new(program);
        command.args(args);
        self.restrict()?;
        Ok(command.exec())
    }

    #[cfg(target_os = "linux")]
    fn restrict(&self) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        for (limit, most) in &self.limits {
            let (resource, spare) = match limit {
                // At the soft limit comes a signal that says what it is; at the hard one SIGKILL.
                Limit::Cpu => (Resource::Cpu, 1),
                Limit::Memory => (Resource::As, 0),
                Limit::FileSize => (Resource::Fsize, 0),
                Limit::OpenFiles => (Resource::Nofile, 0),
                Limit::Processes => (Resource::Nproc, 0),
            };
            // A bound that is lower already stays.
            let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(most.saturating_add(spare));
            setrlimit(resource, Rlimit { current: Some(hard.min(*most)), maximum: Some(hard) })?;
        }
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn restrict(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// This very program, even when its file was replaced since it was started.
fn helper_path() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// A folder that only the worker's user may enter, for as long as the job runs.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

impl TempDir {
    fn new(parent: &Path) -> io::Result<TempDir> {
        let path = parent.join(format!("agq-job-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(TempDir(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it with all that is in it, beside the thread that serves the other jobs.
    pub(super) async fn remove(self) {
        let removed = tokio::task::spawn_blocking(move || drop(self)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "a job's temporary files are left");
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a job's temporary files are left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_temporary_folder_is_private_and_goes_with_all_that_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = TempDir::new(parent.path()).unwrap();
        assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), "c").unwrap();
        drop(dir);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_helper_is_started_only_where_it_is_needed() {
        let mut sandbox = Sandbox { private_tmp: true, ..Sandbox::default() };
        assert_eq!(sandbox.helper(), None);
        sandbox.no_new_privs = true;
        sandbox.limits = [(Limit::Memory, 1 << 30), (Limit::Cpu, 5)].into();
        let (_, front) = sandbox.helper().unwrap();
        assert_eq!(front, ["sandboxed", "--sandbox", "no-new-privs,cpu=5,memory=1073741824", "--"]);
    }
}

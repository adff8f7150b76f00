//! Whether a file could have been written by somebody who may not.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use crate::links::Chain;

/// Why a file is not trusted, and the command that mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// Its group or everybody may write to it.
    #[error("`{path}` can be written by others than its owner (mode {mode:04o})", path = path.display())]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to neither root nor the user of this process.
    #[error("`{path}` belongs to user {owner}, not to root or to the user of this process", path = path.display())]
    Foreign {
        /// The file, directory or link.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// A directory, a device, a pipe.
    #[error("`{path}` is not a regular file", path = path.display())]
    NotAFile {
        /// What is in the file's place.
        path: PathBuf,
    },
}

impl Distrust {
    /// The command that mends it, where one does.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Distrust::Writable { path, .. } => format!("run: chmod go-w {}", path.display()),
            Distrust::Foreign { path, .. } => {
                format!("run, if its content is yours: chown -h \"$(id -u)\" {}", path.display())
            }
            Distrust::NotAFile { path } => format!("put a regular file at {}", path.display()),
        }
    }
}

/// Whose files are trusted: root's and one's own.
pub(crate) fn trusted_owner(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

/// Permission bits that nobody but the owner may have on a file of the machine or the user.
pub(crate) const OTHERS_WRITE: u32 = 0o022;
/// Permission bits that a project's file may not have: groups share repositories.
pub(crate) const WORLD_WRITE: u32 = 0o002;

/// Judges an open file. Looking at the descriptor leaves no time for somebody to swap the file.
pub(crate) fn judge(path: &Path, metadata: &Metadata, forbidden: u32) -> Result<(), Distrust> {
    let path = path.to_path_buf();
    if !metadata.is_file() {
        return Err(Distrust::NotAFile { path });
    }
    if !trusted_owner(metadata.uid()) {
        return Err(Distrust::Foreign { path, owner: metadata.uid() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(Distrust::Writable { path, mode });
    }
    Ok(())
}

/// Judges the links on the way to a file, and the directories that hold them.
///
/// Whoever may write to such a directory may put another file in its place. Sticky directories such as `/tmp` protect
/// what is in them; read-only mounts, such as a Kubernetes volume with its mode 0777, cannot be written at all.
pub(crate) fn judge_way(chain: &Chain) -> Result<(), Distrust> {
    for link in &chain.links {
        let Ok(metadata) = std::fs::symlink_metadata(link) else { continue };
        if !trusted_owner(metadata.uid()) {
            return Err(Distrust::Foreign { path: link.clone(), owner: metadata.uid() });
        }
    }
    for directory in &chain.directories {
        let Ok(metadata) = std::fs::metadata(directory) else { continue };
        let mode = metadata.mode() & 0o7777;
        if !trusted_owner(metadata.uid()) {
            let (path, owner) = (directory.clone(), metadata.uid());
            return Err(Distrust::Foreign { path, owner });
        }
        let open = mode & OTHERS_WRITE != 0 && mode & 0o1000 == 0;
        if open && !read_only(directory) {
            return Err(Distrust::Writable { path: directory.clone(), mode });
        }
    }
    Ok(())
}

fn read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Opens a file whose links have been followed: a link that appears meanwhile is refused.
pub(crate) fn open(target: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    // NONBLOCK: a pipe in the file's place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(target, flags, Mode::empty())?))
}

//! A file tree out of bytes.
//!
//! A line `@path` opens a file; what follows until the next such line is its content. Paths lead nowhere but below the root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A tree on disk, removed when it goes out of scope.
pub(crate) struct Tree {
    root: PathBuf,
}

/// The most files of one tree, so that an input's cost stays bounded.
const MOST_FILES: usize = 32;

impl Tree {
    /// A tree of the files that `bytes` describe.
    pub(crate) fn grow(bytes: &[u8]) -> Self {
        let tree = Self::empty();
        for (path, content) in files(bytes).into_iter().take(MOST_FILES) {
            tree.plant(&path, content);
        }
        tree
    }

    /// A tree of one file.
    pub(crate) fn of(path: &str, content: &[u8]) -> Self {
        let tree = Self::empty();
        tree.plant(Path::new(path), content);
        tree
    }

    fn empty() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: a fuzzer makes thousands of trees a second.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let root = parent.join(format!("fuzz-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).expect("the fixture's folder can be made");
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file whose place is taken by a folder, or the other way round, is left out.
    pub(crate) fn plant(&self, path: &Path, content: &[u8]) {
        let path = self.root.join(path);
        let folder = path.parent().map(fs::create_dir_all);
        if matches!(folder, Some(Ok(()))) && !path.is_dir() {
            // A name too long for the file system is the input's business.
            let _ = fs::write(&path, content);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Nothing is lost when it stays: the next boot clears it.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn files(bytes: &[u8]) -> Vec<(PathBuf, &[u8])> {
    let mut files = Vec::new();
    let mut rest = bytes;
    while let Some(start) = find(rest) {
        rest = &rest[start + 1..];
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let path = PathBuf::from(OsStr::from_bytes(&rest[..end]));
        rest = rest.get(end + 1..).unwrap_or_default();
        let content = &rest[..find(rest).unwrap_or(rest.len())];
        let stays_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        if stays_below && !path.as_os_str().is_empty() && !path.as_os_str().as_bytes().contains(&0)
        {
            files.push((path, content));
        }
    }
    files
}

/// Where the next line that begins with `@` begins.
fn find(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|at| bytes[*at] == b'@' && (*at == 0 || bytes[*at - 1] == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_stands_between_the_marks() {
        let tree = Tree::grow(b"@a/b\none\ntwo\n@c\n@../out\nno\n@/out\nno\n");
        let read = |path: &str| fs::read(tree.root().join(path)).unwrap();
        assert_eq!((read("a/b"), read("c")), (b"one\ntwo\n".to_vec(), Vec::new()));
        let root = tree.root().to_path_buf();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
        drop(tree);
        assert!(!root.exists());
    }
}

//! Where the memory controller is mounted, and where in it a cgroup lies.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::held::slurp;
use crate::reading::{Absent, Reading};

/// `mountinfo` of a busy container host is a few hundred KiB.
const MOUNTINFO_LIMIT: u64 = 16 << 20;

/// The interface that the memory controller has. One system has it on one of the two, never on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V1,
    V2,
}

/// One cgroup, found.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) version: Version,
    /// As `/proc/PID/cgroup` has it, byte for byte.
    pub(super) name: Vec<u8>,
    /// The same for people.
    pub(super) path: String,
    pub(super) directory: PathBuf,
    mount: PathBuf,
    /// The mount shows only a part of the hierarchy.
    pub(super) hides_ancestors: bool,
}

impl Place {
    /// The directories from the cgroup's own up to the mount point.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = PathBuf> {
        self.directory.ancestors().take(self.levels() + 1).map(Path::to_owned)
    }

    /// How many levels above the cgroup are visible.
    pub(super) fn levels(&self) -> usize {
        self.directory.strip_prefix(&self.mount).map_or(0, |below| below.components().count())
    }
}

/// The line of `/proc/PID/cgroup` that names the memory cgroup.
///
/// A line is `id:controllers:path`, in any order, and the path may contain `:` (cgroups(7)). On hybrid systems the v2
/// line is there too; the controller is on v1 when a v1 line names it.
pub(super) fn membership(text: &[u8]) -> Option<(Version, &[u8])> {
    let mut unified = None;
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if controllers.split(|byte| *byte == b',').any(|name| name == b"memory") {
            return Some((Version::V1, path));
        }
        if id == b"0" && controllers.is_empty() {
            unified = Some((Version::V2, path));
        }
    }
    unified
}

/// Finds the directory of the cgroup `name` among the mounts that this process sees under `root`.
pub(super) fn place(root: &Path, version: Version, name: &[u8]) -> Reading<Place> {
    let mountinfo = slurp(&root.join("proc/self/mountinfo"), MOUNTINFO_LIMIT)
        .map_err(|error| Absent::from(&error))?;
    let mut why = Absent::Unsupported;
    for mount in mountinfo.split(|byte| *byte == b'\n').filter_map(parse_mount) {
        let point = below_root(root, &mount.point);
        if mount.version != version || !has_memory(version, &mount, &point) {
            continue;
        }
        let Some(below) = relative(name, &mount.root) else { continue };
        let directory =
            if below.is_empty() { point.clone() } else { point.join(OsStr::from_bytes(below)) };
        match std::fs::metadata(&directory).map_err(|error| Absent::from(&error)) {
            Ok(found) if found.is_dir() => {}
            Ok(_) | Err(Absent::Unsupported) => {
                // What is mounted over the mount hides it, and says nothing of the cgroup.
                if point.is_dir() {
                    why = Absent::Gone;
                }
                continue;
            }
            Err(other) => return Err(other),
        }
        return Ok(Place {
            version,
            name: name.to_vec(),
            path: String::from_utf8_lossy(name).into_owned(),
            directory,
            mount: point,
            hides_ancestors: mount.root != b"/",
        });
    }
    Err(why)
}

struct Mount {
    version: Version,
    root: Vec<u8>,
    point: Vec<u8>,
    memory_option: bool,
}

/// One line of `mountinfo`: `id parent major:minor root point options [tags] - type source super-options` (proc(5)).
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let root = unescape(words.nth(3)?);
    let point = unescape(words.next()?);
    // Any number of tags, then a lone dash.
    words.find(|word| *word == b"-")?;
    let version = match words.next()? {
        b"cgroup" => Version::V1,
        b"cgroup2" => Version::V2,
        _ => return None,
    };
    let memory_option = words.nth(1)?.split(|byte| *byte == b',').any(|option| option == b"memory");
    Some(Mount { version, root, point, memory_option })
}

fn has_memory(version: Version, mount: &Mount, point: &Path) -> bool {
    match version {
        Version::V1 => mount.memory_option,
        Version::V2 => std::fs::read(point.join("cgroup.controllers"))
            .is_ok_and(|list| list.split(u8::is_ascii_whitespace).any(|name| name == b"memory")),
    }
}

fn below_root(root: &Path, point: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(point.strip_prefix(b"/").unwrap_or(point)))
}

/// The part of cgroup `name` below a mount that shows the hierarchy from `mount_root` on.
///
/// `None` when the cgroup lies elsewhere, or above: seen from inside a cgroup namespace such a name has `..` in it.
fn relative<'n>(name: &'n [u8], mount_root: &[u8]) -> Option<&'n [u8]> {
    let rest = if mount_root == b"/" { name } else { name.strip_prefix(mount_root)? };
    let below = match rest {
        [] => rest,
        [b'/', below @ ..] => below,
        _ => return None,
    };
    let inside = below.split(|byte| *byte == b'/').all(|part| part != b"..");
    // A leading slash would make `join` forget the mount point.
    (inside && !below.starts_with(b"/")).then_some(below)
}

/// The kernel writes space, tab, line break and backslash as `\` and three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => plain.push(*first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_memory_line_is_found_among_others_in_any_order() {
        let v2 = membership(b"0::/a:b/c d\n");
        assert_eq!(v2, Some((Version::V2, &b"/a:b/c d"[..])));
        let hybrid = membership(b"0::/unified\n5:devices:/\n4:cpu,memory:/mine:1\n");
        assert_eq!(hybrid, Some((Version::V1, &b"/mine:1"[..])));
        assert_eq!(membership(b"5:devices:/\n1:name=memory:/\n"), None);
        assert_eq!(membership(b"\n::\n0:\n"), None);
    }

    #[test]
    fn names_map_below_the_mount_root_only() {
        assert_eq!(relative(b"/a/b", b"/"), Some(&b"a/b"[..]));
        assert_eq!(relative(b"/", b"/"), Some(&b""[..]));
        assert_eq!(relative(b"/docker/x/y", b"/docker/x"), Some(&b"y"[..]));
        assert_eq!(relative(b"/docker/x", b"/docker/x"), Some(&b""[..]));
        assert_eq!(relative(b"/docker/xy", b"/docker/x"), None);
        assert_eq!(relative(b"/", b"/docker/x"), None);
        assert_eq!(relative(b"/../other", b"/"), None);
        assert_eq!(relative(b"/../other", b"/.."), Some(&b"other"[..]));
        assert_eq!(relative(b"//etc", b"/"), None);
    }

    #[test]
    fn octal_escapes_are_read() {
        assert_eq!(unescape(b"/a\\040b\\134c\\9"), b"/a b\\c\\9");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text: Vec<u8>, name: Vec<u8>, root: Vec<u8>, line in "[0-9a-z:/ \\\\,.-]{0,80}") {
            let _ = (membership(&text), membership(line.as_bytes()));
            let _ = (parse_mount(&text), parse_mount(line.as_bytes()));
            let _ = (relative(&name, &root), unescape(&text), unescape(line.as_bytes()));
        }
    }
}

//! The cgroup chain over fixture trees: v1, v2, hybrid, and what containers make of them.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic in a fixture is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use memtrack::cgroup::Hierarchy;
use memtrack::{Absent, CgroupMemory};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const NO_LIMIT: &str = "9223372036854771712";

/// A machine as files: the tree is removed when it goes out of scope.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new(membership: &str, mountinfo: &str) -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap() };
        machine.write("proc/self/cgroup", membership);
        machine.write("proc/self/mountinfo", mountinfo);
        machine
    }

    fn v2(path: &str) -> Self {
        let machine = Self::new(
            &format!("0::{path}\n"),
            "22 1 0:21 / /proc rw - proc proc rw\n\
             30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
        machine
    }

    fn v1(path: &str) -> Self {
        Self::new(
            &format!("5:devices:/x\n4:memory:{path}\n0::/ignored\n"),
            "34 31 0:34 / /sys/fs/cgroup/cpu rw shared:1 master:2 - cgroup cgroup rw,cpu\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        )
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn group_v2(&self, path: &str, usage: u64, inactive: u64, max: &str) {
        let dir = format!("sys/fs/cgroup{path}");
        self.write(&format!("{dir}/memory.current"), format!("{usage}\n"));
        self.write(&format!("{dir}/memory.stat"), format!("anon 1\ninactive_file {inactive}\n"));
        self.write(&format!("{dir}/memory.max"), format!("{max}\n"));
        self.write(&format!("{dir}/memory.high"), "max\n");
        self.write(&format!("{dir}/memory.events"), "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n");
    }

    fn group_v1(&self, path: &str, usage: u64, inactive: u64, limit: &str, hidden: &str) {
        let dir = format!("sys/fs/cgroup/memory{path}");
        self.write(&format!("{dir}/memory.usage_in_bytes"), format!("{usage}\n"));
        self.write(
            &format!("{dir}/memory.stat"),
            format!(
                "inactive_file 1\nhierarchical_memory_limit {hidden}\ntotal_inactive_file {inactive}\n"
            ),
        );
        self.write(&format!("{dir}/memory.limit_in_bytes"), format!("{limit}\n"));
        self.write(&format!("{dir}/memory.failcnt"), "7\n");
        self.write(&format!("{dir}/memory.oom_control"), "oom_kill_disable 0\noom_kill 2\n");
    }

    fn open(&self) -> Hierarchy {
        Hierarchy::open(self.path(), "self").unwrap()
    }

    fn read(&self) -> CgroupMemory {
        self.open().read(Ok(64 * GIB))
    }
}

fn bytes(n: u64) -> String {
    n.to_string()
}

#[test]
fn the_ancestor_nearest_to_its_limit_binds_not_the_smallest_limit() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", GIB, 0, &bytes(4 * GIB));
    machine.group_v2("/pod", 8 * GIB - 80 * MIB, 0, &bytes(8 * GIB));
    let memory = machine.read();
    assert_eq!(memory.depth, Ok(1));
    assert_eq!(memory.limit, Ok(8 * GIB));
    assert_eq!(memory.usage, Ok(8 * GIB - 80 * MIB));
    assert_eq!(memory.headroom, Ok(80 * MIB));
    assert_eq!(machine.open().path(1), Some("/pod"));
    assert_eq!(machine.open().path(2), Some("/"));
    assert_eq!(machine.open().path(3), None);
}

#[test]
fn the_least_headroom_may_be_another_ancestor_than_the_binding_one() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", 40 * MIB, 0, &bytes(64 * MIB));
    machine.group_v2("/pod", 7 * GIB, 0, &bytes(8 * GIB));
    let memory = machine.read();
    assert_eq!(memory.depth, Ok(1));
    assert_eq!(memory.headroom, Ok(24 * MIB));
}

#[test]
fn inactive_file_is_of_the_same_ancestor_and_counts_as_free() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", 90 * MIB, 80 * MIB, &bytes(100 * MIB));
    machine.group_v2("/pod", 120 * MIB, 10 * MIB, &bytes(200 * MIB));
    let memory = machine.read();
    assert_eq!((memory.depth, memory.inactive_file), (Ok(1), Ok(10 * MIB)));
    assert_eq!(memory.working_set(), Ok(110 * MIB));
    assert_eq!(memory.headroom, Ok(90 * MIB));
}

#[test]
fn a_cgroup_that_is_the_target_holds_what_is_its_own_whichever_ancestor_binds() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", 90 * MIB, 80 * MIB, "max");
    machine.group_v2("/pod", 190 * MIB, 10 * MIB, &bytes(200 * MIB));
    let read = |path| Hierarchy::at(machine.path(), path).unwrap().read(Ok(GIB));
    let app = read("/pod/app");
    assert_eq!((app.depth, app.working_set()), (Ok(1), Ok(180 * MIB)));
    assert_eq!((app.own, app.own_working_set()), (Ok(10 * MIB), Ok(10 * MIB)));
    let pod = read("/pod");
    assert_eq!((pod.depth, pod.own), (Ok(0), Ok(180 * MIB)));
    // For a process nobody reads it.
    assert_eq!(machine.read().own, Err(Absent::NotRead));
}

#[test]
fn a_usage_above_the_machine_is_garbage_and_no_headroom_of_zero() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", GIB, 0, &bytes(4 * GIB));
    machine.group_v2("/pod", u64::MAX, 0, &bytes(8 * GIB));
    let memory = machine.read();
    assert_eq!((memory.usage, memory.headroom), (Ok(u64::MAX), Err(Absent::Implausible)));
    machine.group_v2("/pod", 2 * GIB, 0, &bytes(8 * GIB));
    assert_eq!(machine.read().headroom, Ok(3 * GIB));
}

#[test]
fn of_two_ancestors_at_the_same_ratio_the_nearer_one_binds() {
    let machine = Machine::v2("/a/b");
    machine.group_v2("/a/b", 50, 0, "100");
    machine.group_v2("/a", 50, 0, "100");
    assert_eq!(machine.read().depth, Ok(0));
}

#[test]
fn v2_counts_events_and_shows_the_throttling_limit() {
    let machine = Machine::v2("/app");
    machine.group_v2("/app", MIB, 0, &bytes(4 * MIB));
    machine.write("sys/fs/cgroup/app/memory.high", bytes(3 * MIB) + "\n");
    let memory = machine.read();
    assert_eq!(memory.high, Ok(3 * MIB));
    let events = memory.events;
    assert_eq!(
        (events.high, events.max, events.oom, events.oom_kill),
        (Ok(1), Ok(2), Ok(3), Ok(4))
    );
}

#[test]
fn without_a_limit_the_own_usage_is_still_given() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", 30 * MIB, 5 * MIB, "max");
    machine.group_v2("/pod", 90 * MIB, 0, "max");
    let memory = machine.read();
    assert_eq!((memory.usage, memory.inactive_file), (Ok(30 * MIB), Ok(5 * MIB)));
    assert_eq!((memory.limit, memory.headroom), (Err(Absent::Unlimited), Err(Absent::Unlimited)));
    assert_eq!((memory.high, memory.depth), (Err(Absent::Unlimited), Ok(0)));
}

#[test]
fn with_only_a_throttling_limit_its_owner_is_shown() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", 30 * MIB, 0, "max");
    machine.group_v2("/pod", 90 * MIB, 0, "max");
    machine.write("sys/fs/cgroup/pod/memory.high", bytes(100 * MIB) + "\n");
    let memory = machine.read();
    assert_eq!((memory.depth, memory.usage, memory.high), (Ok(1), Ok(90 * MIB), Ok(100 * MIB)));
    assert_eq!(memory.limit, Err(Absent::Unlimited));
}

#[test]
fn a_limit_above_the_machine_is_none_and_one_equal_to_it_is_one() {
    let machine = Machine::v2("/app");
    machine.group_v2("/app", GIB, 0, &bytes(65 * GIB));
    assert_eq!(machine.read().limit, Err(Absent::Unlimited));
    assert_eq!(machine.open().read(Err(Absent::Denied)).limit, Ok(65 * GIB));
    assert_eq!(machine.open().read(Ok(0)).limit, Ok(65 * GIB));
    // lxcfs shows the container's limit as `MemTotal`.
    assert_eq!(machine.open().read(Ok(65 * GIB)).limit, Ok(65 * GIB));
}

#[test]
fn a_limit_of_zero_leaves_no_headroom_and_divides_nothing() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", MIB, 0, "0");
    machine.group_v2("/pod", 99, 0, "100");
    let memory = machine.read();
    assert_eq!((memory.limit, memory.headroom, memory.depth), (Ok(0), Ok(0), Ok(0)));
}

#[test]
fn limits_and_usage_are_read_anew_each_time() {
    let machine = Machine::v2("/app");
    machine.group_v2("/app", MIB, 0, "max");
    let hierarchy = machine.open();
    assert_eq!(hierarchy.read(Ok(GIB)).limit, Err(Absent::Unlimited));
    machine.group_v2("/app", 5 * MIB, 0, &bytes(4 * MIB));
    let memory = hierarchy.read(Ok(GIB));
    assert_eq!((memory.limit, memory.usage), (Ok(4 * MIB), Ok(5 * MIB)));
    assert_eq!(memory.headroom, Ok(0), "usage above a lowered limit is no wrap-around");
}

#[test]
fn v1_reads_its_own_names_and_counts_children() {
    let machine = Machine::v1("/docker/one");
    machine.group_v1("/docker/one", 100 * MIB, 20 * MIB, &bytes(200 * MIB), &bytes(200 * MIB));
    machine.group_v1("/docker", 900 * MIB, 0, NO_LIMIT, NO_LIMIT);
    machine.group_v1("", 900 * MIB, 0, NO_LIMIT, NO_LIMIT);
    let memory = machine.read();
    assert_eq!((memory.limit, memory.depth), (Ok(200 * MIB), Ok(0)));
    assert_eq!(memory.working_set(), Ok(80 * MIB));
    assert_eq!(memory.high, Err(Absent::Unsupported));
    assert_eq!((memory.events.max, memory.events.oom_kill), (Ok(7), Ok(2)));
    assert_eq!(
        (memory.events.high, memory.events.oom),
        (Err(Absent::Unsupported), Err(Absent::Unsupported))
    );
}

#[test]
fn v1_rounded_i64_max_is_no_limit_whatever_the_page_size() {
    for limit in
        [NO_LIMIT, "9223372036854710272", "9223372036854775807", "-1", "18446744073709551615"]
    {
        let machine = Machine::v1("/one");
        machine.group_v1("/one", MIB, 0, limit, limit);
        let memory = machine.open().read(Err(Absent::NotRead));
        assert_eq!((memory.limit, memory.usage), (Err(Absent::Unlimited), Ok(MIB)), "{limit}");
    }
}

#[test]
fn the_root_of_v1_has_no_limit_that_is_worth_reading() {
    let machine = Machine::v1("/app");
    machine.group_v1("/app", 10 * MIB, 0, &bytes(40 * MIB), NO_LIMIT);
    machine.group_v1("", 60 * MIB, 0, &bytes(61 * MIB), NO_LIMIT);
    assert_eq!(machine.read().depth, Ok(1), "the top of a mount need not be the root");
    machine.write("sys/fs/cgroup/memory/release_agent", "");
    assert_eq!((machine.read().depth, machine.read().limit), (Ok(0), Ok(40 * MIB)));
    machine.write("proc/self/cgroup", "4:memory:/\n");
    let root = machine.read();
    assert_eq!((root.usage, root.limit), (Ok(60 * MIB), Err(Absent::Unlimited)));
}

#[test]
fn v1_without_hierarchy_the_parents_limit_is_its_own() {
    let machine = Machine::v1("/old/one");
    machine.group_v1("/old/one", MIB, 0, &bytes(100 * MIB), NO_LIMIT);
    machine.group_v1("/old", 99 * MIB, 0, &bytes(100 * MIB), NO_LIMIT);
    assert_eq!(machine.read().depth, Ok(1));
    machine.write("sys/fs/cgroup/memory/old/memory.use_hierarchy", "0\n");
    assert_eq!(machine.read().depth, Ok(0));
}

#[test]
fn a_mount_of_a_part_maps_names_and_knows_the_hidden_limit() {
    let machine = Machine::new(
        "4:memory:/docker/abc/sub\n",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory\n",
    );
    machine.group_v1("/sub", MIB, 0, NO_LIMIT, &bytes(100 * MIB));
    machine.group_v1("", 60 * MIB, 0, NO_LIMIT, &bytes(100 * MIB));
    let memory = machine.read();
    assert_eq!((memory.limit, memory.depth, memory.usage), (Ok(100 * MIB), Ok(1), Ok(60 * MIB)));
    assert_eq!(machine.open().path(0), Some("/docker/abc/sub"));
    assert_eq!(machine.open().path(1), Some("/docker/abc"));
}

#[test]
fn of_several_mounts_the_one_that_shows_the_cgroup_is_taken() {
    let machine = Machine::new(
        "0::/app\n",
        "29 22 0:26 /other /run/other rw - cgroup2 cgroup2 rw\n\
         30 22 0:26 / /run/no-memory rw - cgroup2 cgroup2 rw\n\
         31 22 0:26 / /mnt/a\\040b rw - cgroup2 cgroup2 rw\n",
    );
    machine.write("run/other/cgroup.controllers", "memory\n");
    machine.write("run/no-memory/cgroup.controllers", "hugetlb\n");
    machine.write("mnt/a b/cgroup.controllers", "memory\n");
    machine.write("mnt/a b/app/memory.current", "42\n");
    assert_eq!(machine.read().usage, Ok(42));
    assert_eq!(machine.open().directory(), machine.path().join("mnt/a b/app"));
}

#[test]
fn colons_and_spaces_in_names_are_kept() {
    let machine = Machine::v2("/a b/c:d");
    machine.group_v2("/a b/c:d", 1, 0, "2");
    assert_eq!(machine.read().limit, Ok(2));
    assert_eq!(machine.open().path(0), Some("/a b/c:d"));
}

#[test]
fn a_leaf_without_the_controller_is_charged_to_its_parent() {
    let machine = Machine::v2("/pod/app");
    fs::create_dir_all(machine.path().join("sys/fs/cgroup/pod/app")).unwrap();
    machine.group_v2("/pod", 3, 0, "4");
    let memory = machine.read();
    assert_eq!((memory.depth, memory.limit), (Ok(1), Ok(4)));
}

#[test]
fn where_there_is_nothing_the_reason_is_said() {
    let root = tempfile::tempdir().unwrap();
    let absent = |root: &Path| Hierarchy::open(root, "self").unwrap_err();
    assert_eq!(absent(root.path()), Absent::Unsupported);
    // The v2 root has no memory files at all.
    let machine = Machine::v2("/");
    assert_eq!(absent(machine.path()), Absent::Unsupported);
    // No mount of it, a name above the cgroup namespace, a removed directory, garbage.
    assert_eq!(absent(Machine::new("0::/a\n", "").path()), Absent::Unsupported);
    assert_eq!(absent(Machine::v2("/../b").path()), Absent::Unsupported);
    assert_eq!(absent(Machine::v2("/removed").path()), Absent::Gone);
    // A mount that another covers shows nothing of the cgroup; one that is there shows that it was removed.
    let machine = Machine::v1("/app");
    assert_eq!(absent(machine.path()), Absent::Unsupported);
    fs::create_dir_all(machine.path().join("sys/fs/cgroup/memory")).unwrap();
    assert_eq!(absent(machine.path()), Absent::Gone);
    assert_eq!(absent(Machine::new("garbage\n", "garbage\n").path()), Absent::Malformed);
    assert_eq!(Hierarchy::open(machine.path(), "4711").unwrap_err(), Absent::Gone);
}

#[test]
fn one_missing_or_garbled_file_takes_only_its_own_reading() {
    let machine = Machine::v2("/app");
    machine.group_v2("/app", MIB, 0, &bytes(4 * MIB));
    machine.write("sys/fs/cgroup/app/memory.stat", "inactive_file x\n");
    fs::remove_file(machine.path().join("sys/fs/cgroup/app/memory.events")).unwrap();
    let memory = machine.read();
    assert_eq!((memory.usage, memory.depth), (Ok(MIB), Ok(0)));
    assert_eq!(memory.inactive_file, Err(Absent::Malformed));
    // What hangs on it goes with it: with cache counted as used the group might seem full.
    assert_eq!((memory.limit, memory.headroom), (Err(Absent::Malformed), Err(Absent::Malformed)));
    assert_eq!(memory.events.oom_kill, Err(Absent::Unsupported));
}

#[test]
fn an_unreadable_limit_leaves_no_made_up_headroom() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", MIB, 0, &bytes(4 * MIB));
    machine.group_v2("/pod", MIB, 0, "garbage");
    let memory = machine.read();
    assert_eq!((memory.limit, memory.usage), (Err(Absent::Malformed), Ok(MIB)));
    assert_eq!(memory.headroom, Err(Absent::Malformed));
}

#[test]
fn a_parent_that_cannot_be_read_once_does_not_make_a_laxer_child_the_one_that_binds() {
    let machine = Machine::v2("/pod/app");
    machine.group_v2("/pod/app", 25 * MIB, 0, &bytes(100 * MIB));
    machine.group_v2("/pod", 99 * MIB, 0, &bytes(100 * MIB));
    let hierarchy = machine.open();
    assert_eq!(hierarchy.read(Ok(GIB)).depth, Ok(1));
    machine.write("sys/fs/cgroup/pod/memory.current", "");
    let memory = hierarchy.read(Ok(GIB));
    assert_eq!((memory.limit, memory.headroom), (Err(Absent::Malformed), Err(Absent::Malformed)));
    assert_eq!((memory.depth, memory.usage), (Ok(0), Ok(25 * MIB)), "said whose usage it is");
    machine.group_v2("/pod", 99 * MIB, 0, &bytes(100 * MIB));
    assert_eq!(hierarchy.read(Ok(GIB)).limit, Ok(100 * MIB));
}

#[test]
fn a_group_full_of_cache_is_not_full_when_its_statistics_fail_once() {
    let machine = Machine::v2("/app");
    machine.group_v2("/app", 990 * MIB, 900 * MIB, &bytes(1000 * MIB));
    let hierarchy = machine.open();
    assert_eq!(hierarchy.read(Ok(GIB)).working_set(), Ok(90 * MIB));
    machine.write("sys/fs/cgroup/app/memory.stat", "inactive_file ?\n");
    let memory = hierarchy.read(Ok(GIB));
    assert_eq!(memory.working_set(), Err(Absent::Malformed));
    assert_eq!((memory.limit, memory.headroom), (Err(Absent::Malformed), Err(Absent::Malformed)));
}

#[test]
fn a_moved_process_is_noticed_and_followed() {
    let machine = Machine::v2("/one");
    machine.group_v2("/one", 1, 0, "10");
    machine.group_v2("/two", 2, 0, "20");
    let mut hierarchy = machine.open();
    assert_eq!((hierarchy.moved(), hierarchy.refresh()), (Ok(false), Ok(false)));
    machine.write("proc/self/cgroup", "0::/two\n");
    assert_eq!(hierarchy.moved(), Ok(true));
    assert_eq!(hierarchy.refresh(), Ok(true));
    assert_eq!(hierarchy.read(Ok(GIB)).limit, Ok(20));
    assert_eq!(hierarchy.path(0), Some("/two"));
}

#[test]
fn a_cgroup_can_be_the_target_itself() {
    let machine = Machine::v2("/elsewhere");
    machine.group_v2("/pod/app", 1, 0, "10");
    for name in ["/pod/app", "pod/app", "/pod/app/"] {
        let hierarchy = Hierarchy::at(machine.path(), name).unwrap();
        assert_eq!(hierarchy.read(Ok(GIB)).limit, Ok(10));
        assert_eq!((hierarchy.path(0), hierarchy.moved()), (Some("/pod/app"), Ok(false)));
    }
    assert_eq!(Hierarchy::at(machine.path(), "/none").unwrap_err(), Absent::Gone);
    let machine = Machine::v1("/elsewhere");
    machine.group_v1("/db", 1, 0, "10", "10");
    assert_eq!(Hierarchy::at(machine.path(), "/db").unwrap().read(Ok(GIB)).limit, Ok(10));
}

#[test]
fn lines_of_a_megabyte_are_survived() {
    let long = "x".repeat(1 << 20);
    let machine = Machine::v2("/app");
    machine.group_v2("/app", 1, 0, "10");
    machine.write(
        "proc/self/mountinfo",
        format!("{long}\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n"),
    );
    let hierarchy = machine.open();
    machine.write("sys/fs/cgroup/app/memory.stat", format!("anon {long}\ninactive_file 1\n"));
    machine.write("sys/fs/cgroup/app/memory.current", &long);
    machine.write("proc/self/cgroup", format!("0::/{long}\n"));
    assert_eq!(hierarchy.read(Ok(GIB)).usage, Err(Absent::Malformed));
    assert_eq!(hierarchy.moved(), Err(Absent::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_in_any_file_panic_or_divide(
        membership in prop_oneof![any::<Vec<u8>>(), Just(b"0::/app\n".to_vec())],
        mounts in prop_oneof![any::<Vec<u8>>(), Just(b"30 22 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n".to_vec())],
        usage in prop_oneof![any::<Vec<u8>>(), any::<u64>().prop_map(|n| format!("{n}\n").into_bytes())],
        stat in prop_oneof![any::<Vec<u8>>(), any::<u64>().prop_map(|n| format!("inactive_file {n}\n").into_bytes())],
        max in prop_oneof![any::<Vec<u8>>(), any::<u64>().prop_map(|n| format!("{n}\n").into_bytes())],
        total: u64,
    ) {
        let machine = Machine::v2("/app");
        machine.group_v2("/app", 0, 0, "0");
        machine.write("proc/self/cgroup", membership);
        machine.write("proc/self/mountinfo", mounts);
        machine.write("sys/fs/cgroup/app/memory.current", usage);
        machine.write("sys/fs/cgroup/app/memory.stat", stat);
        machine.write("sys/fs/cgroup/app/memory.max", max);
        if let Ok(mut hierarchy) = Hierarchy::open(machine.path(), "self") {
            let memory = hierarchy.read(Ok(total));
            if let (Ok(headroom), Ok(limit)) = (memory.headroom, memory.limit) {
                prop_assert!(headroom <= limit && (total == 0 || limit <= total));
            }
            let _ = (hierarchy.moved(), hierarchy.refresh(), memory.working_set());
        }
    }
}

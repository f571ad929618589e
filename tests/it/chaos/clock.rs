//! Wall clocks that can be set wrong, a process each: `clock.c`, preloaded.

use std::{
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The clock of the processes of one name. Right at first.
#[derive(Clone)]
pub(super) struct Clock(PathBuf);

impl Clock {
    pub(super) fn of(name: &str) -> Self {
        let path = folder().join(name);
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
        file.and_then(|file| file.set_len(16)).expect("a clock can be made");
        Self(path)
    }

    /// What a process needs in its environment to go by this clock.
    pub(super) fn env(&self) -> [(String, String); 2] {
        let path = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD".to_owned(), path(&folder().join("clock.so"))),
            ("TEST_CLOCK".to_owned(), path(&self.0)),
        ]
    }

    /// By how many seconds it was wrong when a process last looked at it.
    pub(super) fn seen_wrong_by(&self) -> i64 {
        let mut nanos = [0; 8];
        let file = std::fs::File::open(&self.0);
        file.and_then(|file| file.read_exact_at(&mut nanos, 8)).expect("the clock can be read");
        i64::from_ne_bytes(nanos) / 1_000_000_000
    }

    /// Sets it fast, or slow, by so many seconds.
    pub(super) fn set_wrong_by(&self, seconds: i64) {
        let nanos = seconds * 1_000_000_000;
        let file = std::fs::File::options().write(true).open(&self.0);
        file.and_then(|file| file.write_all_at(&nanos.to_ne_bytes(), 0)).expect("the clock can be set");
    }
}

/// Where the clocks of this program lie, beside the library.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(crate::fixtures::unique("parley-clocks"));
        std::fs::create_dir(&folder).expect("a folder can be made");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(folder.join("clock.so"))
            .arg(crate::fixtures::root().join("tests/it/chaos/clock.c"))
            .status()
            .expect("a C compiler runs: librdkafka needs it too");
        assert!(built.success(), "clock.c is not built");
        folder
    })
}

#[test]
fn a_clock_is_set_and_seen_by_a_running_process() {
    let clock = Clock::of("watch");
    let seconds = || {
        let date = Command::new("date").args(["-u", "+%s"]).envs(clock.env()).output().expect("date runs");
        String::from_utf8_lossy(&date.stdout).trim().parse::<i64>().expect("seconds")
    };
    let right = seconds();
    clock.set_wrong_by(-3_600);
    assert_eq!(clock.seen_wrong_by(), 0, "nobody has looked at it yet");
    assert!((3_000..3_700).contains(&(right - seconds())), "an hour less");
    assert_eq!(clock.seen_wrong_by(), -3_600);
    clock.set_wrong_by(0);
    assert!((0..600).contains(&(seconds() - right)), "right again");
}
